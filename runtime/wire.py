"""What the platform sends: turns and directives, as values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

log = structlog.get_logger(__name__)

DIRECTIVE_TYPES = ("checkpoint", "cancel", "terminate")


class MalformedTurnError(ValueError):
    """The platform handed out a turn without the fields that identify it."""


@dataclass(frozen=True)
class Turn:
    """One session of one turn, as handed to this runtime.

    ``raw`` is the whole JSON object but for ``session_token``, which lets the agent call the
    platform's tools for this session; None from a platform without them.
    """

    turn_id: str
    session_id: str
    fence: int
    prompt: str
    ceiling_at: str | None
    traceparent: str | None
    raw: Mapping[str, Any]
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Directive:
    """What the platform wants done to one session; ``fence`` None means whichever it has."""

    type: str
    session_id: str
    fence: int | None = None
    deadline_at: str | None = None
    reason: str = ""


def parse_turn(raw: Mapping[str, Any]) -> Turn:
    """Raises: MalformedTurnError when an id or the fence is missing."""
    try:
        session_id, turn_id, fence = raw["session_id"], raw["turn_id"], int(raw["fence"])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedTurnError(f"turn without a usable {error}") from error
    if not (isinstance(session_id, str) and session_id and isinstance(turn_id, str)):
        raise MalformedTurnError("turn_id and session_id must be text")
    return Turn(
        turn_id=turn_id,
        session_id=session_id,
        fence=fence,
        prompt=str(raw.get("prompt") or ""),
        ceiling_at=raw.get("ceiling_at"),
        traceparent=raw.get("traceparent"),
        raw={name: value for name, value in raw.items() if name != "session_token"},
        session_token=raw.get("session_token") or None,
    )


def parse_directives(reply: Mapping[str, Any]) -> tuple[Directive, ...]:
    """The directives of any reply; one that cannot be read is logged and left out."""
    found = []
    for item in reply.get("directives") or ():
        directive = _parse_directive(item)
        if directive is None:
            log.warning("directive_ignored", reason="unreadable", directive=json.dumps(item)[:300])
        else:
            found.append(directive)
    return tuple(found)


def _parse_directive(item: Any) -> Directive | None:
    if not isinstance(item, dict) or item.get("type") not in DIRECTIVE_TYPES:
        return None
    session_id, fence = item.get("session_id"), item.get("fence")
    if not isinstance(session_id, str) or not (fence is None or isinstance(fence, int)):
        return None
    return Directive(
        type=item["type"],
        session_id=session_id,
        fence=fence,
        deadline_at=item.get("deadline_at"),
        reason=str(item.get("reason") or ""),
    )
