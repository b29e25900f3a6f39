"""Schedules as they are shown: a row with what happened to it, and whether it is well."""

from dataclasses import asdict
from typing import Any

from app.core import cron, keys, ledger
from app.core.clock import rfc3339
from app.core.platform import Platform
from app.core.schedules import Schedule


def row(platform: Platform, schedule: Schedule) -> dict[str, Any]:
    """A schedule as the field platform shows one; what happened is read from the ledger."""
    own, data = keys.of(schedule.workspace_id), platform.clients.data
    stands = ledger.summary(platform, schedule.workspace_id, schedule.id)
    ended = stands.last_run
    due_ms = data.zscore(own["due"], schedule.id)
    shown = asdict(schedule)
    for name in ("created_at", "updated_at"):
        shown[name] = rfc3339(shown[name])
    return shown | {
        "next_run_at": rfc3339(due_ms),
        "run_count": stands.run_count,
        "last_run_at": rfc3339(ended.started_at) if ended else None,
        "last_status": ended.state if ended else None,
        "last_error": ledger.error_of(platform, schedule.workspace_id, ended) if ended else None,
    }


def health(platform: Platform, schedule: Schedule, now_ms: int) -> dict[str, Any]:
    """``ok``, ``stale`` (nothing made for two intervals) or ``never_run``."""
    stands = ledger.summary(platform, schedule.workspace_id, schedule.id)
    newest = stands.newest
    cadence_s = cron.cadence_s(cron.parse(schedule.cron_expr, schedule.timezone), now_ms)
    # A change (a resume, another cron expression) starts the count again.
    since = max(newest.nominal_at if newest else 0, schedule.updated_at)
    is_stale = schedule.enabled and now_ms - since > 2 * cadence_s * 1000
    return {
        "schedule_id": schedule.id,
        "workspace_id": schedule.workspace_id,
        "name": schedule.name,
        "enabled": schedule.enabled,
        "status": "stale" if is_stale else "ok" if newest else "never_run",
        "interval_s": cadence_s,
        "last_fire_at": rfc3339(newest.nominal_at) if newest else None,
        "last_state": newest.state if newest else None,
        "waiting_fires": stands.waiting_count,
    }
