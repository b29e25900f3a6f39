"""fire, schedule_put, schedule_remove: each fire once, and a row for each in the ledger."""

import json
import threading
from dataclasses import replace

import pytest

from app.core import keys, schedules
from app.core.errors import ScheduleChanged
from app.core.schedules import Schedule
from tests.contract.refusals import put
from tests.support import invariants
from tests.support.kernel import Kernel


@pytest.fixture
def schedule(kernel: Kernel) -> Schedule:
    return kernel.scheduled()


def test_fire_makes_a_turn_a_row_and_an_event_and_moves_the_due_time(
    kernel: Kernel, schedule: Schedule
) -> None:
    nominal = kernel.make_due(schedule, kernel.now_ms() - 5)
    assert kernel.fire(schedule, nominal) == ["made", 1, 1]
    assert kernel.due(schedule) == nominal + 300_000
    assert kernel.ledger(schedule) == [(nominal, "queued")]
    claim = kernel.claimed()
    turn = claim.turn
    assert (turn.lane, turn.origin, turn.nominal_at) == ("cron", "cron", nominal)
    assert turn.fire_origin == "make"
    assert kernel.events("CRON_QUEUED")[0]["payload"]["nominal_at"] == nominal
    assert kernel.events("CRON_QUEUED")[0]["payload"]["late_ms"] >= 5


def test_fire_twice_makes_one(kernel: Kernel, schedule: Schedule) -> None:
    nominal = kernel.make_due(schedule, kernel.now_ms())
    kernel.fire(schedule, nominal)
    before = kernel.dump()
    assert kernel.fire(schedule, nominal) == ["moved", str(nominal + 300_000)]
    assert kernel.dump() == before


def test_fire_by_two_schedulers_at_once_is_made_once(kernel: Kernel, schedule: Schedule) -> None:
    nominal = kernel.make_due(schedule, kernel.now_ms())
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(kernel.fire(schedule, nominal)[0]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["made", *["moved"] * 5]
    assert kernel.data.zcard(kernel.keys["open"]) == 1


def test_fire_before_its_time_is_early(kernel: Kernel, schedule: Schedule) -> None:
    nominal = kernel.make_due(schedule, kernel.now_ms() + 60_000)
    assert kernel.fire(schedule, nominal) == ["early", str(nominal)]
    assert kernel.ledger(schedule) == []


def test_fire_later_than_the_catch_up_window_is_missed_and_says_by_how_much(
    kernel: Kernel,
) -> None:
    schedule = kernel.scheduled(catchup_window_s=10)
    nominal = kernel.make_due(schedule, kernel.now_ms() - 10_500)
    assert kernel.fire(schedule, nominal)[0] == "missed"
    assert kernel.ledger(schedule) == [(nominal, "missed")]
    missed = kernel.events("CRON_MISSED")[0]
    assert missed["mechanism"] == "catchup_window"
    assert missed["payload"]["limit_ms"] == 10_000 < missed["payload"]["measured_ms"]
    assert kernel.refused() == "empty"
    assert kernel.fire(schedule, nominal, "manual")[0] == "made", "a missed one can be made up for"
    assert kernel.ledger(schedule) == [(nominal, "queued")]


def test_fire_whose_row_is_there_is_not_made_again_when_the_due_time_was_put_back(
    kernel: Kernel, schedule: Schedule
) -> None:
    """A change of the schedule reads the due time before the fire and writes it after it."""
    nominal = kernel.make_due(schedule, kernel.now_ms())
    kernel.fire(schedule, nominal)
    turn_id = kernel.claimed().turn.id
    kernel.make_due(schedule, nominal)
    assert kernel.fire(schedule, nominal)[0] == "repeated"
    assert kernel.due(schedule) == nominal + 300_000
    assert kernel.turn(turn_id).state == "claimed"
    invariants.check(kernel)


def test_fire_by_hand_at_a_nominal_time_stands_for_the_fire_of_that_time(
    kernel: Kernel, schedule: Schedule
) -> None:
    nominal = kernel.make_due(schedule, kernel.now_ms())
    assert kernel.fire(schedule, nominal, "manual")[0] == "made"
    assert kernel.fire(schedule, nominal)[0] == "repeated"
    assert kernel.data.zcard(kernel.keys["open"]) == 1
    invariants.check(kernel)


def test_fire_by_hand_again_after_a_lost_reply_is_made_once(
    kernel: Kernel, schedule: Schedule
) -> None:
    now, due = kernel.now_ms(), kernel.due(schedule)
    first = kernel.fire(schedule, now, "manual")
    before = kernel.dump()
    assert kernel.fire(schedule, now, "manual") == first == ["made", 1, 1]
    assert kernel.dump() == before
    assert kernel.due(schedule) == due, "beside its times"


def test_fire_over_the_bound_is_skipped_in_the_ledger(kernel: Kernel, schedule: Schedule) -> None:
    bounded = kernel.tuned(queue_depth_max=1)
    bounded.submit()
    nominal = kernel.make_due(schedule, kernel.now_ms())
    assert bounded.fire(schedule, nominal)[:2] == ["skipped", 1]
    assert kernel.ledger(schedule) == [(nominal, "skipped")]
    assert kernel.due(schedule) == nominal + 300_000
    hit, skipped = kernel.events()[-2:]
    assert (hit["event"], hit["mechanism"]) == ("LIMIT_HIT", "queue_depth")
    assert (skipped["event"], skipped["mechanism"]) == ("CRON_SKIPPED", "queue_depth")


@pytest.mark.parametrize(
    "state",
    ["completed", "failed", "yielded", "force_idled", "canceled", "expired", "dead"],
)
def test_fire_has_the_state_of_its_turn_in_the_ledger_to_its_end(
    state: str, kernel: Kernel, schedule: Schedule
) -> None:
    nominal = kernel.make_due(schedule, kernel.now_ms())
    kernel.fire(replace(schedule, ttl_s=0 if state == "expired" else None), nominal)
    if state == "expired":
        assert kernel.refused() == "empty"
    else:
        session = kernel.claimed().session
        assert kernel.ledger(schedule) == [(nominal, "running")], "claimed"
        kernel.start(session)
        assert kernel.ledger(schedule) == [(nominal, "running")]
        if state == "force_idled":
            kernel.reap(session, "ceiling")
        elif state == "dead":
            kernel.tuned(max_attempts=1).release(session, counts=True)
        else:
            kernel.finish(session, state)
        assert kernel.data.hget(kernel.keys["run_counts"], schedule.id) == "1"
        assert kernel.events("CRON_EXECUTED")[0]["payload"]["state"] == state
    assert kernel.ledger(schedule) == [(nominal, state)]
    invariants.check_empty(kernel)


def test_fire_forgets_the_oldest_ended_rows_of_its_schedule_only(
    kernel: Kernel, schedule: Schedule
) -> None:
    small, other = kernel.tuned(fires_kept=100), kernel.scheduled(name="other")
    first = kernel.now_ms() - 110 * 300_000
    kernel.fire(other, kernel.make_due(other, first))
    kernel.finish(kernel.claimed().session)
    kernel.make_due(schedule, first)
    for count in range(105):
        assert small.fire(schedule, first + count * 300_000)[0] == "made"
        small.finish(small.claimed().session)
    rows = kernel.ledger(schedule)
    assert len(rows) == 100
    assert rows[0][0] == first + 5 * 300_000
    assert len(kernel.ledger(other)) == 1


def test_fire_never_forgets_a_row_that_has_not_ended(kernel: Kernel, schedule: Schedule) -> None:
    small = kernel.tuned(fires_kept=100)
    first = kernel.make_due(schedule, kernel.now_ms() - 110 * 300_000)
    for count in range(103):
        small.fire(schedule, first + count * 300_000)
    assert len(kernel.ledger(schedule)) == 103


def test_schedule_put_by_two_who_read_the_same_version_takes_one(
    kernel: Kernel, schedule: Schedule
) -> None:
    stored = schedules.get(kernel.platform, kernel.id, schedule.id)
    schedules.change(kernel.platform, kernel.id, schedule.id, {"prompt": "mine"})
    with pytest.raises(ScheduleChanged):
        put(kernel, stored)
    assert schedules.get(kernel.platform, kernel.id, schedule.id).prompt == "mine"
    (changed,) = kernel.events("POLICY_CHANGED")
    assert changed["payload"] == {"schedule_id": schedule.id, "prompt_version": 2}


def test_schedule_put_of_a_removed_schedule_does_not_bring_it_back(
    kernel: Kernel, schedule: Schedule
) -> None:
    schedules.remove(kernel.platform, kernel.id, schedule.id)
    with pytest.raises(ScheduleChanged):
        put(kernel, schedule)


def test_schedule_put_without_a_next_time_stops_the_fires(
    kernel: Kernel, schedule: Schedule
) -> None:
    assert kernel.due(schedule) is not None
    paused = schedules.change(kernel.platform, kernel.id, schedule.id, {"enabled": False})
    assert kernel.due(schedule) is None
    assert kernel.fire(paused, kernel.now_ms()) == ["moved", ""]
    schedules.change(kernel.platform, kernel.id, schedule.id, {"enabled": True})
    assert kernel.due(schedule) is not None


def test_schedule_remove_ends_the_fires_and_is_idempotent(
    kernel: Kernel, schedule: Schedule
) -> None:
    nominal = kernel.make_due(schedule, kernel.now_ms())
    kernel.fire(schedule, nominal)
    schedules.remove(kernel.platform, kernel.id, schedule.id)
    assert kernel.due(schedule) is None
    assert kernel.run("schedule_remove", schedule_id=schedule.id) == ["absent"]
    assert kernel.ledger(schedule) == [(nominal, "canceled")]
    invariants.check_empty(kernel)


@pytest.mark.parametrize("how", ["mended", "removed"])
def test_a_due_schedule_whose_zone_is_gone_can_be_mended_and_removed(
    how: str, kernel: Kernel, schedule: Schedule
) -> None:
    record = json.loads(kernel.data.hget(kernel.keys["schedules"], schedule.id))
    kernel.data.hset(
        kernel.keys["schedules"], schedule.id, json.dumps(record | {"timezone": "Gone/Zone"})
    )
    nominal = kernel.make_due(schedule, kernel.now_ms() - 5)
    if how == "mended":
        schedules.change(kernel.platform, kernel.id, schedule.id, {"timezone": "UTC"})
        assert kernel.due(schedule) == schedules.cron_next("*/5 * * * *", "UTC", kernel.now_ms())
    else:
        schedules.remove(kernel.platform, kernel.id, schedule.id)
        assert kernel.due(schedule) is None
    assert kernel.ledger(schedule) == [(nominal, "queued" if how == "mended" else "canceled")]


def test_a_removed_schedule_rings_for_the_slot_of_a_fire_claimed_meanwhile(
    kernel: Kernel, schedule: Schedule
) -> None:
    nominal = kernel.make_due(schedule, kernel.now_ms() - 5)
    kernel.fire(schedule, nominal)
    row = kernel.data.hget(kernel.keys["fires"], f"{schedule.id}:{nominal}")
    kernel.claimed()
    kernel.submit()
    kernel.data.hset(kernel.keys["fires"], f"{schedule.id}:{nominal}", row)  # as it was read
    control = kernel.platform.clients.control
    control.delete(keys.READY)
    schedules.remove(kernel.platform, kernel.id, schedule.id)
    assert control.zscore(keys.READY, kernel.id) is not None
