"""What an agent with a JSON event stream has said so far, and what that makes of its end."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.agents.base import Ending, Outcome, Progress, Resume
from runtime.agents.plain import STDERR_TAIL_CHARACTERS, exit_error
from runtime.rings import Line

TEXT_MAX_CHARACTERS = 16_384
SUMMARY_MAX_CHARACTERS = 65_536


@dataclass
class Transcript:
    """The state of one stream; kept by an agent, read at its end.

    ``error`` and ``is_over`` come from the terminal event, and ``answer`` is its text;
    ``last_text`` is the newest of the others. ``is_asked``: a wrap-up was asked for before the
    terminal event; ``is_stopped``: a hook ended the agent.
    """

    agent_session_id: str | None = None
    last_text: str = ""
    answer: str = ""
    is_over: bool = False
    is_asked: bool = False
    is_stopped: bool = False
    error: dict[str, Any] | None = None
    usage: dict[str, float] = field(default_factory=dict)
    event_count: int = 0
    malformed_count: int = 0
    cut_text_count: int = 0

    def parse(self, line: Line) -> dict[str, Any] | None:
        """The event of a line; None for an empty line, and for one that is counted as no event."""
        if not line.text.strip():
            return None
        try:
            event = json.loads(line.text)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            self.malformed_count += not line.is_cut
            return None
        self.event_count += 1
        return event

    def say(self, text: Any) -> list[Progress]:
        """Remember an answer; its progress, of bounded length."""
        if not isinstance(text, str) or not text:
            return []
        self.last_text = text
        self.cut_text_count += len(text) > TEXT_MAX_CHARACTERS
        return [Progress("text", text[:TEXT_MAX_CHARACTERS])]

    def limits(self) -> list[dict[str, Any]]:
        """Every bound of the reading that acted."""
        hits: list[dict[str, Any]] = []
        if self.malformed_count:
            hits.append({"mechanism": "malformed_lines", "count": self.malformed_count})
        if self.cut_text_count:
            cut = {"limit": TEXT_MAX_CHARACTERS, "setting": "TEXT_MAX_CHARACTERS"}
            hits.append({"mechanism": "progress_text", **cut, "count": self.cut_text_count})
        return hits


def conclude(said: Transcript, ending: Ending, resume: Resume | None) -> Outcome:
    """The terminal event decides, then the exit status.

    A stream that broke off with exit status 0 counts as completed: some agents say so little.
    Asked to wrap up, an answer is a checkpoint.
    """
    limits = said.limits()
    text = (said.answer or said.last_text if said.event_count else ending.stdout).strip()
    extra: dict[str, Any] = {"usage": said.usage} if said.usage else {}
    if said.agent_session_id:
        extra["agent_session_id"] = said.agent_session_id
    error = said.error
    if error is not None:
        error = error | {"exit_code": ending.exit_code}
        if ending.stderr.strip():
            error |= {"stderr": ending.stderr[-STDERR_TAIL_CHARACTERS:]}
    elif not said.is_over and ending.exit_code != 0:
        error = exit_error(ending)
    if error is not None:
        is_lost = resume is not None and said.agent_session_id is None
        return Outcome("failed", text, error, None, extra, tuple(limits), is_lost)
    is_yielded = ending.is_checkpoint_requested and ending.has_checkpoint
    note: Mapping[str, Any] | None = None
    if said.is_asked and (text or said.is_stopped) and not is_yielded:
        is_yielded = True
        note = {"summary": text[:SUMMARY_MAX_CHARACTERS], "next_step": "", "artifacts": []}
        if len(text) > SUMMARY_MAX_CHARACTERS:
            cut = {"limit": SUMMARY_MAX_CHARACTERS, "setting": "SUMMARY_MAX_CHARACTERS"}
            limits.append({"mechanism": "checkpoint_summary", **cut, "measured": len(text)})
    return Outcome("yielded" if is_yielded else "completed", text, None, note, extra, tuple(limits))


def numbers(value: Any) -> dict[str, float]:
    """The plain numbers among the fields of a usage object."""
    items = value.items() if isinstance(value, dict) else ()
    return {k: v for k, v in items if isinstance(v, int | float) and not isinstance(v, bool)}


def listed(value: Any) -> list[dict[str, Any]]:
    """The objects in what should be a list of objects."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
