"""The fleet in one answer, and the doctor's checks: what ``turnkeeper top`` and ``doctor`` show."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response

from app.api import models
from app.api.operation import answer, operation, platform, token
from app.core import checkup, fleet, overview
from app.core.attention import Attention
from app.core.clock import rfc3339

blueprint = Blueprint("fleet", __name__)
TAG = "fleet"
WORST_FIRST = (checkup.FAIL, checkup.WARN, checkup.OK)


@blueprint.get("/fleet")
@operation("read", tag=TAG, query=models.FleetQuery, reply=models.Fleet, is_anywhere=True)
def show_fleet(query: models.FleetQuery) -> Response:
    """What needs attention, and every workspace that the token reaches, the longest wait first."""
    here = platform()
    now = here.now_ms()
    rows = overview.reached(here, token(), now)
    items = overview.items(here, rows, now, token().allows("read", None))
    return answer(
        {
            "at": rfc3339(now),
            "total": len(rows),
            "attention": [_item(item) for item in items],
            "workspaces": [_row(row, now) for row in rows[: query.limit]],
        }
    )


@blueprint.get("/admin/checkup")
@operation("admin", tag="admin", reply=models.Checkup)
def check_up() -> Response:
    """Look the platform over: what is well, what is not, what to do next. Changes nothing."""
    checks = checkup.run(platform())
    found = {check.status for check in checks}
    worst = next(status for status in WORST_FIRST if status in found)
    return answer({"status": worst, "checks": [asdict(check) for check in checks]})


def _item(item: Attention) -> dict[str, Any]:
    return {
        "workspace_id": item.workspace_id,
        "name": item.name,
        "severity": item.severity,
        "sentence": item.sentence,
        "mechanism": item.mechanism,
        "conditions": [asdict(condition) for condition in item.conditions],
    }


def _row(row: fleet.Row, now_ms: int) -> dict[str, Any]:
    found = row.workspace
    beat = found.stored.get("beat_at")
    stalest = row.stalest
    return {
        "id": found.id,
        "name": row.name,
        "status": found.status,
        "live_sessions": found.live_count,
        "max_concurrent": found.slots,
        "sessions": [_session(row, session, now_ms) for session in row.sessions],
        "heartbeat_age_s": max(0, now_ms - int(beat)) / 1000 if beat else None,
        "waiting": found.depth,
        "waiting_by_lane": row.waiting_by_lane,
        "waiting_fires": row.waiting_fires,
        "oldest_wait_s": row.oldest_wait_ms / 1000,
        "policy": stalest.sentence if stalest else None,
        "next_fire_at": rfc3339(row.next_fire_at),
        "dead_letters": row.dead_letters,
    }


def _session(row: fleet.Row, session: Any, now_ms: int) -> dict[str, Any]:
    return {
        "id": session.id,
        "turn_id": session.turn_id,
        "state": session.state,
        "schedule": row.schedule_names.get(session.schedule_id or ""),
        "age_s": (now_ms - session.claimed_at) / 1000,
        "ceiling_s": session.ceiling_ms / 1000,
        "heartbeat_age_s": (now_ms - session.seen_at) / 1000,
        "progress_age_s": (now_ms - session.progress_at) / 1000,
    }
