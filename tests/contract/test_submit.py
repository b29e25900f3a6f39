"""submit.lua and cancel.lua: what is accepted, what is a repeat, what the bound refuses."""

import pytest

from app.core import doorbell
from app.core.errors import QueueFull, StaleFence
from app.core.records import Session
from tests.contract.conftest import Pass
from tests.support import invariants
from tests.support.kernel import Kernel


def fetched(kernel: Kernel) -> Session:
    """A session that a runtime's poll has been handed, not started."""
    kernel.bind(kernel.claimed().session)
    return kernel.taken().session


def test_submit_tells_depth_oldest_wait_and_the_age_of_the_running_session(
    kernel: Kernel, pass_ms: Pass
) -> None:
    kernel.submit()
    kernel.claimed()
    pass_ms(20)
    assert kernel.submit().depth == 1
    pass_ms(20)
    answer = kernel.submit()
    assert (answer.outcome, answer.depth) == ("accepted", 2)
    assert answer.session_age_s >= 0.04 > 0.02 <= answer.oldest_wait_s
    assert [row["payload"]["depth"] for row in kernel.events("MESSAGE_QUEUED")] == [1, 1, 2]


def test_submit_of_the_same_turn_id_is_answered_as_the_first_was(kernel: Kernel) -> None:
    first = kernel.submit(turn_id="trn_mine")
    before = kernel.dump()
    again = kernel.submit(turn_id="trn_mine")
    assert (again.outcome, again.turn_id, again.depth) == ("replayed", first.turn_id, 1)
    assert kernel.dump() == before


def test_submit_of_the_same_key_and_body_is_replayed_for_ever_another_principal_is_not(
    kernel: Kernel,
) -> None:
    first = kernel.submit(idempotency_key="k", principal="p")
    kernel.finish(kernel.claimed().session)
    again = kernel.submit(idempotency_key="k", principal="p")
    assert (again.outcome, again.turn_id) == ("replayed", first.turn_id)
    assert kernel.submit(idempotency_key="k", principal="q").outcome == "accepted"


def test_submit_of_a_repeat_coalesces_only_while_the_first_is_open(kernel: Kernel) -> None:
    first = kernel.submit(repeat_key="m1")
    again = kernel.submit(repeat_key="m1")
    assert (again.outcome, again.turn_id, again.depth) == ("coalesced", first.turn_id, 1)
    session = kernel.claimed().session
    assert kernel.submit(repeat_key="m1").turn_id == first.turn_id
    kernel.finish(session)
    later = kernel.submit(repeat_key="m1")
    assert later.outcome == "accepted"
    assert later.turn_id != first.turn_id


def test_submit_over_the_bound_writes_nothing_but_the_limit_it_hit(kernel: Kernel) -> None:
    bounded = kernel.tuned(queue_depth_max=2)
    bounded.submit()
    bounded.submit()
    before = invariants.read(kernel)
    with pytest.raises(QueueFull) as refusal:
        bounded.submit(idempotency_key="k")
    assert refusal.value.fields == {
        "mechanism": "queue_depth",
        "limit_count": 2,
        "measured_count": 2,
        "setting": "TURNKEEPER_QUEUE_DEPTH_MAX",
    }
    assert invariants.read(kernel) == before
    hit = kernel.events()[-1]
    assert (hit["event"], hit["mechanism"]) == ("LIMIT_HIT", "queue_depth")
    assert hit["payload"] == {
        "limit_count": 2,
        "measured_count": 2,
        "setting": "TURNKEEPER_QUEUE_DEPTH_MAX",
        "refused": "chat",
    }
    kernel.claimed()
    assert bounded.submit(idempotency_key="k").outcome == "accepted", "the refused key is free"


def test_submit_counts_returned_and_delayed_turns_against_the_bound(kernel: Kernel) -> None:
    bounded = kernel.tuned(queue_depth_max=2)
    for _ in range(2):
        bounded.submit()
    bounded.release(bounded.claimed().session, counts=True)
    with pytest.raises(QueueFull):
        bounded.submit()


def test_cancel_takes_a_waiting_turn_out_of_each_place_it_can_wait_in(kernel: Kernel) -> None:
    delayed, returned, fresh = (kernel.submit().turn_id for _ in range(3))
    assert kernel.release(kernel.claimed().session, counts=True) == "queued"
    assert kernel.release(kernel.claimed().session) == "queued"
    assert set(kernel.data.zrange(kernel.keys["delayed"], 0, -1)) == {delayed}
    assert set(kernel.data.zrange(kernel.keys["returned"], 0, -1)) == {returned}
    for turn_id in (fresh, returned, delayed):
        assert kernel.cancel(turn_id) == "canceled"
        invariants.check(kernel)
        assert kernel.cancel(turn_id) == "canceled", "idempotent"
    assert len(kernel.events("TASK_UPDATED")) == 3
    invariants.check_empty(kernel)
    assert kernel.refused() == "empty"


def test_cancel_of_a_first_never_claimed_turn_leaves_the_second_first(kernel: Kernel) -> None:
    first, second = (kernel.submit().turn_id for _ in range(2))
    kernel.cancel(first)
    assert kernel.claimed().turn.id == second


def test_cancel_of_a_running_turn_asks_its_session_and_of_an_ended_one_tells_its_state(
    kernel: Kernel,
) -> None:
    turn_id = kernel.submit().turn_id
    session = fetched(kernel)
    assert kernel.cancel(turn_id) == "canceling"
    assert kernel.cancel(turn_id) == "canceling", "asked once, kept"
    assert len(kernel.events("SESSION_CANCEL_REQUESTED")) == 1
    assert [order["type"] for order in kernel.start(session)] == ["cancel"]
    assert kernel.finish(session) == "completed", "the agent may still be quicker"
    assert kernel.cancel(turn_id) == "completed"


@pytest.mark.parametrize("is_bound", [False, True])
def test_cancel_of_a_claimed_turn_that_nobody_has_fetched_ends_it_at_once(
    is_bound: bool, kernel: Kernel
) -> None:
    first, second = (kernel.submit().turn_id for _ in range(2))
    session = kernel.claimed().session
    if is_bound:
        kernel.bind(session)
    assert doorbell.next_ready(kernel.platform, 0.01) == kernel.id
    assert kernel.cancel(first) == "canceled"
    assert kernel.cancel(first) == "canceled", "idempotent"
    assert kernel.take().handover is None, "canceled, and handed out all the same"
    ended = kernel.events("SESSION_ENDED")
    assert [(row["session_id"], row["mechanism"]) for row in ended] == [(session.id, "cancel")]
    assert not kernel.events("SESSION_CANCEL_REQUESTED")
    invariants.check(kernel)
    assert doorbell.next_ready(kernel.platform, 0.01) == kernel.id, "its slot is free"
    assert kernel.claimed().turn.id == second
    with pytest.raises(StaleFence):
        kernel.bind(session)


def test_cancel_of_a_claimed_fire_is_in_its_ledger_and_no_run(kernel: Kernel) -> None:
    schedule = kernel.scheduled()
    nominal = kernel.make_due(schedule, kernel.now_ms())
    kernel.fire(schedule, nominal)
    assert kernel.cancel(kernel.claimed().turn.id) == "canceled"
    assert kernel.ledger(schedule) == [(nominal, "canceled")]
    assert len(kernel.events("CRON_EXECUTED")) == 1
    assert kernel.data.hget(kernel.keys["run_counts"], schedule.id) is None
    invariants.check_empty(kernel)


@pytest.mark.parametrize("way", ["release", "counted", "lost", "lease", "idle_timeout"])
def test_cancel_of_a_running_turn_holds_when_its_session_is_given_back_or_lost(
    way: str, kernel: Kernel
) -> None:
    turn_id = kernel.submit().turn_id
    session = fetched(kernel)
    if way in ("lost", "idle_timeout"):
        kernel.start(session)
    kernel.ask(session, "cancel", "ceiling")
    kernel.cancel(turn_id)
    if way == "lost":
        kernel.beat(seq=2, instance="i", sessions=[])
        kernel.beat(seq=3, instance="i", sessions=[])
    if way in ("release", "counted"):
        assert kernel.release(session, counts=way == "counted") == "canceled"
    else:
        assert kernel.reap(session, way)
    assert kernel.turn(turn_id).state == "canceled"
    assert kernel.refused() == "empty"
    invariants.check_empty(kernel)


def test_cancel_asked_by_the_ladder_does_not_keep_a_turn_from_returning(kernel: Kernel) -> None:
    kernel.submit()
    session = kernel.claimed().session
    kernel.ask(session, "cancel", "ceiling")
    assert kernel.release(session) == "queued"


def test_finish_with_a_question_ends_a_turn_that_its_caller_canceled(kernel: Kernel) -> None:
    turn_id = kernel.submit().turn_id
    session = kernel.claimed().session
    kernel.start(session)
    assert kernel.cancel(turn_id) == "canceling"
    assert kernel.finish(session, "input_required") == "canceled"
    assert kernel.turn(turn_id).state == "canceled"
