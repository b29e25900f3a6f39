"""What the scripts that hand a turn over and end it are told; for one session, or many at once."""

import json
from collections.abc import Mapping
from typing import Any

from app.core.records import Session
from app.core.scripts import Call

BOUND_FACTS = ("digest", "memory_seq", "memory_team")
LIMITS_TOLD = 20
OWN_EVENT = ("cancel", "terminate")


def given(session: Session, bound: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that record exactly what a session is given."""
    limits = bound.get("limits", ())
    return {
        "session_id": session.id,
        "fence": session.fence,
        "bound": json.dumps(bound, ensure_ascii=False, separators=(",", ":")),
        "facts": json.dumps(
            {"digest": ""} | {name: bound[name] for name in BOUND_FACTS if name in bound}
        ),
        "limits": json.dumps([(hit["mechanism"], json.dumps(hit)) for hit in limits])
        if limits
        else "[]",
    }


def call_of(
    name: str, workspace_id: str, session: Session, bound: Mapping[str, Any], **more: Any
) -> Call:
    """``bind`` or ``hand_over``, to be sent together with others."""
    return Call(name, workspace_id, {**given(session, bound), **more})


def ending(
    session_id: str,
    fence: int,
    outcome: str,
    result: Mapping[str, Any],
    note: Mapping[str, Any] | None = None,
    rings: bool = True,
) -> dict[str, Any]:
    """The arguments of the agent's own end; without ``rings`` nobody is told what waits."""
    return {
        "session_id": session_id,
        "fence": fence,
        "outcome": outcome,
        "result": json.dumps(result, ensure_ascii=False, separators=(",", ":")),
        "text": result.get("text") or "",
        "note": json.dumps(note, ensure_ascii=False) if note else "",
        "limits": json.dumps(_hits(result), ensure_ascii=False) if result.get("limits") else "[]",
        "rings": rings,
    }


def _hits(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each limit that acted while the agent worked, as an event; an ending has its own."""
    hits = [(str(hit.get("mechanism", "")), hit) for hit in result.get("limits", ())]
    told = [(name, json.dumps(hit)) for name, hit in hits if name not in ("", *OWN_EVENT)]
    return told[:LIMITS_TOLD]
