"""claim.lua: one turn to one session, only where there is room; and what is bound at the claim."""

import json
import threading

import pytest
import redis

from app.core import schedules, workspaces
from app.core.records import Session
from app.core.sessions import Claim
from tests.contract.conftest import PAUSE_MS, Pass
from tests.support import invariants
from tests.support.kernel import Kernel


def test_claim_opens_a_session_with_a_fence_and_its_deadlines(kernel: Kernel) -> None:
    turn_id = kernel.submit("hello").turn_id
    claim = kernel.claimed("ses_mine")
    session, turn = claim.session, claim.turn
    assert (session.id, session.turn_id, session.state) == ("ses_mine", turn_id, "claimed")
    assert (turn.state, turn.session_id, turn.attempt) == ("claimed", "ses_mine", 1)
    assert (claim.body, claim.schedule, claim.note, claim.depth) == (
        {"text": "hello"},
        None,
        None,
        0,
    )
    assert session.fence == 1
    limits = kernel.platform.limits
    assert session.ceiling_at is not None
    assert session.ceiling_at - session.claimed_at == limits["ceiling_ms"]
    assert session.checkpoint_at == session.ceiling_at - limits["checkpoint_grace_ms"]
    assert session.cancel_at == session.ceiling_at - limits["cancel_grace_ms"]
    assert kernel.events()[-1]["event"] == "TURN_CLAIMED"


def check_depths(kernel: Kernel, pass_ms: Pass) -> None:
    """What a claim says that waits is what waits: new, come back, put off, or of a schedule."""

    def claimed() -> Session:
        found = kernel.claimed()
        assert found.depth == workspaces.get(kernel.platform, kernel.id).depth
        return found.session

    for lane in ("info", "chat", "urgent", "chat", "task"):
        kernel.submit(lane=lane)
    kernel.release(claimed())
    kernel.release(claimed(), counts=True)
    kernel.finish(claimed())
    pass_ms(PAUSE_MS + 20)
    kernel.finish(claimed())
    schedule = kernel.scheduled(overlap_policy="buffer_one")
    for step in (3, 2, 1):
        kernel.fire(schedule, kernel.make_due(schedule, kernel.platform.now_ms() - step * 300_000))
    for _ in range(4):
        kernel.finish(claimed())
    assert kernel.refused() == "empty"


def test_claim_says_how_many_wait_behind_its_turn(kernel: Kernel, pass_ms: Pass) -> None:
    check_depths(kernel, pass_ms)


def test_control_a_claim_that_counts_its_own_turn_is_found(bare: Kernel, pass_ms: Pass) -> None:
    with pytest.raises(AssertionError):
        check_depths(bare.altered("claim", "or before - 1", "or before"), pass_ms)


def test_control_a_claim_that_counts_fires_ended_into_its_own_is_found(
    bare: Kernel, pass_ms: Pass
) -> None:
    with pytest.raises(AssertionError):
        check_depths(bare.altered("claim", "schedule and waiting() or", ""), pass_ms)


def test_claim_writes_no_field_that_nobody_reads(kernel: Kernel) -> None:
    kernel.submit()
    stored = kernel.data.hget(kernel.keys["sessions"], kernel.claimed().session.id)
    assert set(json.loads(stored)) <= set(Session.__dataclass_fields__)


def test_claim_with_the_same_token_gets_the_same_answer_and_writes_nothing(kernel: Kernel) -> None:
    kernel.submit()
    kernel.submit()
    first, before = kernel.claimed("ses_mine"), kernel.dump()
    again = kernel.claimed("ses_mine")
    assert again == first
    assert kernel.dump() == before
    kernel.start(first.session)
    assert kernel.claimed("ses_mine").session.state == "running"


def test_claim_gives_nothing_without_a_live_capacity_key(
    kernel: Kernel, store: redis.Redis
) -> None:
    kernel.submit()
    store.delete(kernel.keys["capacity"])
    assert kernel.refused() == "heartbeat_expired"


def test_claim_gives_nothing_to_a_workspace_that_is_paused_full_or_empty(kernel: Kernel) -> None:
    assert kernel.refused() == "empty"
    kernel.submit()
    kernel.submit()
    workspaces.pause(kernel.platform, kernel.id, "by hand")
    assert kernel.refused() == "paused"
    workspaces.resume(kernel.platform, kernel.id)
    kernel.claimed()
    assert kernel.refused() == "capacity_full"


def test_claim_waits_while_the_workspace_backs_off(kernel: Kernel, pass_ms: Pass) -> None:
    kernel.submit()
    kernel.submit()
    kernel.release(kernel.claimed().session, counts=True, holds=True)
    found = kernel.claim()
    assert not isinstance(found, Claim)
    assert found.reason == "backing_off"
    assert 0 < found.wake_at_ms - kernel.now_ms() <= PAUSE_MS
    pass_ms(PAUSE_MS + 1)
    kernel.claimed()


def test_claim_of_a_returned_turn_in_its_pause_says_when_to_come_again(kernel: Kernel) -> None:
    kernel.submit()
    kernel.release(kernel.claimed().session, counts=True)
    found = kernel.claim()
    assert not isinstance(found, Claim)
    assert found.reason == "backing_off"
    assert 0 < found.wake_at_ms - kernel.now_ms() <= PAUSE_MS


def test_claim_passes_over_expired_turns_and_says_so(kernel: Kernel, pass_ms: Pass) -> None:
    gone = [kernel.submit(expires_in_s=0.01).turn_id for _ in range(3)]
    stays = kernel.submit(expires_in_s=60).turn_id
    pass_ms(11)
    assert kernel.claimed().turn.id == stays
    assert [kernel.turn(item).state for item in gone] == ["expired"] * 3
    expired = kernel.events("TURN_EXPIRED")
    assert [row["turn_id"] for row in expired] == gone
    assert {row["mechanism"] for row in expired} == {"ttl"}


def test_claim_comes_back_after_a_hundred_expired_turns(kernel: Kernel, pass_ms: Pass) -> None:
    for _ in range(101):
        kernel.submit(expires_in_s=0.001)
    stays = kernel.submit().turn_id
    pass_ms(5)
    first = kernel.claim()
    assert not isinstance(first, Claim)
    assert (first.reason, first.wake_at_ms > 0) == ("empty", True), "wake now: there is more"
    assert kernel.claimed().turn.id == stays


def test_claim_expires_a_returned_turn_too(kernel: Kernel, pass_ms: Pass) -> None:
    turn_id = kernel.submit(expires_in_s=0.02).turn_id
    kernel.release(kernel.claimed().session)
    pass_ms(21)
    assert kernel.refused() == "empty"
    assert kernel.turn(turn_id).state == "expired"
    invariants.check_empty(kernel)


def test_claim_reads_the_schedule_and_its_note_as_they_are_now(kernel: Kernel) -> None:
    schedule = kernel.scheduled(prompt="old", ceiling_s=90.5)
    kernel.fire(schedule, kernel.make_due(schedule, kernel.now_ms()))
    schedules.change(kernel.platform, kernel.id, schedule.id, {"prompt": "new"})
    claim = kernel.claimed()
    assert claim.schedule is not None
    assert (claim.schedule["prompt"], claim.session.prompt_version) == ("new", 2)
    assert claim.session.ceiling_ms == 90_500
    kernel.finish(claim.session, note={"summary": "half"})
    kernel.fire(schedule, kernel.make_due(schedule, kernel.now_ms() - 1000), "manual")
    assert kernel.claimed().note == {"summary": "half"}


@pytest.mark.parametrize(("own", "ceiling_ms"), [(7.0, 7000), (0, 0)])
def test_claim_takes_the_workspaces_ceiling_and_none_where_it_is_zero(
    own: float, ceiling_ms: int, kernel: Kernel
) -> None:
    workspaces.change(kernel.platform, kernel.id, {"ceiling_s": own})
    kernel.submit()
    session = kernel.claimed().session
    assert session.ceiling_ms == ceiling_ms
    assert (session.ceiling_at is None) == (ceiling_ms == 0)
    assert kernel.reap(session, "ceiling") == (ceiling_ms > 0)


def test_claim_by_many_at_once_opens_no_more_sessions_than_slots(kernel: Kernel) -> None:
    workspaces.change(kernel.platform, kernel.id, {"max_concurrent": 3})
    for _ in range(20):
        kernel.submit()
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(kernel.claim())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claims = [item for item in found if isinstance(item, Claim)]
    assert len(claims) == 3
    assert len({claim.turn.id for claim in claims}) == 3
    assert sorted(claim.session.fence for claim in claims) == [1, 2, 3]


def test_claim_writes_whole_numbers_only(kernel: Kernel) -> None:
    """14 digits are all that cjson writes of a number; a time in ms has 13."""
    kernel.submit(expires_in_s=3600)
    session = kernel.claimed().session
    stored = json.loads(kernel.data.hget(kernel.keys["sessions"], session.id))
    assert all(isinstance(value, int | str) for value in stored.values()), stored
