"""A backfill: the fires of a range, each once, below all live work, resumable at every point."""

import json
import threading

import pytest

from app.core import backfills, ledger, schedules
from app.core.backfills import Backfill, Wish
from app.core.errors import InvalidInput, TurnkeeperError
from app.core.schedules import Schedule
from tests.support import invariants
from tests.support.kernel import Kernel, platform_on

FIVE_MS = 300_000


@pytest.fixture
def schedule(kernel: Kernel) -> Schedule:
    return kernel.scheduled()


def wish(kernel: Kernel, count: int, **more: object) -> Wish:
    """So many times of a five-minutes schedule, the last of them an hour ago."""
    end_ms = (kernel.now_ms() - 3_600_000) // FIVE_MS * FIVE_MS
    return Wish(end_ms - count * FIVE_MS, end_ms, **more)  # type: ignore[arg-type]


def make(kernel: Kernel, schedule: Schedule, asked: Wish) -> Backfill:
    return backfills.make(kernel.platform, kernel.id, schedule.id, asked)


def rows(kernel: Kernel, schedule: Schedule) -> list[ledger.Fire]:
    return ledger.fires(kernel.platform, kernel.id, schedule.id, 10_000)[::-1]


def test_a_backfill_makes_each_nominal_time_once_and_tells_how_far_it_is(
    kernel: Kernel, schedule: Schedule
) -> None:
    due, asked = kernel.due(schedule), wish(kernel, 120)
    made = make(kernel, schedule, asked)
    assert (made.requested_count, made.made_count, made.already_count) == (120, 120, 0)
    assert (made.waiting_count, made.running_count, made.share_done) == (120, 0, 0)
    found = rows(kernel, schedule)
    assert [row.nominal_at for row in found] == list(range(asked.start_ms, asked.end_ms, FIVE_MS))
    assert {(row.state, row.origin) for row in found} == {("queued", "backfill")}
    assert kernel.due(schedule) == due, "beside its times"
    before = kernel.dump()
    assert make(kernel, schedule, asked) == made
    assert kernel.dump() == before, "a repeat makes nothing"
    for outcome in ("completed", "failed"):
        kernel.finish(kernel.claimed().session, outcome)
    kernel.claimed()
    (stands,) = backfills.listing(kernel.platform, kernel.id, schedule.id)
    assert (stands.waiting_count, stands.running_count) == (117, 1)
    assert stands.ended == {"completed": 1, "failed": 1}
    assert stands.share_done == 2 / 120


def test_its_turns_wait_in_the_last_lane_for_ever_and_carry_their_own_policy(
    kernel: Kernel, schedule: Schedule
) -> None:
    make(kernel, schedule, wish(kernel, 1, overlap_policy="skip"))
    turn_id = rows(kernel, schedule)[0].turn_id or ""
    kept = json.loads(kernel.data.hget(kernel.keys["turns"], turn_id))
    assert (kept["lane"], kept["overlap_policy"]) == ("info", "skip")
    assert "expires_at" not in kept
    kernel.data.hset(  # a year later
        kernel.keys["turns"],
        turn_id,
        json.dumps(kept | {"accepted_at": kept["accepted_at"] - 31_536_000_000}),
    )
    kernel.submit(lane="info")
    kernel.fire(schedule, kernel.make_due(schedule, kernel.now_ms()))
    chat = kernel.submit().turn_id
    first = kernel.claimed()
    assert first.turn.id == chat
    kernel.finish(first.session)
    second = kernel.claimed()
    assert second.turn.lane == "cron"
    kernel.finish(second.session)
    assert kernel.claimed().turn.id == turn_id


def test_what_had_a_turn_is_counted_and_a_missed_time_is_made_up_for(
    kernel: Kernel, schedule: Schedule
) -> None:
    asked = wish(kernel, 3)
    kernel.fire(schedule, asked.start_ms, "manual")
    missing = kernel.scheduled(catchup_window_s=1)
    kernel.data.hset(
        kernel.keys["fires"],
        f"{schedule.id}:{asked.start_ms + FIVE_MS}",
        json.dumps(
            {
                "state": "missed",
                "at": 1,
                "ended_at": 1,
                "reason": "catchup_window",
                "setting": "s",
                "limit_ms": 1,
                "measured_ms": 2,
            }
        ),  # fmt: skip
    )
    kernel.data.zadd(kernel.keys["fire_index"], {f"{schedule.id}:{asked.start_ms + FIVE_MS}": 0})
    dry = make(kernel, schedule, Wish(asked.start_ms, asked.end_ms, is_dry_run=True))
    assert (dry.requested_count, dry.already_count, dry.made_count) == (3, 1, 0)
    assert backfills.listing(kernel.platform, kernel.id, schedule.id) == []
    made = make(kernel, schedule, asked)
    assert (made.made_count, made.already_count, made.waiting_count) == (2, 1, 2)
    assert [row.state for row in rows(kernel, schedule)] == ["queued"] * 3
    assert rows(kernel, schedule)[1].turn_id
    assert backfills.listing(kernel.platform, kernel.id, missing.id) == []


def test_a_full_queue_stops_it_half_way_and_a_repeat_goes_on(
    kernel: Kernel, schedule: Schedule
) -> None:
    asked, small = wish(kernel, 70), kernel.tuned(queue_depth_max=60)
    first = make(small, schedule, asked)
    assert (first.made_count, first.waiting_count) == (60, 60)
    assert first.stopped == {
        "mechanism": "queue_depth",
        "limit_count": 60,
        "setting": "TURNKEEPER_QUEUE_DEPTH_MAX",
    }
    hit = kernel.events("LIMIT_HIT")[-1]
    assert (hit["mechanism"], hit["payload"]["refused"]) == ("queue_depth", "backfill")
    assert {row.state for row in rows(kernel, schedule)} == {"queued"}, "nothing is skipped"
    kernel.finish(kernel.claimed().session)
    assert make(small, schedule, asked).made_count == 61
    whole = make(kernel, schedule, asked)
    assert (whole.made_count, whole.already_count, whole.stopped) == (70, 0, None)


def test_one_whose_rows_were_trimmed_is_not_made_again(kernel: Kernel, schedule: Schedule) -> None:
    small, asked = kernel.tuned(fires_kept=100, turns_kept=1), wish(kernel, 110)
    for _ in range(2):
        make(small, schedule, asked)
        while small.data.zcard(small.keys["open"]):
            small.finish(small.claimed().session)
    first = kernel.make_due(schedule, kernel.now_ms() - FIVE_MS * 8 - 1)
    small.fire_all(schedule, [first + FIVE_MS * count for count in range(8)])
    assert len(rows(kernel, schedule)) < 117
    again = make(small, schedule, asked)
    assert (again.made_count, again.waiting_count, again.share_done) == (110, 0, 1)


def test_two_requests_at_once_make_each_time_once(kernel: Kernel, schedule: Schedule) -> None:
    asked = wish(kernel, 60)
    threads = [threading.Thread(target=make, args=(kernel, schedule, asked)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (stands,) = backfills.listing(kernel.platform, kernel.id, schedule.id)
    assert (stands.made_count, stands.already_count, stands.waiting_count) == (60, 0, 60)
    assert kernel.data.zcard(kernel.keys["open"]) == 60


def test_one_that_died_half_way_is_completed_by_a_repeat(
    kernel: Kernel, schedule: Schedule
) -> None:
    asked = wish(kernel, 120)

    class Dies:
        """A data client whose process dies after so many scripts."""

        count = 0

        def __getattr__(self, name: str) -> object:
            return getattr(kernel.data, name)

        def execute_command(self, *words: object) -> object:
            self.count += 1
            if self.count > 2:
                raise KeyboardInterrupt
            return kernel.data.execute_command(*words)

    dying = platform_on(kernel.data)
    object.__setattr__(dying.clients, "data", Dies())
    with pytest.raises(KeyboardInterrupt):
        backfills.make(dying, kernel.id, schedule.id, asked)
    (half,) = backfills.listing(kernel.platform, kernel.id, schedule.id)
    assert 0 < half.made_count < 120
    assert make(kernel, schedule, asked).made_count == 120


@pytest.mark.parametrize("case", ["too many", "future", "empty"])
def test_a_range_that_cannot_be_made_is_refused_and_says_why(
    case: str, kernel: Kernel, schedule: Schedule
) -> None:
    asked = wish(kernel, 1001)
    if case == "future":
        asked = Wish(asked.start_ms, kernel.now_ms() + 60_000)
    elif case == "empty":
        asked = Wish(asked.end_ms, asked.end_ms)
    with pytest.raises(InvalidInput) as refusal:
        make(kernel, schedule, asked)
    if case == "too many":
        fields = refusal.value.fields
        assert (fields["limit_count"], fields["measured_count"]) == (1000, 1001)
        assert fields["setting"] == "TURNKEEPER_BACKFILL_MAX_COUNT"
    assert kernel.data.zcard(kernel.keys["open"]) == 0


def test_a_removed_schedule_takes_its_waiting_backfill_with_it(
    kernel: Kernel, schedule: Schedule
) -> None:
    make(kernel, schedule, wish(kernel, 3))
    schedules.remove(kernel.platform, kernel.id, schedule.id)
    (stands,) = backfills.listing(kernel.platform, kernel.id, schedule.id)
    assert stands.ended == {"canceled": 3}
    with pytest.raises(TurnkeeperError):
        make(kernel, schedule, wish(kernel, 3))
    invariants.check_empty(kernel)


def test_control_without_its_place_a_trimmed_backfill_is_made_twice(
    bare: Kernel,
) -> None:
    schedule, asked = bare.scheduled(), wish(bare, 110)
    small = bare.tuned(fires_kept=100, turns_kept=1)
    for count in (110, 219):  # the newest turn is still known
        make(small, schedule, asked)
        while small.data.zcard(small.keys["open"]):
            small.finish(small.claimed().session)
        (stands,) = backfills.listing(bare.platform, bare.id, schedule.id)
        bare.data.hdel(bare.keys["backfills"], f"{stands.id}:done")
        bare.data.delete(bare.keys["fires"], bare.keys["fire_index"])
        assert sum(stands.ended.values()) == count


@pytest.mark.parametrize("policy", ["cancel_other", "terminate_other"])
def test_a_backfill_ends_no_live_fire_but_those_of_its_own_lane(
    policy: str, kernel: Kernel, schedule: Schedule
) -> None:
    nominal = kernel.make_due(schedule, kernel.now_ms())
    assert kernel.fire(schedule, nominal)[0] == "made"
    live = kernel.claimed().session
    kernel.start(live)
    make(kernel, schedule, wish(kernel, 3, overlap_policy=policy))
    assert not any(schedules.waiting_by_policy(kernel.platform, schedule, live.lane).values())
    kernel.release(live, counts=True)
    kernel.refused()
    assert kernel.turn(live.turn_id).state == "queued", "lost, it is tried again all the same"
    invariants.check(kernel)
    kernel.data.zadd(kernel.keys["delayed"], {live.turn_id: 1})
    again = kernel.claimed()
    assert again.turn.id == live.turn_id
    kernel.finish(again.session)
    own = kernel.claimed().session
    assert own.lane == backfills.LANE
    make(kernel, schedule, wish(kernel, 4, overlap_policy=policy))
    assert schedules.waiting_by_policy(kernel.platform, schedule, own.lane)[policy] == 1
