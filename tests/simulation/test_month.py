"""A thousand schedules over thirty days with outages: every fire is accounted for."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import structlog

from app.core import invariants, keys, snapshots
from tests.simulation.calendar import MINUTE_MS, Calendar, at_once, ms
from tests.support.dated import dated

START = ms(datetime(2026, 10, 10, 0, 0, 30, tzinfo=UTC))  # both ends of a day of daylight saving
DAY_MIN = 1440
USUAL = ("0 6 * * *", "15 3 * * 0", "0 9 * * 1", "30 18 * * 3-4", "0 */12 * * 6")
ZONED = (("*/30 2 * * *", "Europe/Berlin"), ("* 2 25 * *", "Europe/Berlin"))
OFTEN = ("0 */4 * * *", "30 */3 * * *")


@pytest.fixture(autouse=True)
def few_logs() -> Iterator[None]:
    """What a month logs would take longer than the month."""
    wrapper = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=wrapper)
    yield
    structlog.reset_defaults()


def planned(here: Calendar, schedule_count: int, often: tuple[str, ...] = OFTEN) -> None:
    """Twenty-five schedules in a workspace; some often, some in zones, some with limits."""
    for number in range(schedule_count):
        fields: dict[str, Any] = {"cron_expr": USUAL[number % len(USUAL)]}
        if number % 40 == 0:
            fields["cron_expr"] = often[number // 40 % len(often)]
        if number % 100 == 7:
            fields["cron_expr"], fields["timezone"] = ZONED[number // 100 % 2]
        if number % 4 == 1:
            fields["window_s"] = 900
        if number % 5 == 2:
            fields["catchup_window_s"] = (3600, 43_200)[number % 2]
        if number % 7 == 3:
            fields["ttl_s"] = 7200
        here.add(f"w{number // 25}", **fields)


class Outages:
    """Who is away in which minute: from a quarter of an hour to two and a half days."""

    def __init__(self, here: Calendar, days: int) -> None:
        self.away: dict[str, set[int]] = {"scheduler": set(), "agents": set()}
        for minutes in self.away.values():
            for length in (15, 15, 240, 240, DAY_MIN, 5 * DAY_MIN // 2):
                start = here.random.randrange(days * DAY_MIN)
                minutes |= set(range(start, start + length))

    def is_away(self, who: str, minute: int) -> bool:
        return minute in self.away[who]


def lived(here: Calendar, days: int, step_min: int, is_repaired: bool = True) -> None:
    """So many days, in steps; a killed scheduler now and then, a sweep and a beat each day."""
    outages = Outages(here, days)
    for minute in range(0, days * DAY_MIN, step_min):
        here.dated.pass_ms(step_min * MINUTE_MS)
        if not outages.is_away("scheduler", minute):
            if here.random.random() < 0.05:
                here.fire(dies_at=here.random.randint(1, 12))
            here.catch_up()
        if minute % DAY_MIN == 0:
            if is_repaired:
                here.repair()
            here.beat()
        if not outages.is_away("agents", minute):
            at_once(here)
    here.catch_up()
    here.settle(lambda: (here.beat(), at_once(here)))


def test_a_thousand_schedules_over_thirty_days_leave_no_fire_unaccounted(
    real_redis: redis.Redis,
) -> None:
    with dated(real_redis, START) as time:
        here = Calendar(time, seed=1)
        planned(here, 1000)
        lived(here, days=30, step_min=30)
        ends = here.account()
        print(ends, "kills", here.kills)
        assert ends["completed"] > 10_000
        assert min(ends["failed"], ends["missed"], ends["expired"], here.kills) > 10
        for name in here.workspaces:
            assert invariants.check(snapshots.read(here.platform, name)) == []


@pytest.mark.nightly
def test_a_thousand_schedules_of_the_hour_over_thirty_days(real_redis: redis.Redis) -> None:
    with dated(real_redis, START) as time:
        here = Calendar(time, seed=2)
        planned(here, 1000, often=("*/20 * * * *", "5 * * * *"))
        lived(here, days=30, step_min=5)
        print(here.account())


@pytest.mark.parametrize("is_repaired", [True, False])
def test_control_a_lost_hint_without_the_sweep_is_found_by_the_account(
    real_redis: redis.Redis, is_repaired: bool
) -> None:
    with dated(real_redis, START) as time:
        here = Calendar(time, seed=3)
        planned(here, 20)
        lost = str(keys.DueMember("w0", here.made[0][0].id))
        here.platform.clients.control.zrem(keys.DUE, lost)
        lived(here, 3, 20, is_repaired)
        if is_repaired:
            here.account()
        else:
            with pytest.raises(AssertionError, match="not in the ledger"):
                here.account()
