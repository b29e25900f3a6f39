"""app.core.cron against an independent walk of the wall clock, minute by minute."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from app.core import cron
from app.core.errors import InvalidInput

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

# Zone and year, with the feature they are here for.
CHANGES = [
    ("Europe/Berlin", 2026),
    ("Europe/Dublin", 2026),  # DST is negative: winter is the exception
    ("America/New_York", 2026),
    ("America/New_York", 2099),  # past the table, by the zone's rule
    ("America/Havana", 2026),  # fold at 00:00-01:00
    ("America/Sao_Paulo", 2018),  # gap and fold at midnight
    ("Africa/Cairo", 2026),  # gap at midnight
    ("Africa/Casablanca", 2026),  # off for Ramadan
    ("Australia/Lord_Howe", 2026),  # half an hour
    ("Antarctica/Troll", 2026),  # two hours
    ("Pacific/Apia", 2011),  # no 30 December
    ("Asia/Pyongyang", 2018),  # half an hour, once
    ("Asia/Kathmandu", 2026),  # no change, odd offset
]
ZONES = sorted({zone for zone, _ in CHANGES} | {"UTC", "Pacific/Kiritimati"})

Match = Callable[[datetime], bool]
SHAPES: list[tuple[str, bool, Match]] = [
    ("30 2 * * *", True, lambda r: (r.hour, r.minute) == (2, 30)),
    ("0 2 * * *", True, lambda r: (r.hour, r.minute) == (2, 0)),
    ("0 0 * * *", True, lambda r: (r.hour, r.minute) == (0, 0)),
    ("15,45 0-3 * * *", True, lambda r: r.hour <= 3 and r.minute in (15, 45)),
    ("30 1 * * 0", True, lambda r: (r.hour, r.minute, r.weekday()) == (1, 30, 6)),
    ("0 9 30 * *", True, lambda r: (r.day, r.hour, r.minute) == (30, 9, 0)),
    ("* * * * *", False, lambda r: True),
    ("*/30 * * * *", False, lambda r: r.minute % 30 == 0),
    ("0 * * * *", False, lambda r: r.minute == 0),
    ("45 * * * *", False, lambda r: r.minute == 45),
    ("0 */3 * * *", False, lambda r: r.minute == 0 and r.hour % 3 == 0),
    ("0 */12 * * *", False, lambda r: r.minute == 0 and r.hour % 12 == 0),
    ("*/10 2 * * *", False, lambda r: r.hour == 2 and r.minute % 10 == 0),
    ("* * 30 * *", False, lambda r: r.day == 30),
]


def ms(instant: datetime) -> int:
    return int(instant.timestamp()) * 1000


def utc(*parts: int) -> int:
    return ms(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type]


def shown(zone: str, fires: list[int]) -> list[str]:
    return [datetime.fromtimestamp(f / 1000, ZoneInfo(zone)).strftime("%d %H:%M %z") for f in fires]


def windows(zone: str, year: int) -> Iterator[tuple[datetime, datetime]]:
    """Two and a half days about each change of the offset in the year; its start if none."""
    instant, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    info, found = ZoneInfo(zone), False
    while instant < end:
        if instant.astimezone(info).utcoffset() != (instant + HOUR).astimezone(info).utcoffset():
            found = True
            yield instant - 30 * HOUR, instant + 30 * HOUR
        instant += HOUR
    if not found:
        yield end, end + 60 * HOUR


def walk(zone: str, start: datetime, end: datetime) -> list[tuple[datetime, datetime, datetime]]:
    """Every minute: its instant, what the wall clock reads, the latest it has read so far."""
    info, rows = ZoneInfo(zone), []
    latest = (start - MINUTE).astimezone(info).replace(tzinfo=None)
    for n in range((end - start) // MINUTE):
        instant = start + n * MINUTE
        reading = instant.astimezone(info).replace(tzinfo=None)
        rows.append((instant, reading, latest))
        latest = max(latest, reading)
    return rows


def expected(
    rows: list[tuple[datetime, datetime, datetime]], is_fixed: bool, match: Match
) -> list[int]:
    fires = []
    for instant, reading, latest in rows:
        if is_fixed:  # whatever the clock passes for the first time, skipped readings included
            passed = [latest + n * MINUTE for n in range(1, (reading - latest) // MINUTE + 1)]
            due = any(match(r) for r in passed)
        else:
            due = match(reading)
        if due:
            fires.append(ms(instant))
    return fires


@pytest.mark.parametrize(("zone", "year"), CHANGES)
def test_fires_are_those_of_a_minute_by_minute_walk_about_each_change(zone: str, year: int) -> None:
    for start, end in windows(zone, year):
        rows = walk(zone, start, end)
        for expr, is_fixed, match in SHAPES:
            got = cron.fires_between(cron.parse(expr, zone), ms(start), ms(end), 10_000)
            want = expected(rows, is_fixed, match)
            assert got == want, (expr, shown(zone, got)[:20], shown(zone, want)[:20])


@pytest.mark.parametrize(("zone", "year"), CHANGES)
def test_the_next_fire_is_right_from_every_minute_about_each_change(zone: str, year: int) -> None:
    for start, end in windows(zone, year):
        for expr, is_fixed, match in SHAPES[:4] + SHAPES[8:11]:
            want = expected(walk(zone, start, end), is_fixed, match)
            schedule = cron.parse(expr, zone)
            for after in range(ms(start), want[-1], 7 * 60_000 + 1):
                assert cron.next_fire(schedule, after) == min(f for f in want if f > after)


def test_a_gap_fires_once_at_the_first_valid_instant() -> None:
    for expr in ("30 2 * * *", "5,10,50 2 * * *"):
        got = cron.fires(cron.parse(expr, "Europe/Berlin"), utc(2026, 3, 28, 12), 2)
        assert shown("Europe/Berlin", got)[0] == "29 03:00 +0200"
        assert shown("Europe/Berlin", got)[1].startswith("30 02:")


def test_a_fold_fires_once_and_the_first_time() -> None:
    got = cron.fires(cron.parse("30 2 * * *", "Europe/Berlin"), utc(2026, 10, 24, 12), 2)
    assert shown("Europe/Berlin", got) == ["25 02:30 +0200", "26 02:30 +0100"]


def test_a_start_in_the_second_pass_of_a_fold_never_goes_back() -> None:
    after = utc(2026, 10, 25, 1, 10)  # 02:10 in Berlin, for the second time
    got = cron.next_fire(cron.parse("30 2 * * *", "Europe/Berlin"), after)
    assert shown("Europe/Berlin", [got]) == ["26 02:30 +0100"]


def test_every_thirty_minutes_stays_every_thirty_minutes_through_gap_and_fold() -> None:
    schedule = cron.parse("*/30 * * * *", "America/New_York")
    for start in (utc(2026, 3, 8, 3), utc(2026, 11, 1, 3)):
        got = cron.fires(schedule, start, 20)
        assert {b - a for a, b in zip(got, got[1:], strict=False)} == {1_800_000}


def test_the_skipped_day_of_apia_is_made_up_once_when_it_ends() -> None:
    got = cron.fires(cron.parse("0 9 * * *", "Pacific/Apia"), utc(2011, 12, 29, 12), 3)
    want = ["29 09:00 -1000", "31 00:00 +1400", "31 09:00 +1400"]
    assert shown("Pacific/Apia", got) == want


expressions = st.builds(
    lambda *fields: " ".join(fields),
    st.sampled_from(["*", "0", "30", "*/7", "15-20", "59", "0,1,2", "10/20"]),
    st.sampled_from(["*", "0", "1,2,3", "*/5", "9-17", "23"]),
    st.sampled_from(["*", "1", "31", "*/9", "L", "LW", "28-30"]),
    st.sampled_from(["*", "2", "JAN,DEC", "*/3", "3-10"]),
    st.sampled_from(["*", "0", "MON-FRI", "7", "5L", "2#5", "*/2"]),
)
instants = st.integers(utc(1975, 1, 1), utc(2045, 1, 1))


def parsed(expr: str, zone: str) -> cron.Cron | None:
    try:
        return cron.parse(expr, zone)
    except InvalidInput:  # "31 2": an impossible date
        return None


@given(expressions, st.sampled_from(ZONES), instants, st.floats(0, 1))
def test_time_only_moves_forward_and_nothing_is_skipped(
    expr: str, zone: str, after: int, share: float
) -> None:
    schedule = parsed(expr, zone)
    if schedule is None:
        return
    first, second = cron.fires(schedule, after, 2)
    assert after < first < second
    assert first % 60_000 == 0
    between = after + int((first - after) * share)
    assert cron.next_fire(schedule, between) == (first if between < first else second)
    assert cron.next_fire(schedule, first - 1) == first
    assert cron.cadence_s(schedule, after) == (second - first) / 1000
    assert cron.fires_between(schedule, after, second, 10) in ([first], [after, first])


@given(expressions, instants)
def test_without_a_zone_we_are_cronsim(expr: str, after: int) -> None:
    schedule = parsed(expr, "UTC")
    if schedule is None:
        return
    reference = CronSim(expr, datetime.fromtimestamp(after // 1000, UTC))
    assert cron.fires(schedule, after, 5) == [ms(next(reference)) for _ in range(5)]


@given(st.text("0123456789*/,-#LW@SUNa \t\n", max_size=30) | st.text(max_size=12))
def test_any_text_is_read_or_refused_by_name(expr: str) -> None:
    try:
        schedule = cron.parse(expr, "UTC")
    except InvalidInput as refusal:
        assert refusal.fields["errors"][0]["field"] == "cron_expr"
    else:
        assert cron.next_fire(schedule, 0) > 0
        assert cron.describe(schedule)


@given(st.text(max_size=20))
def test_any_zone_name_is_read_or_refused_by_name(zone: str) -> None:
    try:
        cron.parse("@daily", zone)
    except InvalidInput as refusal:
        assert refusal.fields["errors"][0]["field"] == "timezone"


@pytest.mark.parametrize(
    "zone",
    ["", "UTC+2", "Europe", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe/../UTC"]
    + ["right/UTC", "posix/UTC", "localtime", "posixrules", "Factory", "Europe/Berlin\n", "\0"],
)
def test_what_is_no_iana_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInput, match="timezone: must name an IANA time zone"):
        cron.parse("@daily", zone)


@pytest.mark.parametrize(
    ("expr", "rule"),
    [
        ("", "must be minute hour day month weekday, not 0 fields"),
        ("0 0 * * * *", "must be minute hour day month weekday, not 6 fields"),
        ("@reboot", "@reboot is not a time"),
        ("@noon", "@noon is not known"),
        ("0 0 30 2 *", "never fires: no day 30 in month 2"),
        ("0 0 31 APR,JUN *", "never fires: no day 31 in month APR,JUN"),
        ("60 * * * *", "'60' is not a valid minute"),
        ("* 24 * * *", "'24' is not a valid hour"),
        ("* * 0 * *", "'0' is not a valid day"),
        ("* * * 13 *", "'13' is not a valid month"),
        ("* * * * MONDAY", "'MONDAY' is not a valid weekday"),
        ("*/0 * * * *", r"'\*/0' is not a valid minute"),
        ("1" * 5000 + " * * * *", "must be at most 256 ASCII characters"),
    ],
)
def test_a_wrong_expression_is_refused_with_its_rule(expr: str, rule: str) -> None:
    with pytest.raises(InvalidInput, match=f"cron_expr: {rule}"):
        cron.parse(expr, "UTC")


@pytest.mark.parametrize(
    ("macro", "expr", "words"),
    [
        ("@hourly", "0 * * * *", "At the start of every hour (UTC)"),
        ("@daily", "0 0 * * *", "At 00:00 every day (UTC)"),
        ("@midnight", "0 0 * * *", "At 00:00 every day (UTC)"),
        ("@Weekly", "0 0 * * SUN", "At 00:00 on Sunday (UTC)"),
        ("@monthly", "0 0 1 * *", "At 00:00 on the first day of every month (UTC)"),
        ("@yearly", "0 0 1 1 *", "At 00:00 on January 1 (UTC)"),
        ("@annually", "0 0 1 1 *", "At 00:00 on January 1 (UTC)"),
    ],
)
def test_a_macro_is_its_expression(macro: str, expr: str, words: str) -> None:
    schedule, written_out = cron.parse(macro, "UTC"), cron.parse(expr, "UTC")
    now = utc(2026, 2, 3, 4, 5)
    assert cron.fires(schedule, now, 9) == cron.fires(written_out, now, 9)
    assert cron.describe(schedule) == words


def test_a_day_that_comes_once_in_decades_is_found() -> None:
    schedule = cron.parse("0 0 * 2 MON#5", "Europe/Berlin")  # a 29 February that is a Monday
    got = cron.fires(schedule, utc(2088, 1, 1), 1)
    assert got == cron.fires(schedule, utc(2090, 1, 1), 1)  # 2100 has no leap day


def test_a_range_takes_its_start_and_leaves_its_end() -> None:
    schedule = cron.parse("@hourly", "UTC")
    start, end = utc(2026, 1, 1, 0), utc(2026, 1, 1, 3)
    assert cron.fires_between(schedule, start, end, 10) == [
        start,
        start + 3_600_000,
        end - 3_600_000,
    ]
    assert cron.fires_between(schedule, start, end, 2) == [start, start + 3_600_000]
    assert cron.fires_between(schedule, end, start, 10) == []


@pytest.mark.parametrize("after_ms", [-1, 10**18])
def test_a_time_outside_the_calendar_is_refused(after_ms: int) -> None:
    with pytest.raises(InvalidInput, match="after_ms: must lie between"):
        cron.next_fire(cron.parse("@daily", "UTC"), after_ms)


def test_two_parses_of_one_schedule_are_one_value() -> None:
    assert cron.parse("@daily", "UTC") is cron.parse("@daily", "UTC")
    assert cron.parse("@daily", "UTC") != cron.parse("@daily", "Asia/Tokyo")


@given(st.text(), st.floats(0, 100_000))
def test_jitter_is_the_same_each_time_and_within_its_window(name: str, window_s: float) -> None:
    first = cron.jitter_ms(name, window_s)
    assert first == cron.jitter_ms(name, window_s)
    assert first == 0 or 0 < first < window_s * 1000


def test_jitter_spreads_schedules_over_the_window() -> None:
    tenths = {cron.jitter_ms(f"sch_{n}", 60) // 6_000 for n in range(200)}
    assert tenths == set(range(10))
