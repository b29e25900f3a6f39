"""Goes through all workspaces and checks their invariants, a bounded part with each sweep."""

from collections.abc import Callable

import structlog
from redis.exceptions import RedisError

from app.core import invariant_reports, keys
from app.core.platform import Platform

PASS_SHARE = 0.1  # of the time between two sweeps: so much of one core at most
PAGE = 20
log = structlog.get_logger(__name__)


def check_some(platform: Platform, between: Callable[[], object] = lambda: None) -> int:
    """Go on with the round, or begin one when the last began long enough ago.

    Returns:
        How many workspaces were looked at; a round that is not done goes on with the next call.
    """
    rank, control = _next_rank(platform), platform.clients.control
    if rank is None:
        return 0
    pass_s = PASS_SHARE * platform.settings.sweep_interval_s
    looked, end = 0, platform.clock.monotonic() + pass_s
    while not platform.stopping.is_set() and platform.clock.monotonic() < end:
        page = control.zrange(keys.WORKSPACES, rank, rank + PAGE - 1)
        for workspace_id in page:
            _look(platform, workspace_id)
        looked, rank = looked + len(page), rank + len(page)
        _note(platform, rank=rank)
        if len(page) < PAGE:
            _note(platform, is_going_on=0, ended_at=platform.now_ms())
            break
        between()
    return looked


def _next_rank(platform: Platform) -> int | None:
    """Where the round goes on; None: the next one is not due yet."""
    interval_ms = platform.settings.invariants_interval_s * 1000
    this, now = invariant_reports.current_round(platform), platform.now_ms()
    if not interval_ms:
        return None
    if this.is_going_on:
        return this.rank
    if this.began_at is not None and now - this.began_at < interval_ms:
        return None
    _note(platform, began_at=now, rank=0, is_going_on=1)
    return 0


def _note(platform: Platform, **fields: int) -> None:
    platform.clients.control.hset(keys.INVARIANTS_ROUND, mapping=fields)


def _look(platform: Platform, workspace_id: str) -> None:
    """One workspace's trouble is not the others'."""
    try:
        invariant_reports.run(platform, workspace_id)
    except RedisError:
        raise
    except Exception:  # noqa: BLE001 - else the workspaces behind this one were never checked
        log.exception("invariants not checked", workspace_id=workspace_id)
