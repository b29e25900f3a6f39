"""Repairs the control side's hints from the truth: rings, deadlines, due fires, the list itself."""

import structlog

from app.core import doorbell, keys, schedules, workspaces
from app.core.platform import Platform

PAGE = 500
log = structlog.get_logger(__name__)


def sweep(platform: Platform) -> int:
    """Go through every workspace once. Returns how many rings were missing."""
    control = platform.clients.control
    if not control.zcard(keys.WORKSPACES):
        _find_workspaces(platform)
    rung = 0
    page: list[str] = []
    for workspace_id in workspaces.all_ids(platform):
        page.append(workspace_id)
        if len(page) == PAGE:
            rung += _repair(platform, page)
            page = []
    rung += _repair(platform, page)
    alive = platform.run_control("dispatcher", slice_id="", ttl_ms=0)[1]
    if not alive:
        doorbell.enqueue_dispatch(platform)
    return rung


def _find_workspaces(platform: Platform) -> None:
    """The control side lost its list (a new Redis): find the workspaces by their keys."""
    for key in platform.clients.data.scan_iter(match="tk:{*}:workspace", count=1000):
        workspace_id = key[len("tk:{") : -len("}:workspace")]
        platform.clients.control.zadd(keys.WORKSPACES, {workspace_id: platform.now_ms()}, nx=True)


def _repair(platform: Platform, workspace_ids: list[str]) -> int:
    rung = 0
    unwatched = _unwatched(platform, workspace_ids)
    for found in workspaces.read_many(platform, workspace_ids):
        if found is None:
            continue
        if found.stored["status"] == "removed":
            workspaces.cancel_open(platform, found.id)
            continue
        if found.id in unwatched and (found.live_count or found.status in ("online", "degraded")):
            doorbell.watch(platform, found.id, 0)
        if found.depth and found.capacity and found.live_count < found.slots:
            doorbell.ring(platform, found.id)
            rung += 1
        _due_hints(platform, found.id)
    return rung


def _unwatched(platform: Platform, workspace_ids: list[str]) -> set[str]:
    """The workspaces of which the reaper does not know."""
    if not workspace_ids:
        return set()
    watched = platform.clients.control.zmscore(keys.DEADLINES, workspace_ids)
    taken = platform.clients.control.zmscore(keys.DEADLINES_TAKEN, workspace_ids)
    rows = zip(workspace_ids, watched, taken, strict=True)
    return {workspace_id for workspace_id, *scores in rows if scores == [None, None]}


def _due_hints(platform: Platform, workspace_id: str) -> None:
    due = platform.clients.data.zrange(keys.of(workspace_id)["due"], 0, -1, withscores=True)
    if not due:
        return
    members = [str(keys.DueMember(workspace_id, schedule_id)) for schedule_id, _ in due]
    hints = platform.clients.control.zmscore(keys.DUE, members)
    for (schedule_id, nominal_ms), hint in zip(due, hints, strict=True):
        if hint is None:
            schedule = schedules.get(platform, workspace_id, schedule_id)
            schedules.hint_due(platform, schedule, int(nominal_ms))
