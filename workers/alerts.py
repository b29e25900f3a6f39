"""Looks for what needs a person's attention, and has it told."""

import structlog

from app.core import alerts, attention, fleet, keys, vitals, workspaces
from app.core.attention import Attention
from app.core.platform import Platform

PAGE = 500
HOLD = "tk:alerts:hold"
log = structlog.get_logger(__name__)


def look(platform: Platform) -> int:
    """Look at every workspace in which something stirs and at the platform itself, unless another
    worker has just done so. Returns how many alerts were opened or are over."""
    control, hold_ms = platform.clients.control, round(platform.settings.alert_interval_s * 900)
    if not control.set(HOLD, "1", nx=True, px=max(1, hold_ms)):
        return 0
    now, every = platform.now_ms(), list(workspaces.all_ids(platform))
    told = waiting = 0
    for page in workspaces.in_pages(every, PAGE):
        if platform.stopping.is_set():
            return told
        noted = alerts.known(platform, page)
        rows = fleet.read(platform, sorted({*fleet.stirring(platform, page), *noted}), now)
        waiting += sum(row.workspace.depth for row in rows)
        found: dict[str, list[Attention]] = {}
        for row in rows:
            item = attention.of_row(row, now, platform.settings)
            if item or row.workspace.id in noted:
                found[row.workspace.id] = [item] if item else []
        told += sum(alerts.note(platform, found))
    live = attention.of_platform(vitals.read(platform, waiting, now))
    told += sum(alerts.note(platform, {keys.PLATFORM_PLACE: live}))
    control.hset(keys.TICKS, "alerts", platform.now_ms())
    if told:
        log.info("alerts told", alert_count=told)
    return told
