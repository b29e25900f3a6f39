"""Claude Code, ``claude -p``: its stream-json events in, its answer, tools and cost out.

Measured on 2.1.197 and 2.1.329: an API error ends with a result of subtype "success" whose
is_error is true; SIGINT gives an is_error result and exit status 0; with stdin open it does not
exit after its result; a user line written meanwhile reaches the model with the next tool result.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from runtime import hook
from runtime.agents import flags, hooks, tools
from runtime.agents.base import Command, Ending, Launch, Outcome, Progress, Resume
from runtime.agents.events import Transcript, conclude, listed, numbers
from runtime.rings import Line
from runtime.wire import Turn

QUIET = {"DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
HEAD_CHARACTERS = 400


class ClaudeAgent:
    """One ``claude -p``."""

    reads_lines = True

    def __init__(self, command: Command) -> None:
        self._command = command
        self._said = Transcript()
        self._tools: dict[str, str] = {}
        self._resume: Resume | None = None
        self._is_settled = False
        self._takes_lines = False

    @property
    def is_over(self) -> bool:
        """A result was read."""
        return self._said.is_over

    @property
    def chat(self) -> Resume | None:
        """From the init event on."""
        session_id = self._said.agent_session_id
        return None if session_id is None else Resume(session_id)

    def launch(self, turn: Turn, prompt_file: str, resume: Resume | None) -> Launch:
        """Complete the command; the prompt goes in as a stream-json user line.

        With another ``--input-format`` of the operator's the prompt is plain stdin, then closed.
        """
        self._resume = resume
        argv = [part.replace("{file}", prompt_file) for part in self._command.argv]
        argv, template = flags.without_place(argv)
        argv = completed(argv, resume, tools.offered(self._command, turn))
        prompt = template.replace(flags.PLACE, turn.prompt)
        self._takes_lines = flags.value_of(argv, "--input-format") == "stream-json"
        data = user_line(prompt) if self._takes_lines else prompt.encode("utf-8", "replace")
        environ = {**QUIET, "TURNKEEPER_PROMPT_FILE": prompt_file}
        return Launch(tuple(argv), data, environ, keeps_stdin=self._takes_lines)

    def on_line(self, line: Line) -> Sequence[Progress]:
        """Events of the main conversation and of its subagents."""
        event = self._said.parse(line)
        if event is None:
            if line.is_cut:
                self._take_cut(line.text[:HEAD_CHARACTERS])
            return ()
        if event["type"] == "system" and event.get("subtype") == "init":
            self._said.agent_session_id = str(event.get("session_id") or "") or None
            if self._is_settled:
                self._said.is_asked = False
        elif event["type"] == "result":
            self._take_result(event)
        elif event["type"] in ("assistant", "user"):
            return self._take_message(event)
        return ()

    def wrap_up(self, wish: Mapping[str, Any]) -> bytes | None:
        """A user line, which claude hands to the model with the next tool result."""
        if self.is_over:
            return None
        self._said.is_asked = True
        return user_line(hook.wrap_up_text(dict(wish))) if self._takes_lines else None

    def outcome(self, ending: Ending) -> Outcome:
        """The result, then the exit status."""
        return conclude(self._said, ending, self._resume)

    def _take_message(self, event: Mapping[str, Any]) -> list[Progress]:
        found: list[Progress] = []
        message = event.get("message")
        for block in listed(message.get("content") if isinstance(message, dict) else None):
            if block.get("type") == "tool_use":
                name = self._tools[str(block.get("id"))] = str(block.get("name") or "?")[:1024]
                found.append(Progress("tool_start", tool=name))
            elif block.get("type") == "tool_result":
                name = self._tools.pop(str(block.get("tool_use_id")), "?")
                found.append(Progress("tool_end", tool=name))
            elif block.get("type") == "text" and event["type"] == "assistant":
                if event.get("parent_tool_use_id"):
                    found.append(Progress("output"))  # a subagent's words are not the answer
                else:
                    found += self._said.say(block.get("text"))
        return found

    def _take_result(self, event: Mapping[str, Any]) -> None:
        """The first good result counts, unless a hook stopped it.

        Another init and result follow when a wrap-up came too late to be read before it: then it
        was finished work and no checkpoint.
        """
        said = self._said
        _add_usage(said.usage, event)
        if self._is_settled:
            return
        said.is_over = True
        said.error = failure(event)
        said.is_stopped = event.get("terminal_reason") == "hook_stopped"
        self._is_settled = said.error is None and not said.is_stopped
        if isinstance(event.get("result"), str) and event["result"]:
            said.answer = event["result"]

    def _take_cut(self, head: str) -> None:
        """A line over the cap that begins like a result is one: stdin must be closed."""
        if re.search(r'"type"\s*:\s*"result"', head):
            is_error = bool(re.search(r'"is_error"\s*:\s*true', head))
            self._take_result({"is_error": is_error, "subtype": "result_too_long"})


def completed(argv: Sequence[str], resume: Resume | None, has_tools: bool = False) -> list[str]:
    """The command with what is missing; what the operator wrote stays."""
    argv = list(argv)
    if not flags.has(argv, "-p", "--print"):
        argv.append("-p")
    if not flags.has(argv, "--output-format"):
        argv += ["--output-format", "stream-json"]
    if flags.value_of(argv, "--output-format") == "stream-json":
        if not flags.has(argv, "--verbose"):
            argv.append("--verbose")
        if not flags.has(argv, "--input-format"):
            argv += ["--input-format", "stream-json"]
    if not flags.has(argv, "--settings", "--bare"):
        allowed = [f"mcp__{tools.SERVER}"] if has_tools else []
        argv += ["--settings", json.dumps(hooks.claude_settings(allowed))]
    if has_tools:
        argv += ["--mcp-config", tools.claude_config()]
    is_told = flags.has(argv, "-r", "--resume", "-c", "--continue", "--session-id")
    if resume is not None and not is_told:
        argv += ["--resume", resume.agent_session_id]
    return argv


def user_line(text: str) -> bytes:
    """A user message as one line of stream-json."""
    content = [{"type": "text", "text": text}]
    line = {"type": "user", "message": {"role": "user", "content": content}}
    return json.dumps(line).encode() + b"\n"


def failure(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The error of a result; None for a good one. is_error decides, subtype only names."""
    subtype = str(result.get("subtype") or "")
    if not result.get("is_error") and not subtype.startswith("error"):
        return None
    code = "api_error" if result.get("api_error_status") else "agent_error"
    if subtype.startswith("error"):
        code = subtype
    errors = result.get("errors")
    details = "; ".join(map(str, errors)) if isinstance(errors, list) else ""
    return {"code": code[:1024], "message": str(result.get("result") or details or code)[:8192]}


def _add_usage(usage: dict[str, float], result: Mapping[str, Any]) -> None:
    """Tokens are per result; the cost is that of the whole process so far."""
    for name, value in numbers(result.get("usage")).items():
        usage[name] = usage.get(name, 0) + value
    usage |= {
        short: result[name]
        for name, short in (("total_cost_usd", "cost_usd"), ("num_turns", "num_turns"))
        if isinstance(result.get(name), int | float)
    }
