"""app.core.forecast: the arithmetic against counting by hand, and advice that helps when taken."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.core import cron, forecast
from app.core.errors import InvalidInput
from app.core.forecast import Load

MONDAY = 1_800_144_000_000 - 1_800_144_000_000 % 86_400_000  # a day's start, UTC
HALF_HOURLY = 48.0


def load(**fields: Any) -> Load:
    usual = {
        "schedule_id": "sch_1",
        "name": "seo-tick",
        "fires_per_day": HALF_HOURLY,
        "durations_s": (2520.0,),
        "ceiling_s": 0,
    }
    return Load(**{**usual, **fields})


# Fires a day.


@pytest.mark.parametrize(
    ("expr", "a_day"),
    [
        ("*/30 * * * *", 48),
        ("@hourly", 24),
        ("0 9 * * MON-FRI", 5 / 7),
        ("*/5 9-16 * * 1-5", 12 * 8 * 5 / 7),
        ("0 0 1 * *", 1 / 28),
        ("0 0 29 2 *", 0),
        ("0 0 * * 0,3", 2 / 7),
    ],
)
def test_fires_a_day_are_the_mean_of_whole_weeks(expr: str, a_day: float) -> None:
    assert forecast.fires_per_day(expr, "UTC", MONDAY) == pytest.approx(a_day, abs=0.01)


def test_a_schedule_that_pauses_for_months_is_counted_over_a_year() -> None:
    month = cron.fires(cron.parse("0 0 1 * *", "UTC"), MONDAY, 7)[-1]  # half a year away
    number = (month // 86_400_000 // 30) % 12 + 1
    found = forecast.fires_per_day(f"0 12 * {number} *", "UTC", MONDAY)
    assert 28 / 364 <= found <= 1


fields = (
    st.sampled_from(["0", "*/20", "0,30"]),
    st.sampled_from(["0", "1,2,3", "*/5"]),
    st.sampled_from(["*", "1", "*/9", "L", "28-30"]),
    st.sampled_from(["*", "*/3", "3-10"]),
    st.sampled_from(["*", "0", "MON-FRI", "5L", "2#2", "*/2"]),
)


@hypothesis_settings(max_examples=30)
@given(st.builds(lambda *parts: " ".join(parts), *fields), st.integers(1, 20_000))
def test_fires_a_day_are_those_of_counting_every_fire(expr: str, day: int) -> None:
    at_ms = day * 86_400_000
    span = 28
    counted = cron.fires_between(cron.parse(expr, "UTC"), at_ms, at_ms + span * 86_400_000, 10**6)
    if not counted:
        span = 364
        end_ms = at_ms + span * 86_400_000
        counted = cron.fires_between(cron.parse(expr, "UTC"), at_ms, end_ms, 10**6)
    found = forecast.fires_per_day(expr, "Europe/Berlin", at_ms + 12_345)
    assert found == pytest.approx(len(counted) / span)


# Shares.


def test_the_share_is_fires_times_mean_duration_of_the_slot() -> None:
    found = forecast.forecast([load(durations_s=(1800.0, 3240.0))], 1)
    assert (found.share_percent, found.measured_percent, found.is_over) == (140.0, 140, True)
    assert found.sentence == (
        "The workspace needs 140 % of its slot (seo-tick 140 %); its fires wait longer and longer."
    )
    (need,) = found.schedules
    assert (need.basis, need.samples, need.mean_duration_s) == ("history", 2, 2520)
    assert (need.p90_duration_s, need.worst_share_percent) == (3240, None)


def test_two_slots_halve_the_share_but_not_what_one_schedule_needs_for_itself() -> None:
    found = forecast.forecast([load()], 2)
    assert (found.share_percent, found.measured_percent) == (70, 140)
    assert "needs 70 % of its 2 slots" in found.sentence
    assert "seo-tick alone needs 140 % of the one slot that its fires share" in found.sentence
    together = forecast.forecast([load(overlap_policy="allow_all")], 2)
    assert (together.measured_percent, together.is_over) == (70, False)


@pytest.mark.parametrize("policy", sorted(forecast.BOUNDED))
def test_a_policy_that_keeps_no_queue_needs_one_slot_at_most(policy: str) -> None:
    found = forecast.forecast([load(overlap_policy=policy)], 1)
    assert (found.share_percent, found.is_over) == (100, False)
    assert found.schedules[0].share_percent == 140, "what it would take is still shown"


def test_a_lower_ceiling_shows_at_once() -> None:
    found = forecast.forecast([load(ceiling_s=900)], 1)
    assert (found.share_percent, found.worst_share_percent) == (50, 50)
    assert found.schedules[0].mean_duration_s == 900


def test_what_never_ran_is_counted_by_its_ceiling_and_is_no_alarm() -> None:
    found = forecast.forecast([load(durations_s=(), ceiling_s=3600)], 1)
    assert (found.basis, found.share_percent, found.measured_percent) == ("ceiling", 200, 0)
    assert not found.is_over
    assert found.sentence == (
        "The workspace needs at most 200 % of its slot (seo-tick 200 %); "
        "seo-tick never ran and is counted by the ceiling."
    )
    assert any("ceiling_s 1800 or less" in item.text for item in found.advice)


def test_without_history_and_ceiling_nothing_is_known() -> None:
    found = forecast.forecast([load(durations_s=())], 1)
    assert (found.basis, found.share_percent, found.worst_share_percent) == ("unknown", None, None)
    assert found.sentence == (
        "What the workspace needs of its slot is not known: seo-tick never ran and has no ceiling."
    )
    mixed = forecast.forecast([load(), load(name="new", durations_s=())], 1)
    assert (mixed.basis, mixed.share_percent, mixed.is_over) == ("unknown", 140, True)
    assert "new never ran and has no ceiling, so is not counted" in mixed.sentence


def test_no_schedule_needs_nothing() -> None:
    found = forecast.forecast([], 1)
    assert (found.share_percent, found.is_over) == (None, False)
    assert found.sentence == "No schedule is enabled: nothing needs its slot."


def test_a_sentence_names_the_largest_three() -> None:
    loads = [
        load(name=name, durations_s=(float(s),)) for name, s in zip("abcde", range(5), strict=True)
    ]
    assert "(e 0 %, d 0 %, c 0 % and 2 more)" in forecast.forecast(loads, 1).sentence


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 20])
def test_p90_is_the_nearest_rank(count: int) -> None:
    values = [float(n) for n in range(1, count + 1)]
    found = forecast.p90(values[::-1])
    assert sum(value <= found for value in values) >= 0.9 * count
    assert sum(value < found for value in values) < 0.9 * count


# Advice.


def test_advice_names_a_policy_a_ceiling_and_a_cadence() -> None:
    found = forecast.forecast([load()], 1)
    assert [(item.setting, item.text) for item in found.advice] == [
        (
            "schedule.overlap_policy",
            "seo-tick: overlap_policy buffer_one: late fires become one instead of a growing queue",
        ),
        ("schedule.ceiling_s", "seo-tick: ceiling_s 1800 or less"),
        ("schedule.cron_expr", "seo-tick: a fire every 1 h or less often"),
    ]


def test_advice_asks_the_largest_and_leaves_the_small_alone() -> None:
    small = load(schedule_id="sch_2", name="mail", fires_per_day=24.0, durations_s=(720.0,))
    (one, *_) = found = forecast.forecast([load(), small], 1).advice
    assert {item.schedule_id for item in found} == {"sch_1"}
    assert found[1].text == "seo-tick: ceiling_s 1440 or less", "80 % are left of 100 - 20"
    assert one.setting == "schedule.overlap_policy"
    huge = load(schedule_id="sch_3", name="demo", fires_per_day=1440.0, durations_s=(1800.0,))
    third = [load(durations_s=(1800.0,)), small, huge]
    texts = [item.text for item in forecast.forecast(third, 1).advice]
    assert "demo: ceiling_s 24 or less" in texts and "seo-tick: ceiling_s 720 or less" in texts
    assert not any(text.startswith("mail") for text in texts)


def test_within_what_there_is_nothing_is_advised() -> None:
    assert forecast.forecast([load(durations_s=(60.0,))], 1).advice == ()


loads = st.lists(
    st.builds(
        load,
        schedule_id=st.uuids().map(str),
        fires_per_day=st.sampled_from([1 / 28, 1.0, 24.0, 48.0, 288.0, 1440.0]),
        durations_s=st.lists(st.floats(1, 40_000), max_size=5).map(tuple),
        ceiling_s=st.sampled_from([0, 60, 1800, 7200]),
        overlap_policy=st.sampled_from(["buffer_all", "buffer_one", "allow_all"]),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one.schedule_id,
)


@given(loads, st.integers(1, 4))
def test_whoever_takes_the_advice_for_a_ceiling_or_a_cadence_is_within(
    given_loads: list[Load], slots: int
) -> None:
    found = forecast.forecast(given_loads, slots)
    for setting in ("schedule.ceiling_s", "schedule.cron_expr"):
        taken = {item.schedule_id: item.text for item in found.advice if item.setting == setting}
        concerned = {item.schedule_id for item in found.advice}
        if set(taken) != concerned or not taken:
            continue  # no ceiling of a second or more would do
        after = [_taken(one, taken.get(one.schedule_id)) for one in given_loads]
        assert forecast.forecast(after, slots).measured_percent <= 100


def _taken(one: Load, text: str | None) -> Load:
    if text is None:
        return one
    words = text.split(": ", 1)[1].split()
    if words[0] == "ceiling_s":
        return replace(one, ceiling_s=float(words[1]))
    number, unit = (1.0, "day") if words[3] == "day" else (float(words[3]), words[4])
    minutes = {"min": 1, "h": 60, "day": 1440, "days": 1440}[unit] * number
    return replace(one, fires_per_day=1440 / minutes)


@given(loads, st.integers(1, 4))
def test_over_is_only_what_was_measured_and_always_has_advice(
    given_loads: list[Load], slots: int
) -> None:
    found = forecast.forecast(given_loads, slots)
    measured = [one for one in given_loads if one.durations_s]
    shares = [one.fires_per_day * one.mean_s / 864 for one in measured]
    if found.is_over:
        assert found.advice
        assert sum(shares) > 99.9
    elif all(one.overlap_policy != "buffer_one" for one in measured):
        assert sum(shares) / slots <= 100.001
    assert math.isfinite(found.measured_percent)


def test_an_impossible_date_never_comes_so_far() -> None:
    with pytest.raises(InvalidInput):
        forecast.fires_per_day("0 0 30 2 *", "UTC", MONDAY)
