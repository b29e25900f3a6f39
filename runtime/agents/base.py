"""What an agent kind decides: how to start it, what its output means, how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtime.rings import Line
from runtime.wire import Turn

PROMPT_ARGUMENT_MAX_BYTES = 100_000


class LaunchError(Exception):
    """The child could not be started; ``code`` goes into the turn's error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Command:
    """What the operator wrote after ``--``, and how the prompt is to reach it.

    ``mcp_url``: where the platform has tools for the agent.
    """

    argv: tuple[str, ...]
    uses_stdin: bool = False
    uses_file: bool = False
    uses_pty: bool = False
    resumes_chat: bool = False
    home: str = ""
    mcp_url: str = ""


@dataclass(frozen=True)
class Launch:
    """One child to start. ``stdin`` None means /dev/null; bytes are written, then closed, or
    with ``keeps_stdin`` followed by further lines until the agent is over."""

    argv: tuple[str, ...]
    stdin: bytes | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    keeps_stdin: bool = False


@dataclass(frozen=True)
class Progress:
    """One thing that happened: kind ``output | text | tool_start | tool_end``."""

    kind: str
    text: str | None = None
    tool: str | None = None


@dataclass(frozen=True)
class Ending:
    """How the child ended, as the supervisor saw it. Output is the kept tail, as text."""

    exit_code: int
    stdout: str
    stderr: str
    is_checkpoint_requested: bool = False
    has_checkpoint: bool = False


@dataclass(frozen=True)
class Outcome:
    """What finish reports: ``completed | failed | yielded | input_required | canceled``.

    ``extra`` goes into finish's result beside the text: ``usage``, ``agent_session_id``.
    ``is_resume_lost``: nothing was done, because the chat to resume is gone; start it afresh.
    """

    outcome: str
    text: str = ""
    error: Mapping[str, Any] | None = None
    checkpoint: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[dict[str, Any], ...] = ()
    is_resume_lost: bool = False


@dataclass(frozen=True)
class Resume:
    """A chat to go on with: the agent's own id of it, and what it had used when it was left."""

    agent_session_id: str
    usage: Mapping[str, float] = field(default_factory=dict)


class Agent(Protocol):
    """One turn's agent. May keep state between lines; used by one thread at a time."""

    reads_lines: bool
    """True: stdout is given to ``on_line``. False: stdout and stderr are reported as they come."""

    @property
    def is_over(self) -> bool:
        """True once a terminal event was read: the child is then given 10 s to exit by itself."""

    @property
    def chat(self) -> Resume | None:
        """How to resume what this agent began; None as long as it has not said."""

    def launch(self, turn: Turn, prompt_file: str, resume: Resume | None) -> Launch:
        """How to start the child. Raises: LaunchError."""

    def on_line(self, line: Line) -> Sequence[Progress]:
        """What one line of stdout says."""

    def wrap_up(self, wish: Mapping[str, Any]) -> bytes | None:
        """A checkpoint is asked for (``wish``: the control file). What to write to stdin, if
        anything."""

    def outcome(self, ending: Ending) -> Outcome:
        """What to report, once the child is gone."""


def place_prompt(command: Command, turn: Turn, prompt_file: str) -> Launch:
    """Put the prompt where the operator wants it.

    ``{prompt}`` and ``{file}`` are replaced in every argument. With ``--stdin`` *and*
    ``{prompt}``, a prompt too long for an argument goes to stdin and the argument becomes ``-``.
    The prompt's file is always in TURNKEEPER_PROMPT_FILE.

    Raises:
        LaunchError: ``prompt_too_large`` past 100 KB, ``prompt_has_nul``; both only for arguments.
    """
    environ = {"TURNKEEPER_PROMPT_FILE": prompt_file}
    argv = tuple(part.replace("{file}", prompt_file) for part in command.argv)
    data = turn.prompt.encode("utf-8", "replace")
    if not any("{prompt}" in part for part in argv):
        return Launch(argv, data if command.uses_stdin else None, environ)
    if len(data) > PROMPT_ARGUMENT_MAX_BYTES:
        if not command.uses_stdin:
            raise LaunchError(
                "prompt_too_large",
                f"the prompt has {len(data)} bytes; an argument takes at most "
                f"{PROMPT_ARGUMENT_MAX_BYTES}: use --stdin or --file",
            )
        return Launch(tuple(part.replace("{prompt}", "-") for part in argv), data, environ)
    if b"\0" in data:
        raise LaunchError("prompt_has_nul", "a prompt with a NUL byte cannot be an argument")
    text = data.decode("utf-8")
    return Launch(tuple(part.replace("{prompt}", text) for part in argv), None, environ)
