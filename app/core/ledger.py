"""The ledger: what became of each fire of a schedule. Written by the scripts, read here."""

import json
from dataclasses import dataclass

from app.core import keys
from app.core.platform import Platform


@dataclass(frozen=True)
class Fire:
    """One row of the ledger."""

    schedule_id: str
    nominal_at: int
    state: str
    at: int
    turn_id: str | None = None
    session_id: str | None = None
    started_at: int | None = None
    reason: str | None = None
    origin: str | None = None


def fires(platform: Platform, workspace_id: str, schedule_id: str, limit: int) -> list[Fire]:
    """The ledger of a schedule, newest nominal time first."""
    own, data = keys.of(workspace_id), platform.clients.data
    rows = data.zrevrangebylex(
        own["fire_index"], f"[{schedule_id};", f"[{schedule_id}:", start=0, num=limit
    )
    if not rows:
        return []
    found = []
    for row, text in zip(rows, data.hmget(own["fires"], rows), strict=True):
        if text:
            names = Fire.__dataclass_fields__
            stored = {name: value for name, value in json.loads(text).items() if name in names}
            found.append(
                Fire(schedule_id=schedule_id, nominal_at=int(row.rsplit(":", 1)[1]), **stored)
            )
    return found


def error_of(platform: Platform, workspace_id: str, fire: Fire) -> str | None:
    """What went wrong in a fire that did not complete, if anything is known."""
    if fire.state == "completed" or not fire.turn_id:
        return None
    stored = platform.clients.data.hget(keys.of(workspace_id)["results"], fire.turn_id)
    error = (json.loads(stored).get("error") if stored else None) or {}
    return error.get("message") or fire.reason
