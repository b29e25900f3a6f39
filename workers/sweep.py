"""Repairs the control side's hints from the truth: rings, deadlines, due fires, the list itself."""

from collections.abc import Callable
from contextlib import suppress

import structlog
from redis.exceptions import RedisError

from app.core import (
    agents,
    doorbell,
    forecasting,
    keys,
    schedules,
    telling,
    tokens,
    workspaces,
)
from app.core.errors import ScheduleNotFound
from app.core.platform import Platform
from workers import forecasts

PAGE = 500
log = structlog.get_logger(__name__)


def sweep(
    platform: Platform, between: Callable[[], object] = lambda: None, page_count: int = PAGE
) -> int:
    """Go through every workspace once. Returns how many rings were missing.

    ``between``: called after each page. The reaper's tick waits behind a sweep, and with many
    workspaces that is longer than a ceiling may be late (measured: 1.6 s for 10,000).
    """
    control = platform.clients.control
    if not control.zcard(keys.WORKSPACES):
        _find_workspaces(platform)
    rung = 0
    planned: set[str] = set()  # the workspaces whose schedules' need is to be forecast
    for page in workspaces.pages(platform, page_count):
        rung += _repair(platform, page, planned)
        between()
    tokens.purge(platform)
    doorbell.enqueue_dispatch(platform)
    doorbell.enqueue_delivery(platform)
    doorbell.enqueue_agents(platform)
    forecasts.check_some(platform, planned, between=between)
    return rung


def _find_workspaces(platform: Platform) -> None:
    """The control side lost its list (a new Redis): find the workspaces by their keys."""
    for key in platform.clients.data.scan_iter(match="tk:{*}:workspace", count=1000):
        workspace_id = key[len("tk:{") : -len("}:workspace")]
        platform.clients.control.zadd(keys.WORKSPACES, {workspace_id: platform.now_ms()}, nx=True)


def _repair(platform: Platform, workspace_ids: list[str], planned: set[str]) -> int:
    rung = 0
    unwatched = _unwatched(platform, workspace_ids)
    read = [found for found in workspaces.read_many(platform, workspace_ids) if found]
    for found in read:
        if forecasting.OVER in found.stored:
            planned.add(found.id)
        try:
            rung += _repair_one(platform, found, found.id in unwatched)
        except RedisError:
            raise
        except Exception:  # noqa: BLE001 - one workspace's trouble is not the others'
            log.exception("not repaired", workspace_id=found.id)
    telling.repair(platform, read)
    agents.repair(platform, [found.id for found in read if agents.is_behind_url(found.stored)])
    planned |= _due_hints(platform, workspace_ids)
    _expiry_hints(platform, workspace_ids)
    return rung


def _repair_one(platform: Platform, found: workspaces.Workspace, is_unwatched: bool) -> bool:
    """Returns whether the workspace was rung."""
    if found.stored["status"] == "removed":
        workspaces.cancel_open(platform, found.id)
        return False
    if is_unwatched and (found.live_count or found.status in ("online", "degraded")):
        doorbell.watch(platform, found.id, 0)
    if found.depth and found.has_room:
        doorbell.ring(platform, found.id)
        return True
    return False


def _unwatched(platform: Platform, workspace_ids: list[str]) -> set[str]:
    """The workspaces of which the reaper does not know."""
    watched = platform.clients.control.zmscore(keys.DEADLINES, workspace_ids)
    taken = platform.clients.control.zmscore(keys.DEADLINES_TAKEN, workspace_ids)
    rows = zip(workspace_ids, watched, taken, strict=True)
    return {workspace_id for workspace_id, *scores in rows if scores == [None, None]}


def _expiry_hints(platform: Platform, workspace_ids: list[str]) -> None:
    """The reaper looks when the first time to live passes, also where nobody beats."""
    pipe = platform.clients.data.pipeline(transaction=False)
    for workspace_id in workspace_ids:
        pipe.zrange(keys.of(workspace_id)["expiring"], 0, 0, withscores=True)
    rows = zip(workspace_ids, pipe.execute(), strict=True)
    now = platform.now_ms()
    within_s = {name: (first[0][1] - now) / 1000 for name, first in rows if first}
    doorbell.watch_many(platform, within_s)


def _due_hints(platform: Platform, workspace_ids: list[str]) -> set[str]:
    """A hint that is missing, or later than the fire it stands for, is written again.

    One that is too early mends itself: ``fire_due`` looks, and writes the right one. Returns the
    workspaces with schedules that fire.
    """
    pipe = platform.clients.data.pipeline(transaction=False)
    for workspace_id in workspace_ids:
        pipe.zrange(keys.of(workspace_id)["due"], 0, -1, withscores=True)
    due = {
        keys.DueMember(workspace_id, schedule_id): int(nominal_ms)
        for workspace_id, rows in zip(workspace_ids, pipe.execute(), strict=True)
        for schedule_id, nominal_ms in rows
    }
    if not due:
        return set()
    hints = platform.clients.control.zmscore(keys.DUE, [str(member) for member in due])
    for (member, nominal_ms), hint in zip(due.items(), hints, strict=True):
        if hint is None or hint > nominal_ms:
            with suppress(ScheduleNotFound):  # removed meanwhile
                schedule = schedules.get(platform, member.workspace_id, member.schedule_id)
                if hint is None or hint > nominal_ms + schedule.jitter_ms:
                    schedules.hint_due(platform, schedule, nominal_ms)
    return {member.workspace_id for member in due}
