"""Ends sessions whose clock ran out, notices silent workspaces, rings when a pause is over.

It works from stored deadlines only: one that was dead for an hour catches up at its first look,
and two of them act once, because the script reads the clock again.
"""

import structlog
from redis.exceptions import RedisError

from app.core import capacity, doorbell, keys, sessions, workspaces
from app.core.platform import Platform
from workers import watchdog

BATCH = 200
HOLD_S = 10.0
log = structlog.get_logger(__name__)


def reap(platform: Platform) -> int:
    """Look at every workspace whose deadline has come. Returns how many were looked at."""
    looked = 0
    while not platform.stopping.is_set():
        due = platform.run_control("overdue", limit=BATCH, hold_ms=round(HOLD_S * 1000))[1:]
        for workspace_id in due:
            settle(platform, workspace_id, _look(platform, workspace_id))
        looked += len(due)
        if len(due) < BATCH:
            break
    return looked


def _look(platform: Platform, workspace_id: str) -> int | None:
    """A look whose failure is not the other workspaces': it is tried again after a while."""
    try:
        return look(platform, workspace_id)
    except RedisError:
        raise
    except Exception:  # noqa: BLE001 - else the workspaces behind this one were never looked at
        log.exception("look failed", workspace_id=workspace_id)
        return round(HOLD_S * 1000)


def settle(platform: Platform, workspace_id: str, within_ms: int | None) -> None:
    """Say when to look next; an unsettled look would come back by itself."""
    if within_ms is not None:
        doorbell.watch(platform, workspace_id, within_ms / 1000)
    platform.clients.control.zrem(keys.DEADLINES_TAKEN, workspace_id)


def look(platform: Platform, workspace_id: str) -> int | None:
    """Act on what has run out in one workspace.

    Returns:
        In how many ms to look again; None: nothing here can run out.
    """
    found = workspaces.read_many(platform, [workspace_id])[0]
    if found is None:
        return None
    idle_ms, idle_setting = found.idle_ms(platform.settings.idle_timeout_s)
    lease_ms = round(platform.settings.lease_ttl_s * 1000)
    handover_ms = round(platform.settings.handover_s * 1000)
    limits = watchdog.Limits(idle_ms, idle_setting, lease_ms, handover_ms)
    now, times = platform.now_ms(), []
    for session in sessions.live(platform, workspace_id):
        verdict = watchdog.verdict(session, now, limits)
        if verdict and sessions.reap(
            platform, workspace_id, session, verdict.mechanism, verdict.limit_ms, verdict.setting
        ):
            log.warning(
                "SESSION_ENDED",
                workspace_id=workspace_id,
                session_id=session.id,
                mechanism=verdict.mechanism,
                limit_s=verdict.limit_ms / 1000,
                setting=verdict.setting,
                elapsed_s=(now - session.claimed_at) / 1000,
            )
            continue
        again = watchdog.look_again_at(session, limits)
        times.append(max(again, now + 1) if again is not None else now + HOLD_S * 1000)
    times += _capacity_times(platform, found, now)
    times += _pauses(platform, found, now)
    return int(min(times) - now) if times else None


def _capacity_times(platform: Platform, found: workspaces.Workspace, now: int) -> list[float]:
    left_ms = platform.clients.data.pttl(keys.of(found.id)["capacity"])
    if left_ms > 0:
        return [now + left_ms + 1]
    if capacity.mark_offline(platform, found.id):
        log.warning("WORKSPACE_OFFLINE", workspace_id=found.id, mechanism="heartbeat_ttl")
    return []


def _pauses(platform: Platform, found: workspaces.Workspace, now: int) -> list[float]:
    """Ring for what may be claimed now; say when the next pause is over."""
    if not found.depth:
        return []
    first = platform.clients.data.zrange(keys.of(found.id)["delayed"], 0, 0, withscores=True)
    ends = [float(first[0][1])] if first else []
    ends.append(float(found.stored.get("hold_until", 0)))
    if found.has_room:
        doorbell.ring(platform, found.id)
    return [at for at in ends if at > now]
