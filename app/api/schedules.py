"""Routes of schedules and their ledgers."""

from typing import Any

from flask import Blueprint, Response

from app.api import models, views
from app.api.bounds import check_prompt
from app.api.operation import answer, operation, platform, token
from app.api.tracing import traceparent
from app.core import backfills, cron, forecasting, ledger, schedule_rows, workspaces
from app.core import schedules as core
from app.core.clock import rfc3339
from app.core.errors import InvalidInput

blueprint = Blueprint("schedules", __name__)
TAG = "schedules"
BASE = "/workspaces/<workspace_id>/schedules"
NULLABLE = {
    "catchup_window_s",
    "ttl_s",
    "ceiling_s",
    "idle_timeout_s",
    "stall_after_s",
    "preempt_after_s",
    "redeliver",
}


def _row(found: core.Schedule, is_changed: bool = False) -> dict[str, Any]:
    """A schedule's row with its forecast; a change may have to be told."""
    look = forecasting.check if is_changed else forecasting.read
    need = forecasting.of_schedule(look(platform(), found.workspace_id), found.id)
    return schedule_rows.row(platform(), found) | {"forecast": need}


@blueprint.get(BASE)
@operation("read", tag=TAG, reply=models.Schedules)
def list_schedules(workspace_id: str) -> Response:
    """A workspace's schedules."""
    workspaces.require(platform(), workspace_id)
    found = core.listing(platform(), workspace_id)
    need = forecasting.read(platform(), workspace_id)
    rows = [
        schedule_rows.row(platform(), item) | {"forecast": forecasting.of_schedule(need, item.id)}
        for item in found
    ]
    return answer({"schedules": rows})


@blueprint.post(BASE)
@operation(
    "operate",
    tag=TAG,
    body=models.ScheduleFields,
    reply=models.Schedule,
    status=201,
    refusals=(410,),
)
def create_schedule(workspace_id: str, body: models.ScheduleFields) -> Response:
    """Add a schedule; its first fire is the next nominal time."""
    workspaces.require(platform(), workspace_id)
    check_prompt("prompt", body.prompt)
    made = core.create(platform(), workspace_id, body.model_dump())
    return answer(_row(made, is_changed=True), 201)


@blueprint.get(f"{BASE}/<schedule_id>")
@operation("read", tag=TAG, reply=models.Schedule)
def show_schedule(workspace_id: str, schedule_id: str) -> Response:
    """One schedule."""
    workspaces.require(platform(), workspace_id)
    return answer(_row(core.get(platform(), workspace_id, schedule_id)))


@blueprint.patch(f"{BASE}/<schedule_id>")
@operation("operate", tag=TAG, body=models.ScheduleChange, reply=models.Schedule, refusals=(409,))
def change_schedule(workspace_id: str, schedule_id: str, body: models.ScheduleChange) -> Response:
    """Change some fields; fires that wait already get the new prompt."""
    workspaces.require(platform(), workspace_id)
    fields = body.model_dump(exclude_unset=True)
    for name, value in fields.items():
        if value is None and name not in NULLABLE:
            raise InvalidInput(name, "may not be null")
    check_prompt("prompt", body.prompt or "")
    changed = core.change(platform(), workspace_id, schedule_id, fields)
    return answer(_row(changed, is_changed=True))


@blueprint.delete(f"{BASE}/<schedule_id>")
@operation("operate", tag=TAG, reply=models.Ok)
def remove_schedule(workspace_id: str, schedule_id: str) -> Response:
    """Remove a schedule and cancel its fires that wait; a running one goes on."""
    workspaces.require(platform(), workspace_id)
    core.remove(platform(), workspace_id, schedule_id)
    forecasting.check(platform(), workspace_id)
    return answer({"status": "ok"})


@blueprint.post(f"{BASE}/<schedule_id>/run")
@operation("operate", tag=TAG, reply=models.Fire, status=202)
def run_schedule(workspace_id: str, schedule_id: str) -> Response:
    """Fire once now, beside the schedule's times; a ``traceparent`` reaches the agent."""
    workspaces.require(platform(), workspace_id)
    made = core.run_now(platform(), workspace_id, schedule_id, traceparent())
    return answer(views.fire(made), 202)


@blueprint.post(f"{BASE}/<schedule_id>/pause")
@operation("operate", tag=TAG, body=models.Reason, reply=models.Schedule, refusals=(409,))
def pause_schedule(workspace_id: str, schedule_id: str, body: models.Reason) -> Response:
    """No more fires until resumed; those that wait stay."""
    workspaces.require(platform(), workspace_id)
    fields = {"enabled": False, "paused_reason": body.reason}
    changed = core.change(platform(), workspace_id, schedule_id, fields)
    return answer(_row(changed, is_changed=True))


@blueprint.post(f"{BASE}/<schedule_id>/resume")
@operation("operate", tag=TAG, reply=models.Schedule, refusals=(409,))
def resume_schedule(workspace_id: str, schedule_id: str) -> Response:
    """Fire again from the next nominal time."""
    workspaces.require(platform(), workspace_id)
    changed = core.change(platform(), workspace_id, schedule_id, {"enabled": True})
    return answer(_row(changed, is_changed=True))


@blueprint.post(f"{BASE}/<schedule_id>/backfill")
@operation("operate", tag=TAG, body=models.BackfillWish, reply=models.Backfill, status=202)
def backfill_schedule(workspace_id: str, schedule_id: str, body: models.BackfillWish) -> Response:
    """Make the fires of a range that has passed, below all live work; a repeat goes on."""
    workspaces.require(platform(), workspace_id)
    start_ms, end_ms = (round(at.timestamp() * 1000) for at in (body.start, body.end))
    wish = backfills.Wish(start_ms, end_ms, body.overlap_policy, body.dry_run)
    made = backfills.make(platform(), workspace_id, schedule_id, wish)
    return answer(views.backfill(made), 202)


@blueprint.get(f"{BASE}/<schedule_id>/backfill")
@operation("read", tag=TAG, reply=models.Backfills)
def list_backfills(workspace_id: str, schedule_id: str) -> Response:
    """A schedule's backfills and how far each has come, the newest first."""
    workspaces.require(platform(), workspace_id)
    core.get(platform(), workspace_id, schedule_id)
    found = backfills.listing(platform(), workspace_id, schedule_id)
    return answer({"backfills": [views.backfill(item) for item in found]})


@blueprint.get(f"{BASE}/<schedule_id>/preview")
@operation("read", tag=TAG, query=models.PreviewQuery, reply=models.Preview)
def preview_schedule(workspace_id: str, schedule_id: str, query: models.PreviewQuery) -> Response:
    """The next nominal times."""
    workspaces.require(platform(), workspace_id)
    schedule = core.get(platform(), workspace_id, schedule_id)
    parsed = cron.parse(schedule.cron_expr, schedule.timezone)
    times = cron.fires(parsed, platform().now_ms(), query.count)
    return answer({"next": [rfc3339(at) for at in times], "description": cron.describe(parsed)})


@blueprint.get(f"{BASE}/<schedule_id>/history")
@operation("read", tag=TAG, query=models.Page, reply=models.History)
def schedule_history(workspace_id: str, schedule_id: str, query: models.Page) -> Response:
    """What became of each fire, newest first."""
    return answer({"history": _fires(workspace_id, schedule_id, query.limit)})


@blueprint.get(f"{BASE}/<schedule_id>/fires")
@operation("read", tag=TAG, query=models.Page, reply=models.Fires)
def schedule_fires(workspace_id: str, schedule_id: str, query: models.Page) -> Response:
    """The ledger, newest nominal time first."""
    return answer({"fires": _fires(workspace_id, schedule_id, query.limit)})


def _fires(workspace_id: str, schedule_id: str, limit: int) -> list[dict[str, Any]]:
    workspaces.require(platform(), workspace_id)
    core.get(platform(), workspace_id, schedule_id)
    return [views.fire(item) for item in ledger.fires(platform(), workspace_id, schedule_id, limit)]


def _health(workspace_id: str) -> list[dict[str, Any]]:
    now = platform().now_ms()
    found = core.listing(platform(), workspace_id)
    return [schedule_rows.health(platform(), item, now) for item in found]


@blueprint.get(f"{BASE}/health")
@operation("read", tag=TAG, reply=models.ScheduleHealths)
def schedules_health(workspace_id: str) -> Response:
    """``ok``, ``stale`` (nothing made for two intervals) or ``never_run``."""
    workspaces.require(platform(), workspace_id)
    return answer({"schedules": _health(workspace_id)})


@blueprint.get("/admin/schedules/health")
@operation("read", tag="admin", reply=models.ScheduleHealths, is_anywhere=True)
def all_schedules_health() -> Response:
    """The same for every workspace that the token reaches."""
    reached = [
        item.id
        for item in workspaces.listing(platform())
        if token().allows("read", item.id, item.stored.get("team"))
    ]
    return answer({"schedules": [row for item in reached for row in _health(item)]})
