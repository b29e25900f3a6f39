"""Routes of forecasts, of cron expressions in words, and of crontabs."""

from typing import Any

from flask import Blueprint, Response

from app.api import models
from app.api.bounds import check_prompt
from app.api.operation import answer, operation, platform
from app.core import cron, crontab, forecast, forecasting, schedule_import, schedules, workspaces
from app.core.clock import rfc3339
from app.core.errors import InvalidInput
from app.core.schedule_import import Step

blueprint = Blueprint("crontabs", __name__)
TAG = "schedules"
BASE = "/workspaces/<workspace_id>/schedules"
NEXT_COUNT = 3


@blueprint.get(f"{BASE}/forecast")
@operation("read", tag=TAG, reply=models.Forecast)
def schedules_forecast(workspace_id: str) -> Response:
    """What share of its slots the workspace's schedules need, and what would bring it down."""
    return answer(forecasting.shown(forecasting.read(platform(), workspace_id)))


@blueprint.get("/cron/explain")
@operation("read", tag=TAG, query=models.ExplainQuery, reply=models.Explained, is_anywhere=True)
def explain_cron(query: models.ExplainQuery) -> Response:
    """A cron expression in words, and when it fires next."""
    parsed = cron.parse(query.expr, query.timezone)
    now = platform().now_ms()
    a_day = forecast.fires_per_day(query.expr, query.timezone, now)
    return answer(
        {
            "cron_expr": query.expr,
            "timezone": query.timezone,
            "description": cron.describe(parsed),
            "fires_per_day": round(a_day, 4),
            "next": [rfc3339(at) for at in cron.fires(parsed, now, query.count)],
        }
    )


@blueprint.post(f"{BASE}/import")
@operation("operate", tag=TAG, body=models.CrontabImport, reply=models.CrontabImported)
def import_crontab(workspace_id: str, body: models.CrontabImport) -> Response:
    """Make schedules of a crontab, all of its lines or none; the same file again changes nothing.

    A line is known by its name: the comment above it, else the beginning of its command.
    """
    workspaces.require(platform(), workspace_id)
    count_max = platform().settings.import_max_count
    found = schedule_import.read(body.crontab, body.prompt_template, count_max)
    existing = schedules.listing(platform(), workspace_id)
    steps = schedule_import.plan(found, existing, check_prompt)
    made: dict[int, str] = {}
    if not body.dry_run:
        if not body.skip_bad:
            _refuse_bad(steps)
        made = schedule_import.apply(platform(), workspace_id, steps)
    after = (forecasting.read if body.dry_run else forecasting.check)(platform(), workspace_id)
    return answer(
        {
            "dry_run": body.dry_run,
            "lines": [_shown(step, made.get(step.line)) for step in steps],
            "passed": [{"line": note.number, "text": note.text} for note in found.notes],
            "forecast": after.sentence,
        }
    )


def _refuse_bad(steps: list[Step]) -> None:
    rows = [
        {"field": f"crontab line {step.line}: {step.field}", "rule": step.rule}
        for step in steps
        if step.action == "error"
    ]
    if rows:
        refusal = InvalidInput(rows[0]["field"], rows[0]["rule"])
        refusal.fields["errors"] = rows
        raise refusal


def _shown(step: Step, schedule_id: str | None) -> dict[str, Any]:
    parsed = cron.parse(step.cron_expr, step.timezone) if step.cron_expr else None
    times = cron.fires(parsed, platform().now_ms(), NEXT_COUNT) if parsed else []
    return {
        "line": step.line,
        "action": step.action,
        "name": step.name,
        "schedule_id": step.schedule_id or schedule_id,
        "cron_expr": step.cron_expr,
        "timezone": step.timezone,
        "words": cron.describe(parsed) if parsed else "",
        "next": [rfc3339(at) for at in times],
        "changed": sorted(step.changes or {}) if step.action == "update" else [],
        "field": step.field,
        "rule": step.rule,
    }


@blueprint.get(f"{BASE}/export")
@operation("read", tag=TAG, reply=models.CrontabExport)
def export_crontab(workspace_id: str) -> Response:
    """The schedules as a crontab; limits and policies are not in it, a paused one is a comment."""
    workspaces.require(platform(), workspace_id)
    found = schedules.listing(platform(), workspace_id)
    return answer({"crontab": crontab.write([vars(item) for item in found])})
