"""Eleven years of clock changes: fires against a walk of every minute about each of them.

The walk asks zoneinfo what the clock reads at each minute and knows nothing of cronsim.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest

from app.core import cron
from tests.unit.core.test_cron import MINUTE, SHAPES, expected, ms, shown, walk

YEARS = range(2020, 2031)
FIRST, LAST = datetime(YEARS[0], 1, 1, tzinfo=UTC), datetime(YEARS[-1] + 1, 1, 1, tzinfo=UTC)
# Zone -> how often its offset changes in these years: a zone that stands still proves nothing.
ZONES = {
    "Europe/Berlin": 22,
    "Europe/London": 22,
    "Europe/Dublin": 22,
    "Europe/Moscow": 0,
    "America/New_York": 22,
    "America/Los_Angeles": 22,
    "America/Havana": 22,
    "America/Santiago": 22,
    "America/St_Johns": 22,
    "America/Sao_Paulo": 0,
    "Africa/Casablanca": 22,
    "Africa/Cairo": 16,
    "Asia/Tehran": 6,
    "Asia/Beirut": 22,
    "Asia/Jerusalem": 22,
    "Australia/Lord_Howe": 22,
    "Australia/Sydney": 22,
    "Pacific/Auckland": 22,
    "Pacific/Chatham": 22,
    "Antarctica/Troll": 22,
    "Asia/Kathmandu": 0,
}
EXPRESSIONS = ("30 2 * * *", "0 0 * * *", "15,45 0-3 * * *", "*/30 * * * *", "0 */3 * * *")
TABLE = [shape for shape in SHAPES if shape[0] in EXPRESSIONS]
DAY = timedelta(days=1)


@lru_cache
def changes(zone: str) -> list[datetime]:
    """Each minute at which the zone's offset differs from the minute before."""
    info, found, day = ZoneInfo(zone), [], FIRST
    while day < LAST:
        if day.astimezone(info).utcoffset() != (day + DAY).astimezone(info).utcoffset():
            minute = day + MINUTE
            while minute.astimezone(info).utcoffset() == day.astimezone(info).utcoffset():
                minute += MINUTE
            found.append(minute)
        day += DAY
    return found


@pytest.mark.parametrize("zone", ZONES)
def test_fires_about_each_change_of_eleven_years_are_those_of_the_walk(zone: str) -> None:
    for change in changes(zone):
        start, end = change - 5 * 60 * MINUTE, change + 5 * 60 * MINUTE
        rows = walk(zone, start, end)
        for expr, is_fixed, match in TABLE:
            got = cron.fires_between(cron.parse(expr, zone), ms(start), ms(end), 1000)
            want = expected(rows, is_fixed, match)
            assert got == want, (zone, change, expr, shown(zone, got), shown(zone, want))


def test_the_table_has_all_its_shapes_and_its_zones_do_change() -> None:
    assert len(TABLE) == len(EXPRESSIONS)
    assert len(ZONES) >= 12
    found = {zone: len(changes(zone)) for zone in ZONES}
    # What is in the zone database may grow; that a zone changes twice a year may not.
    assert {zone: bool(count) for zone, count in found.items()} == {
        zone: bool(count) for zone, count in ZONES.items()
    }, found
    assert sum(found.values()) > 300


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("hour", [0, 2])
def test_a_daily_schedule_fires_exactly_once_a_day_for_eleven_years(zone: str, hour: int) -> None:
    """In a gap at its end, in a fold the first time: never twice, never not at all."""
    info = ZoneInfo(zone)
    schedule = cron.parse(f"30 {hour} * * *", zone)
    start = ms(datetime(YEARS[0], 1, 1, tzinfo=info))
    end = ms(datetime(YEARS[-1] + 1, 1, 1, tzinfo=info))
    fires = cron.fires_between(schedule, start, end, 10_000)
    days = [datetime.fromtimestamp(at / 1000, info).date() for at in fires]
    assert len(set(days)) == len(days) == (days[-1] - days[0]).days + 1
    assert (days[0], days[-1]) == (datetime(2020, 1, 1).date(), datetime(2030, 12, 31).date())
    for at in fires:
        reading = datetime.fromtimestamp(at / 1000, info)
        if (reading.hour, reading.minute) != (hour, 30):
            before = datetime.fromtimestamp(at / 1000 - 60, UTC).astimezone(info)
            assert reading.replace(tzinfo=None) - before.replace(tzinfo=None) > MINUTE, reading


def test_control_a_walk_that_fires_twice_in_a_fold_is_told_apart() -> None:
    """The wildcard rule, put to a fixed-time schedule, is what must not pass."""
    zone, (expr, _, match) = "Europe/Berlin", TABLE[0]
    differs = 0
    for change in changes(zone):
        rows = walk(zone, change - 5 * 60 * MINUTE, change + 5 * 60 * MINUTE)
        differs += expected(rows, True, match) != expected(rows, False, match)
    assert (expr, differs) == ("30 2 * * *", len(changes(zone)))
