"""The RQ jobs, called by dotted name; each may run twice, late, or not at all without harm."""

from collections.abc import Sequence

import structlog
from redis.exceptions import RedisError
from rq.utils import import_attribute

from app.core import doorbell, history, ids, keys
from app.core.errors import TurnkeeperError
from app.core.platform import Platform, current
from workers import agents, invariants, reaper, replaying, trimming, webhooks
from workers import sweep as sweeping
from workers.adapters.a2a import ByWorkspace
from workers.adapters.base import Adapter
from workers.deliver import Visited, visit_all

LEASE_S = 15.0
AWAY_S = 0.2
RINGS_MOST = 10  # taken at once: so many are lost with a process that dies
REAP_MOST, REAP_PAUSE_S, REAP_LEAST_S = 10, 0.25, 0.02
TRIM_EVERY_MS = 60_000
# The ticks of each second. They wait in the queue behind a round through all workspaces, so it
# does their work between its pages; by their names in RQ, for the scheduler is no worker's import.
EACH_SECOND = ("workers.jobs.reap", "scheduler.jobs.fire_due")
log = structlog.get_logger(__name__)


def dispatch() -> None:
    """Serve the ready set for one time slice; the next job waits before this one begins."""
    platform = current()
    doorbell.enqueue_dispatch(platform)
    serve(platform, ByWorkspace(), platform.settings.dispatch_slice_s)


def serve(platform: Platform, adapter: Adapter, slice_s: float) -> int:
    """Visit rung workspaces until the slice is over or the process stops. Returns turns delivered.

    A busy system thus pays RQ once a slice; an idle one waits here and answers in milliseconds.
    Between visits it looks at a few workspaces whose deadline has come, so that a step due
    between two ticks of the reaper's own job comes on time.
    """
    slice_id, clock = ids.new("slice"), platform.clock
    most = min(RINGS_MOST, platform.settings.claims_per_visit)
    end, renew_at, reap_at, delivered = clock.monotonic() + slice_s, 0.0, 0.0, 0
    try:
        while (now := clock.monotonic()) < end and not platform.stopping.is_set():
            if now >= renew_at:
                platform.run_control("dispatcher", slice_id=slice_id, ttl_ms=round(LEASE_S * 1000))
                renew_at = now + LEASE_S / 3
            if now >= reap_at:
                reap_at = now + _reap_a_few(platform)
            wait_s = min(1.0, end - now, reap_at - now)
            rung = doorbell.next_ready_many(platform, max(0.01, wait_s), most)
            if rung:
                delivered += _visit(platform, adapter, rung)
    finally:
        platform.run_control("dispatcher", slice_id=slice_id, ttl_ms=0)
    return delivered


def _reap_a_few(platform: Platform) -> float:
    """Do what is due, a bounded part of it; in how many seconds to come again."""
    due_s = reaper.next_due_s(platform)
    if due_s is None or due_s > REAP_PAUSE_S:
        return REAP_PAUSE_S
    if due_s == 0:
        reaper.reap_some(platform, REAP_MOST)
    return max(REAP_LEAST_S, due_s)


def _visit(platform: Platform, adapter: Adapter, rung: Sequence[str]) -> int:
    """One visit; a workspace's trouble, of whatever kind, is not the others'."""
    try:
        visited = visit_all(platform, adapter, rung)
    except RedisError as error:
        visited = Visited(troubles=dict.fromkeys(rung, error))
    except Exception:  # noqa: BLE001 - the other workspaces must be served all the same
        log.exception("visit failed", workspace_ids=rung)
        return sum(_visit(platform, adapter, [one]) for one in rung) if len(rung) > 1 else 0
    away = []
    for workspace_id, trouble in visited.troubles.items():
        if isinstance(trouble, TurnkeeperError):
            log.warning("visit refused", workspace_id=workspace_id, code=trouble.code)
        else:
            log.warning("visit failed", workspace_id=workspace_id, error=str(trouble))
            away += [workspace_id] if isinstance(trouble, RedisError) else []
    if away:
        platform.clock.wait(platform.stopping, AWAY_S)
        doorbell.ring_many(platform, away)
    return visited.count


def deliver_owed() -> None:
    """Deliver what webhooks are owed for one time slice; the next job waits before it begins."""
    platform = current()
    doorbell.enqueue_delivery(platform)
    webhooks.serve(platform, platform.settings.dispatch_slice_s)


def serve_agents() -> None:
    """Talk to agents behind URLs for one time slice; the next job waits before it begins."""
    platform = current()
    doorbell.enqueue_agents(platform)
    agents.serve(platform, platform.settings.dispatch_slice_s)


def reap() -> None:
    """Ticked every second: end what ran out, carry runs of replays on."""
    platform = current()
    reaper.reap(platform)
    replaying.step_all(platform)
    _tell(platform, "reap")


def sweep() -> None:
    """Ticked every ``sweep_interval_s``: repair the hints, then check some invariants, and once a
    minute trim the events and keep a sample for the charts. Copies that queued up pass."""
    platform = current()
    hold_ms = round(platform.settings.sweep_interval_s * 500)
    if platform.clients.control.set("tk:sweep:hold", "1", nx=True, px=hold_ms):
        repair()
        invariants.check_some(platform, between=tick)
    if platform.clients.control.set("tk:trim:hold", "1", nx=True, px=TRIM_EVERY_MS):
        trimming.trim(platform, between=tick)
    if platform.clients.control.set("tk:history:hold", "1", nx=True, px=history.EVERY_MS):
        history.take(platform, between=tick)


def tick() -> None:
    """What is due now, though the job that would do it waits: reap, and make the fires."""
    for name in EACH_SECOND:
        import_attribute(name)()


def repair() -> None:
    """Repair the hints now: a dispatch worker asks for it at its start, having been killed maybe
    between the pop of a ring and the claim."""
    platform = current()
    rung = sweeping.sweep(platform, between=tick)
    if rung:
        log.info("rang again", rung_count=rung)
    _tell(platform, "sweep")


def _tell(platform: Platform, job: str) -> None:
    platform.clients.control.hset(keys.TICKS, job, platform.now_ms())
