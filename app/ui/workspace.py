"""One workspace: what runs, what waits and why, what ran, its schedules, memories and changes."""

import json
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from app.core import (
    attention,
    cron,
    events,
    fleet,
    forecasting,
    ledger,
    schedule_rows,
    schedules,
    sessions,
    tokens,
    turns,
    why,
    workspaces,
)
from app.core.errors import NotFound
from app.core.platform import Platform
from app.core.policy import seen_seq
from app.core.recall import newest
from app.core.records import Session, Turn
from app.core.schedules import Schedule
from app.ui import timeline
from app.ui.pages import blueprint, page, platform, scope, token

TABS = {
    "live": "Live",
    "queue": "Queue",
    "sessions": "Sessions",
    "schedules": "Schedules",
    "memories": "Memories",
    "dead": "Dead letters",
    "audit": "Audit",
}
# What people and policies did; the rest of the feed is what turns went through.
AUDITED = frozenset(
    {
        "OPERATOR_ACTED",
        "WORKSPACE_CHANGED",
        "POLICY_CHANGED",
        "SESSION_CHECKPOINT_REQUESTED",
        "SESSION_CANCEL_REQUESTED",
        "SESSION_CHECKPOINTED",
        "WORKSPACE_ONLINE",
        "WORKSPACE_OFFLINE",
        "WORKSPACE_DEGRADED",
        "WRITE_FENCED",
        "LIMIT_HIT",
    }
)
SHOWN = 50
MEMORIES_SHOWN = 100
AUDIT_READ = 2000


@blueprint.get("/w/<workspace_id>")
@blueprint.get("/w/<workspace_id>/<tab>")
@scope("read")
def workspace(workspace_id: str, tab: str = "live") -> Response:
    """The page of one workspace, open at a tab."""
    if tab not in TABS:
        raise NotFound(f"no tab {tab}; there are {', '.join(TABS)}")
    here = platform()
    found = workspaces.get(here, workspace_id)
    now = here.now_ms()
    (row,) = fleet.read(here, [workspace_id], now)
    window = request.args.get("window", "6h")
    return page(
        "workspace.html",
        now=now,
        tab=tab,
        tabs=TABS,
        workspace=found,
        row=row,
        why=why.explain(here, workspace_id),
        item=attention.of_row(row, now, here.settings),
        window=window if window in timeline.WINDOWS_S else "6h",
        windows=list(timeline.WINDOWS_S),
        timeline=timeline.draw(here, workspace_id, window, now),
        can_send=tokens.reach(here, token(), "send", workspace_id),
        can_operate=tokens.reach(here, token(), "operate", workspace_id),
        stream=f"/workspaces/{workspace_id}/events/stream?{urlencode({'since': '10m'})}",
        **PARTS[tab](here, row, now),
    )


def _live(here: Platform, row: fleet.Row, now: int) -> dict[str, Any]:
    return {"chat": _chat(here, row.workspace.id)}


def _chat(here: Platform, workspace_id: str) -> list[dict[str, Any]]:
    """The newest messages of people with what became of each, oldest first."""
    found = [one for one in turns.listing(here, workspace_id, None, SHOWN) if one.origin == "chat"]
    shown = []
    for turn in reversed(found):
        body, result = turns.read_parts(here, workspace_id, turn.id)
        shown.append(
            {"turn": turn, "asked": (body or {}).get("text", ""), **_answered(turn, result)}
        )
    return shown


def _answered(turn: Turn, result: Any) -> dict[str, Any]:
    error = (result or {}).get("error") or {}
    return {
        "answer": (result or {}).get("text", ""),
        "error": error.get("message", ""),
        "step": _step(turn),
    }


def _step(turn: Turn) -> str:
    """queued, delivered, answered, or how else it ended."""
    words = {"claimed": "delivered", "running": "delivered", "completed": "answered"}
    return words.get(turn.state, turn.state)


def _queue(here: Platform, row: fleet.Row, now: int) -> dict[str, Any]:
    found = turns.listing(here, row.workspace.id, "queued", 200)
    names = _schedule_names(here, row.workspace.id)
    return {"turns": sorted(found, key=lambda one: one.seq), "names": names}


def _sessions(here: Platform, row: fleet.Row, now: int) -> dict[str, Any]:
    found = sessions.recent(here, row.workspace.id, SHOWN)
    rows = [_seen(here, row.workspace.id, one) for one in found]
    return {"sessions": rows, "names": _schedule_names(here, row.workspace.id)}


def _seen(here: Platform, workspace_id: str, session: Session) -> dict[str, Any]:
    """A session with what it was given."""
    bound = sessions.bound(here, workspace_id, session.id) or {}
    return {
        "session": session,
        "bound": bound,
        "text": str(bound.get("text") or bound.get("prompt") or ""),
    }


def _schedules(here: Platform, row: fleet.Row, now: int) -> dict[str, Any]:
    found = schedules.listing(here, row.workspace.id)
    forecast = forecasting.read(here, row.workspace.id)
    needs = {need.schedule_id: need for need in forecast.schedules}
    rows = [_schedule(here, one, now) | {"need": needs.get(one.id)} for one in found]
    return {"schedules": rows, "forecast": forecast}


def _schedule(here: Platform, one: Schedule, now: int) -> dict[str, Any]:
    shown = {"it": one, "row": schedule_rows.row(here, one), "words": "", "next": [], "fault": ""}
    shown["last"] = ledger.fires(here, one.workspace_id, one.id, 5)
    try:
        clock = cron.parse(one.cron_expr, one.timezone)
    except Exception as error:  # noqa: BLE001 - a zone that is gone: the page must show the others
        return shown | {"fault": str(error)}
    following = cron.fires(clock, now, 5) if one.enabled else []
    return shown | {"words": cron.describe(clock), "next": following}


def _memories(here: Platform, row: fleet.Row, now: int) -> dict[str, Any]:
    found = newest(here, row.workspace.id, MEMORIES_SHOWN)
    team = row.workspace.stored.get("team", "")
    running = [one for one in row.sessions if one.memory_seq is not None]

    def seen(scope_name: str, seq: int) -> str:
        if not running:
            return "no session runs"
        knows = [one for one in running if seen_seq(one, scope_name, team) >= seq]
        return "yes" if len(knows) == len(running) else "no" if not knows else "by some"

    rows = [{"it": one, "seen": seen(one.scope, one.seq)} for one in found.memories]
    return {"memories": rows, "total": found.total}


def _dead(here: Platform, row: fleet.Row, now: int) -> dict[str, Any]:
    return {"dead": turns.listing(here, row.workspace.id, "dead", 200)}


def _audit(here: Platform, row: fleet.Row, now: int) -> dict[str, Any]:
    found = events.latest(here, row.workspace.id, AUDIT_READ)
    kept = [one for one in found if one.event in AUDITED or one.mechanism == "operator"]
    return {"audit": [(one, events.order(one.id)[0], _brief(one.payload)) for one in kept[:200]]}


def _brief(payload: Any) -> str:
    return json.dumps(payload, ensure_ascii=False)[:300]


def _schedule_names(here: Platform, workspace_id: str) -> dict[str, str]:
    return {one.id: one.name for one in schedules.listing(here, workspace_id)}


PARTS = {
    "live": _live,
    "queue": _queue,
    "sessions": _sessions,
    "schedules": _schedules,
    "memories": _memories,
    "dead": _dead,
    "audit": _audit,
}
