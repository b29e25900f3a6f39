"""Codex, ``codex exec --json``: its item events in, its last message, tools and usage out.

Measured on 0.169: an open, silent stdin hangs it for ever, so it gets /dev/null or the prompt and
the end; SIGINT gives exit status 1 and no final event; only a hook reaches the model meanwhile;
the usage of a resumed thread counts from the thread's beginning.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.agents import flags, hooks, tools
from runtime.agents.base import Command, Ending, Launch, Outcome, Progress, Resume
from runtime.agents.events import Transcript, conclude, numbers
from runtime.rings import Line
from runtime.wire import Turn

HOOK_TRUST = "--dangerously-bypass-hook-trust"
NO_TOOLS = ("agent_message", "reasoning", "todo_list", "error")


class CodexAgent:
    """One ``codex exec``."""

    reads_lines = True

    def __init__(self, command: Command) -> None:
        self._command = command
        self._said = Transcript()
        self._open: set[str] = set()
        self._resume: Resume | None = None
        self._total: dict[str, float] = {}
        self._last_error = ""

    @property
    def is_over(self) -> bool:
        """turn.completed or turn.failed was read."""
        return self._said.is_over

    @property
    def chat(self) -> Resume | None:
        """From thread.started on; its usage is known at the end."""
        thread_id, before = self._said.agent_session_id, self._resume
        if thread_id is None:
            return None
        is_same = before is not None and before.agent_session_id == thread_id
        known = before.usage if before is not None and is_same else {}
        return Resume(thread_id, dict(self._total or known))

    def launch(self, turn: Turn, prompt_file: str, resume: Resume | None) -> Launch:
        """Complete the command. The prompt is its last argument where the operator wrote
        ``{prompt}`` and it fits; otherwise it goes by stdin, which is then closed."""
        self._resume = resume
        argv = [part.replace("{file}", prompt_file) for part in self._command.argv]
        is_placed = any(flags.PLACE in part for part in argv)
        argv, template = flags.without_place(argv)
        mcp_url = self._command.mcp_url if tools.offered(self._command, turn) else ""
        argv = completed(argv, resume, mcp_url)
        prompt = template.replace(flags.PLACE, turn.prompt)
        environ = {"TURNKEEPER_PROMPT_FILE": prompt_file}
        if is_placed and not self._command.uses_stdin and flags.fits(prompt):
            return Launch((*argv, prompt), None, environ)
        return Launch((*argv, "-"), prompt.encode("utf-8", "replace"), environ)

    def on_line(self, line: Line) -> Sequence[Progress]:
        """One event."""
        event = self._said.parse(line)
        if event is None:
            return ()
        kind, said = event["type"], self._said
        if kind == "thread.started":
            said.agent_session_id = str(event.get("thread_id") or "") or None
        elif kind in ("item.started", "item.completed"):
            item = event.get("item")
            return self._take_item(item, kind) if isinstance(item, dict) else ()
        elif kind == "turn.completed":
            said.is_over, said.error = True, None
            self._take_usage(event)
        elif kind == "turn.failed":
            said.is_over = True
            said.error = {"code": "agent_error", "message": message_of(event.get("error"))}
        elif kind == "error":
            self._last_error = message_of(event)  # often mended by a retry: not yet the end
        return ()

    def wrap_up(self, wish: Mapping[str, Any]) -> bytes | None:
        """``codex exec`` has no way in but a hook; its commands may look at the control file."""
        if not self.is_over:
            self._said.is_asked = True
        return None

    def outcome(self, ending: Ending) -> Outcome:
        """turn.completed or turn.failed, then the exit status with the last error said."""
        if not self.is_over and ending.exit_code != 0 and self._last_error:
            self._said.error = {"code": "agent_error", "message": self._last_error}
        return conclude(self._said, ending, self._resume)

    def _take_item(self, item: Mapping[str, Any], kind: str) -> list[Progress]:
        form, at = str(item.get("type")), str(item.get("id"))
        if form in NO_TOOLS:
            if form == "agent_message" and kind == "item.completed":
                return self._said.say(item.get("text"))
            return [Progress("output")] if form == "reasoning" else []
        name = tool_name(form, item)
        if kind == "item.started":
            self._open.add(at)
            return [Progress("tool_start", tool=name)]
        is_open = at in self._open
        self._open.discard(at)
        begin = [] if is_open else [Progress("tool_start", tool=name)]
        return [*begin, Progress("tool_end", tool=name)]

    def _take_usage(self, event: Mapping[str, Any]) -> None:
        self._total = numbers(event.get("usage"))
        before = {} if self._resume is None else self._resume.usage
        used = {name: value - before.get(name, 0) for name, value in self._total.items()}
        self._said.usage = {name: value for name, value in used.items() if value >= 0}


def completed(argv: Sequence[str], resume: Resume | None, mcp_url: str = "") -> list[str]:
    """The command with ``exec``, ``--json`` and ``resume ID`` where they are missing; with our
    hook where the operator lets hooks run untrusted, and the platform's tools where it has some."""
    argv = list(argv)
    if not {"exec", "e"} & set(argv):
        named = [i for i, part in enumerate(argv) if Path(part).name.startswith("codex")]
        argv.insert(named[0] + 1 if named else len(argv), "exec")
    if not flags.has(argv, "--json", "--experimental-json"):
        argv.append("--json")
    if flags.has(argv, HOOK_TRUST) and not any(part.startswith("hooks.") for part in argv):
        argv += ["-c", hooks.codex_option()]
    if mcp_url:
        argv += tools.codex_options(argv, mcp_url)
    if resume is not None and "resume" not in argv:
        argv += ["resume", resume.agent_session_id]
    return argv


def tool_name(form: str, item: Mapping[str, Any]) -> str:
    """``command_execution``, or for an MCP tool its server and name as Claude writes them."""
    if form == "mcp_tool_call":
        return f"mcp__{item.get('server')}__{item.get('tool')}"[:1024]
    return form[:1024]


def message_of(error: Any) -> str:
    """The words of an error object."""
    words = error.get("message") if isinstance(error, dict) else error
    return str(words or "unknown error")[:8192]
