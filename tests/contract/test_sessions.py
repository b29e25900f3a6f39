"""bind, take, deliver, start, progress, finish, release, ask: a session from claim to end."""

import json

import pytest

from app.core import keys, workspaces
from app.core.errors import StaleFence
from app.core.records import Session
from app.core.sessions import Polled
from tests.contract.conftest import PAUSE_MS, Pass
from tests.contract.refusals import deliver, live, name_remote
from tests.support import invariants
from tests.support.kernel import Kernel

NOTHING = Polled(None, [], 0)


def inbox(kernel: Kernel) -> list[str]:
    return list(kernel.data.zrange(kernel.keys["inbox"], 0, -1))


def bound(kernel: Kernel) -> Session:
    session = live(kernel)
    kernel.bind(session)
    return session


def test_bind_lays_a_session_out_with_what_it_is_given(kernel: Kernel) -> None:
    session = live(kernel)
    kernel.bind(session, inbox=False)
    assert inbox(kernel) == []
    kernel.bind(session)
    found = kernel.taken()
    assert (found.session.id, found.bound["prompt"], found.body["text"]) == (
        session.id,
        "do it",
        "do it",
    )


def test_bind_again_after_a_lost_reply_hands_nothing_out_twice(kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.taken()
    kernel.bind(session)
    assert kernel.take().handover is None, "handed out a moment ago"
    kernel.start(session)
    kernel.bind(session)
    assert inbox(kernel) == [], "begun: nothing to hand out"


def test_take_says_when_to_come_again_and_hands_out_again_after_a_lost_reply(
    kernel: Kernel, pass_ms: Pass
) -> None:
    assert kernel.take() == NOTHING
    session = bound(kernel)
    first = kernel.taken("one")
    assert (first.session.state, first.turn.state) == ("delivered", "delivered")
    assert len(kernel.events("TURN_DELIVERED")) == 1
    nothing = kernel.take("two")
    assert nothing.handover is None
    assert 0 < nothing.wake_at_ms - kernel.now_ms() <= PAUSE_MS
    pass_ms(PAUSE_MS + 1)
    assert kernel.taken("two").session.id == session.id
    assert len(kernel.events("TURN_DELIVERED")) == 1
    kernel.start(session)
    pass_ms(PAUSE_MS + 1)
    assert kernel.take() == NOTHING


def test_take_carries_each_directive_once_and_the_heartbeat_repeats_it(kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.taken()
    kernel.start(session)
    assert kernel.take(room=0) == NOTHING
    kernel.ask(session, "checkpoint", "operator")
    (told,) = kernel.take(room=0).directives
    assert (told["type"], told["session_id"], told["fence"]) == (
        "checkpoint",
        session.id,
        session.fence,
    )
    assert kernel.take(room=0) == NOTHING
    beat = kernel.beat(seq=5, instance="i", sessions=[session.id])
    assert [order["type"] for order in beat.directives] == ["checkpoint"]
    kernel.ask(session, "cancel", "operator")
    assert [order["type"] for order in kernel.take().directives] == ["cancel"]


def test_take_tells_a_runtime_at_once_that_the_platform_ended_its_session(kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.taken()
    kernel.start(session)
    assert kernel.reap(session, "operator")
    (told,) = kernel.take(room=0).directives
    assert (told["type"], told["session_id"]) == ("terminate", session.id)
    assert kernel.take(room=0) == NOTHING


def test_take_without_room_leaves_a_bound_turn_where_it_is(kernel: Kernel) -> None:
    session = bound(kernel)
    assert kernel.take(room=0) == NOTHING
    assert kernel.taken().session.id == session.id


def test_take_finds_a_new_session_behind_any_number_that_were_handed_out(
    kernel: Kernel, pass_ms: Pass
) -> None:
    kernel.beat(seq=2, instance="i", sessions=[], max_concurrent=40)
    workspaces.change(kernel.platform, kernel.id, {"max_concurrent": 40})
    order = [bound(kernel).id for _ in range(30)]
    assert [kernel.taken().session.id for _ in range(30)] == order
    late = bound(kernel)
    pass_ms(PAUSE_MS + 1)
    assert kernel.taken().session.id == late.id, "before those that are handed out again"
    assert kernel.taken().session.id == order[0]


def test_deliver_notes_the_handover_once(kernel: Kernel) -> None:
    session = live(kernel)
    assert name_remote(kernel, session, "r") == ["ok"]
    assert kernel.session(session.id).remote == "r"
    again = name_remote(kernel, session, "s")
    assert again == ["replayed"]
    assert kernel.session(session.id).remote == "r"
    kernel.start(session)
    deliver(kernel, session)
    assert kernel.turn(session.turn_id).state == "running"


def test_start_begins_once_and_a_repeat_of_the_same_runtime_changes_nothing(kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.start(session)
    assert kernel.turn(session.turn_id).state == kernel.session(session.id).state == "running"
    before = kernel.dump()
    kernel.start(session)
    assert kernel.dump() == before
    assert len(kernel.events("SESSION_STARTED")) == 1


def test_start_after_the_first_progress_takes_the_session_for_its_runtime(kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.progress(session)
    kernel.start(session, "i")
    assert kernel.session(session.id).instance == "i"
    kernel.start(session, "i")


def test_progress_begins_a_session_and_moves_the_stall_clock_keepalive_does_not(
    kernel: Kernel, pass_ms: Pass
) -> None:
    session = bound(kernel)
    kernel.progress(session, text="first")
    first = kernel.session(session.id)
    assert first.state == "running"
    pass_ms(3)
    kernel.progress(session, "keepalive", tool="bash")
    second = kernel.session(session.id)
    assert second.seen_at > first.seen_at
    assert second.progress_at == first.progress_at
    pass_ms(3)
    kernel.progress(session, "tool", tools=[], depth={"a": []})
    assert kernel.session(session.id).progress_at > first.progress_at
    assert kernel.session(session.id).ceiling_at == first.ceiling_at, "nothing moves the ceiling"
    assert [row["event"] for row in kernel.events()][-3:] == [
        "TURN_PROGRESS",
        "TURN_KEEPALIVE",
        "TURN_PROGRESS",
    ]
    assert kernel.events()[-1]["payload"] == {"kind": "tool", "tools": [], "depth": {"a": []}}


def test_finish_stores_the_result_frees_the_slot_and_tells(kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.start(session)
    assert kernel.finish(session, text="the answer") == "completed"
    stored = kernel.data.hget(kernel.keys["results"], session.turn_id)
    assert json.loads(stored) == {"text": "the answer"}
    names = [row["event"] for row in kernel.events()]
    assert names[-2:] == ["AGENT_MESSAGE", "SESSION_ENDED"]
    ended = kernel.session(session.id)
    assert (ended.state, ended.mechanism, ended.turn_state) == ("ended", "finish", "completed")
    invariants.check_empty(kernel)


def test_finish_again_is_answered_as_the_first_was_and_changes_nothing(kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.finish(session, text="one")
    before = kernel.dump()
    assert kernel.finish(session, "failed", text="two") == "completed"
    assert kernel.dump() == before


@pytest.mark.parametrize("outcome", ["completed", "failed", "yielded", "canceled"])
def test_finish_ends_the_turn_as_the_agent_says(outcome: str, kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.start(session)
    assert kernel.finish(session, outcome) == outcome
    invariants.check_empty(kernel)


def test_finish_as_canceled_before_the_start_is_no_run(kernel: Kernel) -> None:
    """The worker ends a fire so whose schedule was removed meanwhile."""
    schedule = kernel.scheduled()
    kernel.fire(schedule, kernel.make_due(schedule, kernel.now_ms()))
    assert kernel.finish(kernel.claimed().session, "canceled", "") == "canceled"
    assert not kernel.events("SESSION_STARTED")
    assert kernel.data.hget(kernel.keys["run_counts"], schedule.id) is None
    invariants.check_empty(kernel)


def test_finish_that_asks_for_input_frees_the_slot_and_keeps_the_turn_open(kernel: Kernel) -> None:
    session = bound(kernel)
    assert kernel.finish(session, "input_required", "which file?") == "input_required"
    assert kernel.data.zcard(kernel.keys["live"]) == 0
    assert kernel.data.zcard(kernel.keys["open"]) == 1
    assert kernel.cancel(session.turn_id) == "canceled"
    invariants.check_empty(kernel)


def test_finish_leaves_a_note_to_the_next_of_its_context_and_takes_it_away(kernel: Kernel) -> None:
    kernel.submit(context_id="c")
    kernel.finish(kernel.claimed().session, note={"summary": "half"})
    assert kernel.events("SESSION_CHECKPOINTED")[0]["payload"] == {"note": {"summary": "half"}}
    kernel.submit(context_id="d")
    other = kernel.claimed()
    assert other.note is None
    kernel.finish(other.session)
    kernel.submit(context_id="c")
    claim = kernel.claimed()
    assert claim.note == {"summary": "half"}
    kernel.finish(claim.session)
    kernel.submit(context_id="c")
    assert kernel.claimed().note is None, "done without a note: nothing is left over"


def test_finish_keeps_the_note_of_before_for_the_turn_after_a_force_idled_one(
    kernel: Kernel,
) -> None:
    kernel.submit(context_id="c")
    kernel.finish(kernel.claimed().session, note={"summary": "half"})
    kernel.submit(context_id="c")
    kernel.reap(kernel.claimed().session, "operator")
    kernel.submit(context_id="c")
    assert kernel.claimed().note == {"summary": "half"}


def test_finish_forgets_the_oldest_turns_and_sessions_by_count(kernel: Kernel) -> None:
    small = kernel.tuned(turns_kept=3)
    for _ in range(12):
        small.submit()
        small.finish(small.claimed().session)
        invariants.check(small)
    assert small.data.hlen(small.keys["turns"]) == small.data.hlen(small.keys["bodies"]) == 3
    assert small.data.hlen(small.keys["results"]) == 3
    assert small.data.hlen(small.keys["sessions"]) == 6


def test_finish_forgets_turns_by_age(kernel: Kernel, pass_ms: Pass) -> None:
    brief = kernel.tuned(turn_retention_s=0.01)
    old = brief.submit().turn_id
    brief.finish(brief.claimed().session)
    pass_ms(12)
    brief.submit()
    brief.finish(brief.claimed().session)
    assert not kernel.data.hexists(kernel.keys["turns"], old)
    assert kernel.data.hlen(kernel.keys["turns"]) == 1


def test_release_hands_a_turn_back_without_an_attempt_or_a_pause(kernel: Kernel) -> None:
    turn_id = kernel.submit().turn_id
    for attempt in range(1, 8):
        claim = kernel.claimed()
        assert claim.turn.attempt == attempt
        kernel.start(claim.session)
        assert kernel.release(claim.session) == "queued"
    assert (kernel.turn(turn_id).losses, kernel.turn(turn_id).state) == (0, "queued")


def test_release_that_does_not_count_kills_no_turn_whose_attempts_were_lowered(
    kernel: Kernel, pass_ms: Pass
) -> None:
    kernel.submit()
    kernel.release(kernel.claimed().session, counts=True)
    pass_ms(PAUSE_MS + 1)
    assert kernel.tuned(max_attempts=1).release(kernel.claimed().session) == "queued"


def test_release_after_a_lost_reply_is_answered_and_writes_nothing(kernel: Kernel) -> None:
    session = live(kernel)
    kernel.release(session, counts=True)
    before = kernel.dump()
    kernel.platform.clients.control.delete(keys.DEADLINES)
    assert kernel.release(session, counts=True) == "queued"
    assert kernel.dump() == before
    assert kernel.platform.clients.control.zscore(keys.DEADLINES, kernel.id), "the pause is watched"
    reaped = live(kernel.tuned())
    kernel.reap(reaped, "lease")
    with pytest.raises(StaleFence):
        kernel.release(reaped, counts=True)


def test_release_that_counts_pauses_longer_each_time_until_the_turn_is_dead(
    kernel: Kernel, pass_ms: Pass
) -> None:
    turn_id = kernel.submit().turn_id
    pauses = []
    for loss in range(1, 6):
        session = kernel.claimed().session
        state = kernel.release(session, counts=True)
        turn = kernel.turn(turn_id)
        assert turn.losses == loss
        if state == "dead":
            break
        assert turn.not_before is not None
        pauses.append(turn.not_before - turn.state_at)
        invariants.check(kernel)
        pass_ms(pauses[-1] + 1)
    assert (pauses, loss) == ([150, 300, 375, 375], 5)
    dead = kernel.events("TURN_DEAD")[0]
    assert dead["payload"]["measured_count"] == dead["payload"]["limit_count"] == 5
    assert kernel.data.zrange(kernel.keys["dead"], 0, -1) == [turn_id]
    invariants.check_empty(kernel)


def test_release_of_a_turn_never_to_be_delivered_twice_makes_it_a_dead_letter(
    kernel: Kernel,
) -> None:
    turn_id = kernel.submit(redeliver="never").turn_id
    assert kernel.release(kernel.claimed().session) == "queued", "an orderly hand-back is no loss"
    assert kernel.release(kernel.claimed().session, counts=True) == "dead"
    assert kernel.turn(turn_id).mechanism == "delivery_failed"


def test_release_never_shortens_a_hold_that_stands(kernel: Kernel, pass_ms: Pass) -> None:
    workspaces.change(kernel.platform, kernel.id, {"max_concurrent": 2})
    kernel.submit()
    kernel.release(kernel.claimed().session, counts=True)
    pass_ms(PAUSE_MS + 1)
    kernel.submit()
    second_loss, first_loss = kernel.claimed().session, kernel.claimed().session
    kernel.release(second_loss, counts=True, holds=True)
    stands = kernel.field("hold_until")
    kernel.release(first_loss, counts=True, holds=True)
    assert kernel.field("hold_until") == stands


def test_release_frees_the_slot_for_another_runtime_at_once(kernel: Kernel) -> None:
    first, second = kernel.submit().turn_id, kernel.submit().turn_id
    kernel.release(kernel.claimed().session, counts=True)
    assert kernel.claimed().turn.id == second
    assert kernel.turn(first).state == "queued"


@pytest.mark.parametrize("kind", ["checkpoint", "cancel"])
def test_ask_is_asked_once_and_its_deadline_stands(
    kind: str, kernel: Kernel, pass_ms: Pass
) -> None:
    session = bound(kernel)
    kernel.start(session)
    before_ms = kernel.now_ms()
    by = kernel.ask(session, kind, "operator", 5)
    assert before_ms + 5000 <= by <= kernel.now_ms() + 5000
    pass_ms(2)
    assert kernel.ask(session, kind, "operator", 1) == by
    asked = [row for row in kernel.events() if row.get("mechanism") == "operator"]
    assert len(asked) == 1
    assert (kernel.turn(session.turn_id).state == "checkpointing") == (kind == "checkpoint")
    assert kernel.finish(session, "yielded") == "yielded"


def test_ask_before_the_start_is_told_at_the_start(kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.ask(session, "checkpoint", "preempt")
    assert kernel.turn(session.turn_id).state == "claimed"
    assert [order["type"] for order in kernel.start(session)] == ["checkpoint"]
    kernel.ask(session, "cancel", "cancel")
    found = kernel.progress(session)
    assert [order["type"] for order in found] == ["checkpoint", "cancel"]


def test_ask_reaches_no_other_session(kernel: Kernel) -> None:
    first = bound(kernel)
    kernel.finish(first)
    second = bound(kernel)
    with pytest.raises(StaleFence):
        kernel.ask(first, "cancel", "cancel")
    assert kernel.start(second) == []
