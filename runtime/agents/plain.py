"""Any command: its exit status is the outcome, its standard output the answer."""

import signal
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.agents.base import Command, Ending, Launch, Outcome, Progress, Resume, place_prompt
from runtime.rings import Line
from runtime.wire import Turn

STDERR_TAIL_CHARACTERS = 4096


class PlainAgent:
    """Reads no protocol."""

    reads_lines = False
    is_over = False
    chat = None

    def __init__(self, command: Command) -> None:
        self._command = command

    def launch(self, turn: Turn, prompt_file: str, resume: Resume | None) -> Launch:
        """The command with the prompt in its place."""
        return place_prompt(self._command, turn, prompt_file)

    def on_line(self, line: Line) -> Sequence[Progress]:
        """A line is output, nothing more."""
        return (Progress("output", line.text),)

    def wrap_up(self, wish: Mapping[str, Any]) -> bytes | None:
        """The control file says it all."""
        return None

    def outcome(self, ending: Ending) -> Outcome:
        """Exit 0 completes, or yields when a checkpoint was asked for and written."""
        text = ending.stdout.strip()
        if ending.exit_code != 0:
            return Outcome("failed", text, exit_error(ending))
        if ending.is_checkpoint_requested and ending.has_checkpoint:
            return Outcome("yielded", text)
        return Outcome("completed", text)


def exit_error(ending: Ending) -> dict[str, object]:
    """The error of a child that ended badly; negative exit codes are signals."""
    code, message = "exit_status", f"exit status {ending.exit_code}"
    if ending.exit_code < 0:
        code, message = "signal", f"killed by {_signal_name(-ending.exit_code)}"
    return {
        "code": code,
        "message": message,
        "exit_code": ending.exit_code,
        "stderr": ending.stderr[-STDERR_TAIL_CHARACTERS:],
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
