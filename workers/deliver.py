"""Visits to workspaces: claim, bind, hand over, up to a bound; then to the back of the set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from redis.exceptions import RedisError

from app.core import claims, doorbell, memories, sessions
from app.core.claims import Claim, NoClaim, first_look_s
from app.core.errors import StaleFence, TurnkeeperError
from app.core.platform import Platform
from app.core.records import Session
from workers.adapters.base import Adapter, Delivery, DeliveryFailed, deliver_each
from workers.binding import bind

log = structlog.get_logger(__name__)


@dataclass
class Visited:
    """How many turns were claimed; and the workspaces whose visit broke off, with why."""

    count: int = 0
    troubles: dict[str, Exception] = field(default_factory=dict)


def visit(platform: Platform, adapter: Adapter, workspace_id: str) -> int:
    """Claim and deliver what one workspace has room for, at most ``claims_per_visit`` turns.

    Returns how many turns were delivered.

    Raises:
        TurnkeeperError, RedisError: what broke it off.
    """
    visited = visit_all(platform, adapter, [workspace_id])
    for trouble in visited.troubles.values():
        raise trouble
    return visited.count


def visit_all(platform: Platform, adapter: Adapter, workspace_ids: Sequence[str]) -> Visited:
    """Claim and deliver what these workspaces have room for, each a turn a round.

    They share the claims of one visit, so that whoever rings meanwhile waits no longer for many
    than for one. The reaper is told before the first claim of each round, so a death between two
    lines leaves no session unwatched.
    """
    visited, serving = Visited(), list(workspace_ids)
    for _ in range(max(1, platform.settings.claims_per_visit // len(serving))):
        found = claims.claim_each(platform, serving)
        claimed = {}
        for workspace_id, answer in found.answers.items():
            if isinstance(answer, Exception):
                visited.troubles[workspace_id] = answer
            elif isinstance(answer, NoClaim):
                _come_again(platform, workspace_id, answer)
            else:
                claimed[workspace_id] = answer
                _watch_own(platform, workspace_id, answer.session)
        visited.count += len(claimed)
        _hand_over_each(platform, adapter, claimed, found.global_seq, visited)
        # What comes after a claim that left nothing rings for itself: its submit, or the end of the
        # session that had the slot.
        serving = [one for one in claimed if claimed[one].depth and one not in visited.troubles]
        if not serving:
            return visited
    doorbell.to_the_back(platform, serving)
    return visited


def _come_again(platform: Platform, workspace_id: str, none: NoClaim) -> None:
    """Nothing to claim now; perhaps later, or again at once."""
    if none.wake_at_ms:
        within_ms = none.wake_at_ms - platform.now_ms()
        if within_ms <= 0:  # a claim's bound was used up, and more may wait behind it
            doorbell.to_the_back(platform, [workspace_id])
        else:
            doorbell.watch(platform, workspace_id, within_ms / 1000)
    log.debug("nothing to claim", workspace_id=workspace_id, reason=none.reason)


def own_look_s(session: Session) -> float:
    """Within so long the session's own limits may run out; without any: never."""
    own_ms = [ms for ms in (session.idle_ms, session.stall_ms) if ms]
    if session.checkpoint_at is not None:
        own_ms.append(session.checkpoint_at - session.claimed_at)
    return min(own_ms, default=math.inf) / 1000


def _watch_own(platform: Platform, workspace_id: str, session: Session) -> None:
    """The first look was told after the claim already; this one, where it comes before that."""
    if own_look_s(session) < first_look_s(platform.settings):
        doorbell.watch(platform, workspace_id, own_look_s(session))


def _hand_over_each(
    platform: Platform,
    adapter: Adapter,
    claimed: Mapping[str, Claim],
    global_seq: int,
    visited: Visited,
) -> None:
    """Bind claimed turns and hand them to their agents; one's failure is not the others'."""
    deliveries = []
    for workspace_id, claim in claimed.items():
        try:
            if claim.turn.schedule_id and claim.schedule is None:
                _cancel_removed(platform, workspace_id, claim)
            else:
                deliveries.append(_bound(platform, workspace_id, claim, global_seq))
        except Exception as fault:  # noqa: BLE001 - judged where every other is
            _judge(platform, workspace_id, claim, fault, visited)
    faults = deliver_each(platform, adapter, deliveries)
    for delivery, found in zip(deliveries, faults, strict=True):
        if found is not None:
            _judge(platform, delivery.workspace_id, delivery.claim, found, visited)


def _bound(platform: Platform, workspace_id: str, claim: Claim, global_seq: int) -> Delivery:
    budget = platform.settings.memories_bind_max_bytes
    any_written = bool(claim.memory_seq or global_seq)
    readings = memories.readings(platform, workspace_id, claim.team, any_written, budget)
    return Delivery(workspace_id, claim, bind(claim, readings, budget))


def _cancel_removed(platform: Platform, workspace_id: str, claim: Claim) -> None:
    session = claim.session
    result = {"error": {"code": "schedule_removed", "message": "its schedule was removed"}}
    sessions.finish(platform, workspace_id, session.id, session.fence, "canceled", result)


def _judge(
    platform: Platform, workspace_id: str, claim: Claim, fault: Exception, visited: Visited
) -> None:
    """What a turn that was not handed over means: for itself, or for its workspace's visit."""
    if isinstance(fault, StaleFence):  # it ended meanwhile: the platform's word stands
        log.warning("WRITE_FENCED", workspace_id=workspace_id, session_id=claim.session.id)
        return
    if isinstance(fault, TurnkeeperError | RedisError):
        visited.troubles[workspace_id] = fault
        return
    if isinstance(fault, DeliveryFailed):
        failure = fault
    else:  # what it asks breaks us, again each time: it costs its own attempts only
        log.error("not bound", workspace_id=workspace_id, turn_id=claim.turn.id, exc_info=fault)
        failure = DeliveryFailed(f"it cannot be handed over: {type(fault).__name__}", holds=False)
    try:
        _give_back(platform, workspace_id, claim, failure)
    except (TurnkeeperError, RedisError) as trouble:
        visited.troubles[workspace_id] = trouble


def _give_back(
    platform: Platform, workspace_id: str, claim: Claim, failure: DeliveryFailed
) -> None:
    session = claim.session
    log.warning(
        "TURN_RETURNED", workspace_id=workspace_id, turn_id=claim.turn.id, reason=failure.reason
    )
    sessions.release(
        platform,
        workspace_id,
        session.id,
        session.fence,
        "delivery_failed",
        failure.reason,
        counts=True,
        holds=failure.holds,
    )
