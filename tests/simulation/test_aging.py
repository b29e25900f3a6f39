"""Chat cannot starve cron: how long a fire waits at most, however much chat comes.

Let W be the longest ``max_wait_ms`` of a turn and of those before it in its lane, counted from when
each was accepted. Once W has passed, no turn that was accepted later is claimed before it: of the
overdue heads of lanes a claim takes the one accepted first. So what can still go before it are the
turns accepted no later that wait at that moment, n of them, and the session that runs then. With
sessions of at most S it starts within W + (n + 1) S.
"""

from dataclasses import dataclass, field

import fakeredis
import pytest
import time_machine
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.core.records import Turn
from tests.support.kernel import Kernel, platform_on

START = 1_800_000_000.0
STEP_S = 10
LANES = ("chat", "chat", "cron", "info")
STEPS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(LANES), st.integers(0, 8)), max_size=2),
        st.integers(1, 4),
    ),
    min_size=10,
    max_size=25,
)


@dataclass
class Seen:
    """What was claimed, in order, with what waited at that moment and when the claim was."""

    session_max_ms: int = 0
    claims: list[tuple[int, Turn, list[Turn]]] = field(default_factory=list)


def worked(steps: list[tuple[list[tuple[str, int]], int]], broken: bool) -> Seen:
    """One slot that is never idle, and always a chat message more than it can serve."""
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2, decode_responses=True)
    seen, waiting = Seen(), {}
    with client, time_machine.travel(START, tick=False) as traveller:
        kernel = Kernel(platform_on(client, heartbeat_ttl_s=86_400)).create()
        kernel.beat(seq=1, instance="i", sessions=[])
        claims = kernel.altered("claim", "return overdue or first", "return first")
        claiming = claims if broken else kernel
        for arrivals, length in steps:
            for lane, patience in [("chat", 8), *arrivals]:
                hurried = kernel.tuned(lane_max_wait_s=1 + patience * STEP_S)
                turn_id = hurried.submit(lane=lane).turn_id
                waiting[turn_id] = kernel.turn(turn_id)
            now = kernel.now_ms()
            claim = claiming.claimed()
            seen.claims.append((now, claim.turn, list(waiting.values())))
            del waiting[claim.turn.id]
            traveller.shift(length * STEP_S)
            seen.session_max_ms = max(seen.session_max_ms, length * STEP_S * 1000)
            kernel.finish(claim.session)
    return seen


def patience_ends(turn: Turn, waiting: list[Turn]) -> int:
    """When the turn and all before it in its lane are overdue."""
    ahead = [one for one in waiting if one.lane == turn.lane and one.seq <= turn.seq]
    return max(one.accepted_at + one.max_wait_ms for one in ahead)


def check(seen: Seen) -> None:
    ends: dict[str, int] = {}
    ahead: dict[str, int] = {}
    for now, taken, waiting in seen.claims:
        for turn in waiting:
            ends.setdefault(turn.id, patience_ends(turn, waiting))
            if now <= ends[turn.id]:
                continue
            earlier = [o for o in waiting if o is not turn and o.accepted_at <= turn.accepted_at]
            count = ahead.setdefault(turn.id, len(earlier))
            assert taken.accepted_at <= turn.accepted_at, f"{taken} went before {turn}"
            assert now <= ends[turn.id] + (count + 1) * seen.session_max_ms, turn


@given(steps=STEPS)
@settings(
    max_examples=20,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a shrink walks for minutes
    suppress_health_check=[HealthCheck.too_slow],
)
def test_a_turn_whose_patience_is_over_is_overtaken_by_none_that_came_later(
    steps: list[tuple[list[tuple[str, int]], int]],
) -> None:
    check(worked(steps, broken=False))


def test_control_without_aging_chat_starves_a_fire() -> None:
    steps = [([("cron", 1)], 1), *[([], 1)] * 20]
    check(worked(steps, broken=False))
    with pytest.raises(AssertionError, match="went before"):
        check(worked(steps, broken=True))
