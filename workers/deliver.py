"""A visit to one workspace: claim, bind, hand over, up to a bound; then to the back of the set."""

import math

import structlog
from redis.exceptions import RedisError

from app.core import doorbell, memories, sessions
from app.core.errors import StaleFence, TurnkeeperError
from app.core.platform import Platform
from app.core.records import Session
from app.core.sessions import Claim, NoClaim
from app.core.settings import Settings
from workers.adapters.base import Adapter, DeliveryFailed
from workers.binding import bind

log = structlog.get_logger(__name__)


def visit(platform: Platform, adapter: Adapter, workspace_id: str) -> int:
    """Claim and deliver what the workspace has room for, at most ``claims_per_visit`` turns.

    The reaper is told before the first claim, so a death between two lines leaves no session
    unwatched. Returns how many turns were delivered.
    """
    settings = platform.settings
    doorbell.watch(platform, workspace_id, first_look_s(settings))
    for count in range(settings.claims_per_visit):
        claim = sessions.claim(platform, workspace_id)
        if isinstance(claim, NoClaim):
            if claim.wake_at_ms:
                within_ms = claim.wake_at_ms - platform.now_ms()
                if within_ms <= 0:  # a claim's bound was used up, and more may wait behind it
                    doorbell.to_the_back(platform, workspace_id)
                else:
                    doorbell.watch(platform, workspace_id, within_ms / 1000)
            log.debug("nothing to claim", workspace_id=workspace_id, reason=claim.reason)
            return count
        watch(platform, workspace_id, claim.session)
        hand_over(platform, adapter, workspace_id, claim)
    doorbell.to_the_back(platform, workspace_id)
    return settings.claims_per_visit


def first_look_s(settings: Settings) -> float:
    """Within so long a clock of a session claimed now may run out, its ceiling aside."""
    limits = (settings.idle_timeout_s, settings.stall_after_s)
    return min(settings.handover_s, settings.lease_ttl_s, *(limit for limit in limits if limit))


def watch(platform: Platform, workspace_id: str, session: Session) -> None:
    """The look that this session needs: the first one, or its own limit where that is shorter.

    Told although one was told before the claim: a reaper that looked in between took that one,
    saw no session, and may come again only when a heartbeat would be late.
    """
    own_ms = [ms for ms in (session.idle_ms, session.stall_ms) if ms]
    if session.checkpoint_at is not None:
        own_ms.append(session.checkpoint_at - session.claimed_at)
    within_s = min(own_ms, default=math.inf) / 1000
    doorbell.watch(platform, workspace_id, min(within_s, first_look_s(platform.settings)))


def hand_over(platform: Platform, adapter: Adapter, workspace_id: str, claim: Claim) -> None:
    """Bind one claimed turn and hand it to the agent; a failed delivery gives it back."""
    session, turn = claim.session, claim.turn
    try:
        if turn.schedule_id and claim.schedule is None:
            result = {"error": {"code": "schedule_removed", "message": "its schedule was removed"}}
            sessions.finish(platform, workspace_id, session.id, session.fence, "canceled", result)
            return
        budget = platform.settings.memories_bind_max_bytes
        readings = memories.at_claim(platform, workspace_id, budget)
        adapter.deliver(platform, workspace_id, claim, bind(claim, readings, budget))
    except DeliveryFailed as failure:
        _give_back(platform, workspace_id, claim, failure)
    except StaleFence:  # ended while it was being handed over: the platform's word stands
        log.warning("WRITE_FENCED", workspace_id=workspace_id, session_id=session.id)
    except (TurnkeeperError, RedisError):
        raise
    except Exception as fault:
        # What this turn asks breaks us, again each time: it costs its own attempts, nobody else's.
        log.exception("not bound", workspace_id=workspace_id, turn_id=turn.id)
        poison = DeliveryFailed(f"it cannot be handed over: {type(fault).__name__}", holds=False)
        _give_back(platform, workspace_id, claim, poison)


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
