"""What a session is given, put together after the claim and nowhere earlier. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from app.core.sessions import Claim


def bind(claim: Claim) -> Mapping[str, Any]:
    """Everything the session sees, with a digest of it.

    ``prompt`` is the whole text for an agent that reads nothing else: the schedule's prompt as it
    is now (or the message), then the note that the last session of the same schedule or chat left.
    """
    asked = claim.schedule["prompt"] if claim.schedule else claim.body.get("text", "")
    bound: dict[str, Any] = {
        "prompt": asked + _delimited(claim.note),
        "prompt_version": claim.schedule["prompt_version"] if claim.schedule else None,
        "session_mode": claim.schedule.get("session_mode", "fresh") if claim.schedule else None,
        "message": claim.body.get("message"),
        "checkpoint": claim.note,
        "memories": [],
    }
    text = json.dumps(bound, sort_keys=True, ensure_ascii=False)
    return bound | {"digest": hashlib.sha256(text.encode()).hexdigest()}


def _delimited(note: Mapping[str, Any] | None) -> str:
    """A note in tags. It is an agent's text, not the owner's: it cannot close its own tag."""
    if not note:
        return ""
    text = json.dumps(note, ensure_ascii=False, indent=1).replace("<", "\\u003c")
    return (
        "\n\nThe last session ended before it was done. It left this note; go on from there:\n"
        f"<checkpoint>\n{text}\n</checkpoint>"
    )
