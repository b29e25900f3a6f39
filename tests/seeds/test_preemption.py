"""A late fire has the session in its way wrap up; its note goes to the next session of its kind."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.core import schedules, sessions, workspaces
from app.core.platform import Platform
from tests.seeds.clocks import EVERY_30_MIN, NOTE, OPENS, WS, Shift, at_ms
from tests.support.world import endings, ledger, virtual_platform

CADENCE_MS = 1_800_000


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(OPENS) as here:
        yield here


def tick(platform: Platform, **fields: Any) -> schedules.Schedule:
    return schedules.create(platform, WS, {**EVERY_30_MIN, **fields})


def requests(shift: Shift) -> list[tuple[str | None, int, str]]:
    """Mechanism, limit and setting of every checkpoint asked for."""
    return [
        (e.mechanism, e.payload["limit_ms"], e.payload["setting"])
        for e in shift.told("SESSION_CHECKPOINT_REQUESTED")
    ]


@pytest.mark.parametrize("after_s", [None, 5, 600])
def test_a_session_that_obeys_yields_its_note_to_the_next_fire_of_the_schedule(
    platform: Platform, after_s: int | None
) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 0}, obeys=frozenset({"checkpoint"}))
    schedule = tick(platform, preempt_after_s=after_s)
    shift.run(1800)  # 12:30: the first fire runs
    (first,) = shift.live()
    waits_ms = CADENCE_MS if after_s is None else after_s * 1000
    shift.run(1800 + waits_ms / 1000 + 2)

    setting = "schedule.cron_expr" if after_s is None else "schedule.preempt_after_s"
    assert requests(shift) == [("preempt", waits_ms, setting)]
    asked = shift.one("SESSION_CHECKPOINT_REQUESTED", first)
    second_turn = next(e for e in shift.told("CRON_QUEUED")[1:])
    assert 0 <= at_ms(asked) - at_ms(second_turn) - waits_ms <= 1000, "exact to the tick"
    assert asked.payload["measured_ms"] >= waits_ms
    assert asked.payload["deadline_at"] == at_ms(asked) + 60_000

    left = shift.one("SESSION_CHECKPOINTED", first)
    assert left.payload["note"] == NOTE
    assert shift.one("SESSION_ENDED", first).payload["state"] == "yielded"
    handed_at, handed = shift.agent.handed[-1]
    assert handed_at == at_ms(left), "the next fire starts at once"
    assert handed.turn.schedule_id == schedule.id
    assert handed.bound["checkpoint"] == NOTE


@pytest.mark.parametrize("after_s", [4, 600])
def test_a_fire_that_had_room_and_lost_the_slot_to_another_preempts_it_in_time(
    platform: Platform, after_s: int
) -> None:
    """Two of the same minute: each is made while the slot is free, and one of them gets it."""
    shift = Shift.opened(platform, {"ceiling_s": 0})
    for name in ("one", "two"):
        tick(platform, name=name, preempt_after_s=after_s, cron_expr="7 * * * *")
    shift.run(420 + after_s + 2)
    (holder,) = shift.live()
    asked = shift.one("SESSION_CHECKPOINT_REQUESTED", holder)
    made_at = max(at_ms(event) for event in shift.told("CRON_QUEUED"))
    assert 0 <= at_ms(asked) - made_at - after_s * 1000 <= 1000


def test_a_fire_due_while_the_session_has_not_begun_preempts_it_once_it_has(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 0})
    shift.agent.polls = False
    for name in ("one", "two"):
        tick(platform, name=name, preempt_after_s=5)
    shift.run(1800 + 15)
    assert not shift.told("SESSION_CHECKPOINT_REQUESTED")
    shift.agent.polls = True
    shift.run(3)
    begun = at_ms(shift.one("SESSION_STARTED"))
    assert at_ms(shift.one("SESSION_CHECKPOINT_REQUESTED")) - begun <= 1600


def test_a_session_that_ignores_it_lives_to_its_ceiling_and_is_asked_once(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 7200})
    tick(platform)
    shift.run(1800)
    (deaf,) = shift.live()
    ceiling_at = shift.session(deaf).ceiling_at or 0
    shift.run_to(ceiling_at - 1000)
    assert shift.live() == [deaf]
    assert [row[0] for row in requests(shift)] == ["preempt"], "the ceiling's rung asks no more"
    shift.run(2)
    ended = shift.one("SESSION_ENDED", deaf)
    assert (ended.mechanism, ended.payload["state"]) == ("ceiling", "force_idled")
    assert 0 <= at_ms(ended) - ceiling_at <= 1000
    rows = ledger(platform, WS).values()
    assert [row["state"] for row in rows] == [
        "force_idled",
        "running",
        "queued",
        "queued",
        "queued",
    ]
    assert shift.agent.handed[-1][1].bound["checkpoint"] is None


@pytest.mark.parametrize(
    ("origin", "preempt", "after_s", "asked"),
    [
        ("chat", "cron", None, False),
        ("agent", "cron", None, False),
        ("cron", "cron", None, True),
        ("chat", "any", None, True),
        ("agent", "any", None, True),
        ("cron", "off", None, False),
        ("chat", "off", None, False),
        ("cron", "cron", 0, False),
        ("chat", "any", 0, False),
    ],
)
def test_only_a_cron_session_is_preempted_unless_the_schedule_says_otherwise(
    platform: Platform, origin: str, preempt: str, after_s: int | None, asked: bool
) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 0})
    held = shift.begin(origin, **({"cron_expr": "0 0 1 1 *"} if origin == "cron" else {}))
    tick(platform, name="late", preempt=preempt, preempt_after_s=after_s)
    shift.run(2 * 3600 + 5)
    assert shift.live() == [held]
    assert len(shift.told("SESSION_CHECKPOINT_REQUESTED", held)) == asked


def test_control_a_fire_that_waits_less_than_its_limit_preempts_nothing(platform: Platform) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 0})
    shift.begin("chat")
    tick(platform, preempt="any", preempt_after_s=600)
    shift.run(1800 + 599)
    assert requests(shift) == []
    shift.run(2)
    assert len(requests(shift)) == 1


@pytest.mark.parametrize("why", ["paused", "offline"])
def test_nothing_is_preempted_for_a_fire_that_could_not_be_claimed_anyway(
    platform: Platform, why: str
) -> None:
    """Running work is left alone while the workspace is paused or away."""
    shift = Shift.opened(platform, {"ceiling_s": 0, "idle_timeout_s": 0})
    held = shift.begin("chat")
    tick(platform, preempt="any", preempt_after_s=600)
    shift.run(1800)
    if why == "paused":
        workspaces.pause(platform, WS, "maintenance")
    else:
        shift.agent.beats = False
    shift.run(3600)
    assert requests(shift) == []
    if why == "paused":
        workspaces.resume(platform, WS)
    else:
        shift.agent.beats = True
    shift.run(31)
    assert [row[0] for row in requests(shift)] == ["preempt"]
    assert shift.live() == [held]


def test_a_fire_behind_one_that_preempts_nothing_is_heard_all_the_same(platform: Platform) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 0})
    shift.begin("cron", cron_expr="0 0 1 1 *")
    tick(platform, name="patient", preempt="off")
    shift.run(1)
    tick(platform, name="pressing", preempt_after_s=300)
    shift.run(1800 + 300 + 2)
    assert requests(shift) == [("preempt", 300_000, "schedule.preempt_after_s")]
    assert "pressing" in shift.one("SESSION_CHECKPOINT_REQUESTED").payload["reason"]


def test_a_fire_that_came_back_to_its_lane_preempts_too(platform: Platform) -> None:
    """Its first session was lost; another schedule's took the slot during its pause."""
    shift = Shift.opened(platform, {"ceiling_s": 0})
    lost = shift.begin("cron", name="first", cron_expr="0 0 1 1 *", preempt_after_s=120)
    session = shift.session(lost)
    shift.agent.running.clear()
    schedules.run_now(platform, WS, tick(platform, name="second", cron_expr="0 0 2 1 *").id)
    sessions.release(platform, WS, lost, session.fence, "lost", "gone", counts=True)
    shift.serve()
    (second,) = shift.live()
    assert shift.state_of(session.turn_id) == "queued"
    shift.run(130)
    assert requests(shift) == [("preempt", 120_000, "schedule.preempt_after_s")]
    assert shift.live() == [second]


def test_one_waiting_fire_has_one_session_wrap_up_and_another_only_if_that_is_deaf(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 0, "max_concurrent": 2}, slots=2)
    two = [
        shift.begin("cron", name=f"held-{n}", cron_expr=f"0 0 {n} 1 *", preempt="off")
        for n in (1, 2)
    ]
    tick(platform, name="late", preempt_after_s=600)
    shift.run(1800 + 600 + 30)
    assert len(requests(shift)) == 1
    shift.run(40)  # the deadline of the first has passed, and it still runs
    assert {e.session_id for e in shift.told("SESSION_CHECKPOINT_REQUESTED")} == set(two)


def test_the_note_goes_to_the_same_schedule_only_and_a_finished_turn_clears_it(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform)
    one = shift.begin("cron", name="one", cron_expr="0 0 1 1 *")
    one_id = str(shift.session(one).schedule_id)
    shift.agent.finish(one, "yielded", NOTE)
    other = shift.begin("cron", name="other", cron_expr="0 0 2 1 *")
    assert sessions.bound(platform, WS, other)["checkpoint"] is None  # type: ignore[index]
    shift.agent.finish(other)
    shift.run(1)
    for wanted in (NOTE, None):
        schedules.run_now(platform, WS, one_id)
        shift.run(1)
        (again,) = shift.live()
        assert sessions.bound(platform, WS, again)["checkpoint"] == wanted  # type: ignore[index]
        shift.agent.finish(again)
        shift.run(1)
    assert set(endings(platform, WS).values()) == {1}
