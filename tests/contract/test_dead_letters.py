"""Dead letters in the scripts: replayed once, discarded, forgotten and told; poison wears out."""

import pytest

from app.core import dead_letters
from app.core.dead_letters import Filter
from app.core.errors import IllegalTransition
from app.core.turns import read_parts
from tests.contract.conftest import Pass
from tests.support import invariants
from tests.support.kernel import Kernel


def filed(kernel: Kernel, turn_id: str) -> list[str]:
    stored = invariants.read(kernel)
    return [name for name in ("open", "done", "dead") if turn_id in stored.sets[name]]


def test_replay_makes_a_new_turn_that_names_the_old_one(kernel: Kernel) -> None:
    old = kernel.dead_letter(context_id="chat-1", lane="task")
    assert filed(kernel, old) == ["dead"]
    made = kernel.replay(old)
    turn, letter = kernel.turn(made.turn_id), kernel.turn(old)
    assert made.outcome == "accepted"
    assert (turn.state, turn.replay_of, turn.lane) == ("queued", old, "task")
    assert (turn.context_id, turn.redeliver, turn.losses) == ("chat-1", "never", 0)
    body, _ = read_parts(kernel.platform, kernel.id, turn.id)
    assert body == {"text": "do it"}
    assert (letter.state, letter.replayed_as) == ("dead", turn.id)
    assert filed(kernel, old) == ["done"], "it is looked after"
    assert [row["event"] for row in kernel.events()][-2:] == ["MESSAGE_QUEUED", "TURN_REPLAYED"]
    assert kernel.events("MESSAGE_QUEUED")[-1]["payload"]["replay_of"] == old
    assert kernel.events("TURN_REPLAYED")[0]["payload"] == {"replayed_as": turn.id}


def check_once(kernel: Kernel) -> None:
    old = kernel.dead_letter()
    first = kernel.replay(old)
    before = kernel.dump()
    again = kernel.replay(old)
    assert (again.outcome, again.turn_id) == ("replayed", first.turn_id)
    assert kernel.dump() == before


def test_a_replay_asked_twice_is_one(kernel: Kernel) -> None:
    check_once(kernel)


def test_control_without_the_note_on_the_letter_it_is_two(bare: Kernel) -> None:
    with pytest.raises(AssertionError):
        check_once(bare.altered("replay", "if old.replayed_as and", "if nil and"))


def test_a_replay_is_made_again_where_that_is_asked_and_that_call_too_is_one(
    kernel: Kernel,
) -> None:
    old = kernel.dead_letter()
    first = kernel.replay(old)
    other = kernel.replay(old, again=True, new_id="trn_other")
    assert (other.outcome, other.turn_id) == ("accepted", "trn_other")
    before = kernel.dump()
    assert kernel.replay(old, again=True, new_id="trn_other").outcome == "replayed"
    assert kernel.dump() == before
    assert {kernel.turn(one).replay_of for one in (first.turn_id, "trn_other")} == {old}


def test_a_replay_of_a_turn_that_ended_well_leaves_it_where_it_is(kernel: Kernel) -> None:
    session = kernel.claimed_turn()
    kernel.finish(session)
    made = kernel.replay(session.turn_id)
    assert filed(kernel, session.turn_id) == ["done"]
    assert kernel.turn(made.turn_id).replay_of == session.turn_id


def test_a_replay_of_a_fire_is_a_fire_of_its_own_and_the_first_keeps_its_end(
    kernel: Kernel,
) -> None:
    schedule = kernel.scheduled(redeliver="never")
    nominal = kernel.make_due(schedule, kernel.now_ms())
    kernel.fire(schedule, nominal)
    old = kernel.claimed()
    assert kernel.release(old.session, counts=True) == "dead"
    turn = kernel.turn(kernel.replay(old.turn.id).turn_id)
    assert (turn.schedule_id, turn.fire_origin) == (schedule.id, "replay")
    assert turn.nominal_at != nominal
    assert kernel.ledger(schedule) == [(nominal, "dead"), (turn.nominal_at, "queued")]
    assert kernel.events("CRON_QUEUED")[-1]["payload"]["mode"] == "replay"
    found = kernel.claimed()
    assert found.turn.id == turn.id
    assert found.schedule is not None
    kernel.finish(found.session)
    assert kernel.ledger(schedule) == [(nominal, "dead"), (turn.nominal_at, "completed")]


def test_a_letter_that_dies_again_is_a_dead_letter_of_its_own(kernel: Kernel) -> None:
    old = kernel.dead_letter()
    new = kernel.replay(old).turn_id
    kernel.bury_alive(new)
    assert (filed(kernel, old), filed(kernel, new)) == (["done"], ["dead"])
    assert kernel.turn(kernel.replay(new).turn_id).replay_of == new


def test_discard_leaves_a_letter_kept_like_any_ended_turn_and_may_be_replayed(
    kernel: Kernel,
) -> None:
    old = kernel.dead_letter()
    assert kernel.discard(old)
    assert filed(kernel, old) == ["done"]
    assert kernel.turn(old).discarded_at
    told = kernel.events("TURN_DISCARDED")
    assert [(row["turn_id"], row["payload"]) for row in told] == [(old, {"reason": "as told"})]
    before = kernel.dump()
    assert not kernel.discard(old), "a repeat changes nothing"
    assert kernel.dump() == before
    assert kernel.replay(old).outcome == "accepted"


def test_a_run_leaves_alone_what_was_discarded_after_it_was_chosen(kernel: Kernel) -> None:
    old = kernel.dead_letter()
    kernel.discard(old)
    before = kernel.dump()
    answer = kernel.replay(old, run_id="run_1")
    assert (answer.outcome, answer.turn_id) == ("discarded", old)
    assert kernel.dump() == before


def test_a_replayed_letter_is_not_discarded(kernel: Kernel) -> None:
    old = kernel.dead_letter()
    new = kernel.replay(old).turn_id
    with pytest.raises(IllegalTransition) as refusal:
        kernel.discard(old)
    assert refusal.value.fields == {"state": "dead", "replayed_as": new}


def test_letters_are_found_by_reason_origin_and_age(kernel: Kernel, pass_ms: Pass) -> None:
    first = kernel.dead_letter(origin="agent")
    pass_ms(20)
    second = kernel.dead_letter()
    ended = kernel.turn(second).ended_at

    def found(**fields: object) -> list[str]:
        wanted = Filter(**{"workspace_id": kernel.id, **fields})  # type: ignore[arg-type]
        letters = dead_letters.first(kernel.platform, wanted, 10)
        assert len(letters) == dead_letters.count(kernel.platform, wanted)
        return [letter.turn.id for letter in letters]

    assert found() == found(workspace_id=None) == [first, second]
    assert found(origin="agent") == [first]
    assert found(reason="delivery_failed") == [first, second]
    assert found(reason="lost") == []
    assert found(since_ms=ended) == [second]
    assert found(until_ms=ended - 1) == [first]
    assert found(workspace_id="another") == []


def test_bury_forgets_letters_beyond_the_count_oldest_first_and_tells(kernel: Kernel) -> None:
    small = kernel.tuned(dead_kept=2)
    letters = [small.dead_letter() for _ in range(5)]
    assert dead_letters.bury(small.platform, [kernel.id]) == 3
    assert list(invariants.read(kernel).sets["dead"]) == letters[3:]
    hit = kernel.events("LIMIT_HIT")[-1]
    assert hit["mechanism"] == "dead_kept"
    assert hit["payload"] == {
        "limit_count": 2,
        "measured_count": 5,
        "setting": "TURNKEEPER_DEAD_KEPT",
        "forgotten_count": 3,
    }
    assert dead_letters.bury(small.platform, [kernel.id]) == 0
    assert len(kernel.events("LIMIT_HIT")) == 1


def test_bury_forgets_letters_past_their_time_and_tells(kernel: Kernel, pass_ms: Pass) -> None:
    old = kernel.dead_letter()
    pass_ms(60)
    new = kernel.dead_letter()
    short = kernel.tuned(dead_retention_s=0.05)
    assert dead_letters.bury(kernel.tuned(dead_retention_s=0).platform, [kernel.id]) == 0
    assert dead_letters.bury(short.platform, [kernel.id]) >= 1
    assert old not in invariants.read(kernel).turns
    hit = kernel.events("LIMIT_HIT")[0]
    assert (hit["mechanism"], hit["payload"]["limit_ms"]) == ("dead_retention", 50)
    assert hit["payload"]["measured_ms"] >= 60
    assert hit["payload"]["setting"] == "TURNKEEPER_DEAD_RETENTION_S"
    assert new in kernel.data.hkeys(kernel.keys["turns"]) or hit["payload"]["forgotten_count"] >= 1


def test_replay_run_put_compares_and_sets(kernel: Kernel) -> None:
    def put(version: int, record: str, is_open: bool = True) -> str:
        named = {"run_id": "rpl_1", "version": version, "record": record, "is_open": is_open}
        return str(kernel.platform.run_control("replay_run_put", **named)[0])

    def stored() -> tuple[str | None, list[str]]:
        return kernel.data.hget("tk:replays", "rpl_1"), kernel.data.zrange("tk:replays:open", 0, -1)

    assert put(1, "{}") == "gone"
    assert put(0, '{"version": 1}') == "ok"
    assert put(0, "{}") == "changed"
    assert put(2, "{}") == "changed"
    assert stored() == ('{"version": 1}', ["rpl_1"])
    assert put(1, '{"version": 2}', is_open=False) == "ok"
    assert stored() == ('{"version": 2}', [])
    assert put(2, "", is_open=False) == "ok"
    assert stored() == (None, [])


def worn_out(kernel: Kernel, pass_ms: Pass) -> int:
    """How often a turn is claimed that no worker lives to lay out; at most five times."""
    kernel.submit()
    for count in range(1, 6):
        found = kernel.claimed()
        assert kernel.reap(found.session, "handover")
        if kernel.turn(found.turn.id).state == "dead":
            return count
        pass_ms(400)
    return 0


def test_a_turn_that_takes_its_workers_down_wears_out(kernel: Kernel, pass_ms: Pass) -> None:
    assert worn_out(kernel.tuned(handovers_max=3), pass_ms) == 3
    dead = kernel.events("TURN_DEAD")[0]
    assert dead["mechanism"] == "delivery_failed"
    assert dead["payload"]["setting"] == "TURNKEEPER_HANDOVERS_MAX"
    assert (dead["payload"]["limit_count"], dead["payload"]["measured_count"]) == (3, 3)
    returned = [row["payload"]["pause_ms"] for row in kernel.events("TURN_RETURNED")]
    assert returned == [0, 150], "the first comes back at once, the next after a pause"


def test_control_uncounted_handovers_come_back_for_ever(kernel: Kernel, pass_ms: Pass) -> None:
    endless = kernel.tuned(handovers_max=3).altered(
        "reap", "A.mechanism == 'handover' then\n", "nil then\n"
    )
    assert worn_out(endless, pass_ms) == 0
