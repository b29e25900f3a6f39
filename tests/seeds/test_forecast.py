"""A workspace that is asked for more than it can do says so, once, and once that it is over."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.core import forecasting, keys, schedules, tokens, workspaces
from app.core.events import Event
from tests.seeds.clocks import EVERY_30_MIN, OPENS, WS, Shift, beside
from tests.support.world import virtual_platform
from tests.unit.api.web import ADMIN, web
from workers import forecasts
from workers.sweep import sweep

STEADY = {**EVERY_30_MIN, "name": "seo-tick", "ceiling_s": 0, "stall_after_s": 0, "preempt": "off"}


@pytest.fixture
def shift() -> Iterator[Shift]:
    with virtual_platform(OPENS) as platform:
        yield Shift.opened(platform)


def works(shift: Shift, schedule_id: str, minutes: float, runs: int) -> None:
    """Runs of so many minutes."""
    for _ in range(runs):
        schedules.run_now(shift.platform, WS, schedule_id)
        shift.serve()
        shift.run(minutes * 60)
        for session_id in list(shift.agent.running):
            shift.agent.finish(session_id)
        shift.serve()


def told(shift: Shift) -> list[Event]:
    names = ("LIMIT_HIT", "WORKSPACE_CHANGED")
    found = [event for name in names for event in shift.told(name)]
    return sorted((e for e in found if e.mechanism == "forecast"), key=lambda event: event.id)


def yearly(shift: Shift, **fields: Any) -> str:
    """A schedule that fires only when told to: its history is made first, then its cadence."""
    fields = {**STEADY, "cron_expr": "0 0 1 1 *", **fields}
    return schedules.create(shift.platform, WS, fields).id


def test_the_sweep_tells_once_that_runs_have_grown_too_long_and_once_that_they_fit(
    shift: Shift,
) -> None:
    tick = yearly(shift)
    works(shift, tick, 42, 3)
    schedules.change(shift.platform, WS, tick, {"cron_expr": "*/30 * * * *"})
    for _ in range(3):
        sweep(shift.platform)
    (over,) = told(shift)
    assert over.event == "LIMIT_HIT"
    assert (over.payload["limit_percent"], over.payload["measured_percent"]) == (100, 140)
    assert over.payload["setting"] == "schedule.overlap_policy"
    assert "needs 140 % of its slot" in over.payload["reason"]
    assert "ceiling_s 1800 or less" in over.payload["advice"]
    schedules.change(shift.platform, WS, tick, {"ceiling_s": 1800})
    sweep(shift.platform)
    assert len(told(shift)) == 1, "at the limit: it comes back only well below it"
    schedules.change(shift.platform, WS, tick, {"ceiling_s": 1500})
    for _ in range(3):
        sweep(shift.platform)
    assert [event.event for event in told(shift)] == ["LIMIT_HIT", "WORKSPACE_CHANGED"]
    assert told(shift)[1].payload["measured_percent"] == 84


def test_a_paused_schedule_needs_nothing_and_the_alarm_goes(shift: Shift) -> None:
    tick = yearly(shift)
    works(shift, tick, 42, 1)
    schedules.change(shift.platform, WS, tick, {"cron_expr": "*/30 * * * *"})
    sweep(shift.platform)
    schedules.change(shift.platform, WS, tick, {"enabled": False})
    sweep(shift.platform)  # no fire is due any more: found by its mark
    assert [event.event for event in told(shift)] == ["LIMIT_HIT", "WORKSPACE_CHANGED"]


def test_only_the_newest_twenty_runs_count_and_a_waiting_fire_is_none(shift: Shift) -> None:
    tick = yearly(shift)
    works(shift, tick, 60, 2)
    works(shift, tick, 10, 20)
    schedules.run_now(shift.platform, WS, tick)
    (need,) = forecasting.read(shift.platform, WS).schedules
    assert (need.samples, need.mean_duration_s, need.p90_duration_s) == (20, 600, 600)


@pytest.mark.parametrize("waiting", [50, 600])
def test_a_long_queue_does_not_hide_the_runs_before_it(waiting: int, shift: Shift) -> None:
    tick = yearly(shift)
    works(shift, tick, 42, 2)
    shift.begin()
    schedule, now = schedules.get(shift.platform, WS, tick), shift.platform.now_ms()
    for number in range(waiting):
        args = (schedule, [now + number, now + number], "manual", now)
        shift.platform.run("fire", WS, **schedules.fire_args(shift.platform, *args))
    (need,) = forecasting.read(shift.platform, WS).schedules
    assert (need.basis, need.samples, need.mean_duration_s) == ("history", 2, 2520)


def test_a_workspace_whose_runtime_is_stopping_is_judged_by_its_usual_slots(shift: Shift) -> None:
    works(shift, yearly(shift), 10, 1)
    workspaces.change(shift.platform, WS, {"max_concurrent": 2})
    shift.agent.slots = 0
    shift.agent.beat()
    assert forecasting.read(shift.platform, WS).slots == 2


def test_the_same_sentence_stands_in_the_api_and_on_the_page(shift: Shift) -> None:
    tick = yearly(shift)
    works(shift, tick, 42, 1)
    schedules.change(shift.platform, WS, tick, {"cron_expr": "*/30 * * * *"})
    sentence = forecasting.read(shift.platform, WS).sentence
    assert sentence.startswith("The workspace needs 140 % of its slot (seo-tick 140 %); ")
    with web(beside(shift.platform).clients, admin_token=ADMIN) as site:
        shown = site.ok("GET", f"/workspaces/{WS}/schedules")["schedules"][0]["forecast"]
        assert shown["sentence"] == sentence
        cookie = {"Cookie": f"{tokens.COOKIE}={site.token('read')}"}
        page = site.ask("GET", f"/w/{WS}/schedules", token=None, headers=cookie).text
        assert sentence in page and "seo-tick: ceiling_s 1800 or less" in page


def test_two_that_look_at_once_tell_once(shift: Shift) -> None:
    tick = yearly(shift)
    works(shift, tick, 42, 1)
    schedules.change(shift.platform, WS, tick, {"cron_expr": "*/30 * * * *"})
    seen = forecasting.read(shift.platform, WS)
    for _ in range(2):  # both have read before either has told
        forecasting.tell(shift.platform, WS, seen, is_over=True)
    assert len(told(shift)) == 1


def test_a_sweep_checks_a_bounded_part_and_all_of_them_in_turn(shift: Shift) -> None:
    ids = [f"w{number}" for number in range(7)]
    left_counts = []
    for one in ids:
        workspaces.create(shift.platform, one, {})
        shift.platform.clients.data.hset(keys.of(one)["workspace"], forecasting.OVER, 1)
    for _ in range(3):
        forecasts.check_some(shift.platform, ids, most=3)
        left = [
            one
            for one in ids
            if shift.platform.clients.data.hexists(keys.of(one)["workspace"], forecasting.OVER)
        ]
        left_counts.append(len(left))
        shift.platform.clock.wait(shift.platform.stopping, 10)
    assert left_counts == [4, 1, 0]
