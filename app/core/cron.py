"""When a schedule fires: pure arithmetic over a cron expression and an IANA time zone.

cronsim finds the matching readings of a wall clock; this module maps them to instants, by the
rules of Debian's cron. A **fixed-time** schedule (neither its minute nor its hour field starts
with ``*``, as in "30 2 * * *") fires once for what a DST gap skips, at the first valid instant
after it, and the first time only for what a fold repeats. A **wildcard** schedule follows the
clock as it runs: every real minute whose reading matches. So "*/30 * * * *" fires every thirty
real minutes through a fold, what a gap skips is not made up, and "0 */2 * * *" in Berlin fires
at both 02:00s in October and at none in March.

The mapping is ours because cronsim 2.8, given a zone, returns times before its start when that
lies in the second pass of a fold, and skips fires on Lord Howe Island (half an hour of DST).
Below, a reading is a datetime labelled UTC: reading - instant is the zone's offset.
"""

import copy
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from app.core.errors import InvalidInput

MACROS = {"@hourly": "0 * * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
MACROS |= dict.fromkeys(("@daily", "@midnight"), "0 0 * * *")
MACROS |= dict.fromkeys(("@yearly", "@annually"), "0 0 1 1 *")
FIELDS = "minute (0-59);hour (0-23);day (1-31 L LW);month (1-12 JAN-DEC);weekday (0-7 SUN-SAT)"
EXPRESSION_MAX_CHARS = 256
# Refused beside paths: what some systems keep among the zones; right/ even has leap seconds.
ZONE_NAME = re.compile(r"(?!posix|right/|localtime|factory)[a-z][\w+-]*(/[\w+-]+)*", re.A | re.I)
EPOCH, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9900, 1, 1, tzinfo=UTC)
DAY_S, SECOND, MS = 86_400, timedelta(seconds=1), timedelta(milliseconds=1)


@dataclass(frozen=True)
class Cron:
    """A schedule's times; made by :func:`parse`."""

    cron_expr: str
    timezone: str
    zone: ZoneInfo = field(repr=False, compare=False)
    clock: CronSim = field(repr=False, compare=False)  # copied before use, never advanced
    is_fixed_time: bool = field(repr=False, compare=False)


@lru_cache(maxsize=4096)
def parse(cron_expr: str, timezone: str) -> Cron:
    """Check and read a schedule. Raises: InvalidInput, for ``cron_expr`` or ``timezone``."""
    zone, parts = _zone(timezone), _parts(cron_expr)
    try:
        clock = CronSim(" ".join(parts), EPOCH)
        next(copy.copy(clock))  # cronsim gives up when nothing matches for 50 years
    except (CronSimError, StopIteration) as error:
        raise InvalidInput("cron_expr", _blame(parts)) from error
    return Cron(cron_expr, timezone, zone, clock, not any(p.startswith("*") for p in parts[:2]))


def next_fire(cron: Cron, after_ms: int) -> int:
    """The first nominal time strictly after ``after_ms``; both in ms since the epoch."""
    if not 0 <= after_ms < (LAST - EPOCH) // MS:
        raise InvalidInput("after_ms", "must lie between the years 1970 and 9900")
    after = EPOCH + after_ms * MS
    return ((_fixed if cron.is_fixed_time else _wildcard)(cron, after) - EPOCH) // MS


def fires(cron: Cron, after_ms: int, count: int) -> list[int]:
    """The next ``count`` nominal times after ``after_ms``."""
    return list(islice(_series(cron, after_ms), count))


def fires_between(cron: Cron, start_ms: int, end_ms: int, limit: int) -> list[int]:
    """At most ``limit`` nominal times from ``start_ms`` (included) to ``end_ms`` (not included)."""
    within = takewhile(lambda at_ms: at_ms < end_ms, _series(cron, max(0, start_ms - 1)))
    return list(islice(within, limit))


@lru_cache(maxsize=4096)
def cadence_s(cron: Cron, at_ms: int) -> float:
    """Seconds between the next two fires after ``at_ms``."""
    first, second = fires(cron, at_ms, 2)
    return (second - first) / 1000


def describe(cron: Cron) -> str:
    """The schedule in words: "At 09:00 on Monday through Friday (Europe/Berlin)"."""
    return f"{cron.clock.explain()} ({cron.timezone})"


def jitter_ms(schedule_id: str, window_s: float) -> int:
    """A schedule's place in its window, 0 <= j < window: the same at each fire, in each process."""
    number = int.from_bytes(sha256(schedule_id.encode()).digest())
    return number % max(1, int(window_s * 1000))


def _series(cron: Cron, after_ms: int) -> Iterator[int]:
    while True:
        after_ms = next_fire(cron, after_ms)
        yield after_ms


def _fixed(cron: Cron, after: datetime) -> datetime:
    instants = (_instant(cron.zone, at) for at in _matches(cron, _reading(cron.zone, after)))
    # Not simply the first: after may lie in the second pass of a fold, the match in the first.
    return next(instant for instant in instants if instant > after)


def _wildcard(cron: Cron, after: datetime) -> datetime:
    """Search from one change of the zone's offset to the next: there readings only rise."""
    search_from = reading = _reading(cron.zone, after)
    while True:
        instant = next(_matches(cron, search_from)) - (reading - after)
        change = _first_change(cron.zone, after, instant)
        if change is None:
            return instant
        after, reading = change, _reading(cron.zone, change)
        search_from = reading - SECOND  # the change itself may match


def _matches(cron: Cron, reading: datetime) -> CronSim:
    """Iterator over the matching readings after ``reading``."""
    clock = copy.copy(cron.clock)  # a seventh of the price of reading the expression again
    clock.dt = reading.replace(microsecond=0)
    return clock


def _reading(zone: ZoneInfo, instant: datetime) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=UTC)


def _instant(zone: ZoneInfo, reading: datetime) -> datetime:
    """The first instant with this reading; if a gap skips it, the end of the gap."""
    instant = reading.replace(tzinfo=zone).astimezone(UTC)
    if _reading(zone, instant) == reading:
        return instant
    # PEP 495: in a gap, fold=0 reads with the offset before it, fold=1 with the one after it.
    early = reading.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _first_change(zone, early, instant) or instant


def _first_change(zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """The first change of the zone's offset in (after, until]."""
    changes = (at for year in range(after.year, until.year + 1) for at in _changes(zone, year))
    return next((change for change in changes if after < change <= until), None)


@lru_cache(maxsize=4096)
def _changes(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """When the zone's offset changes in a year; zoneinfo knows but does not list it."""

    def has_moved(second: int) -> bool:
        instant = day + second * SECOND
        return _reading(zone, instant) - instant != offset

    found, day = [], datetime(year, 1, 1, tzinfo=UTC)
    while day.year == year:
        offset = _reading(zone, day) - day
        if has_moved(DAY_S):
            found.append(day + bisect_left(range(DAY_S), True, key=has_moved) * SECOND)
        day += DAY_S * SECOND
    return tuple(found)


def _zone(timezone: str) -> ZoneInfo:
    try:
        if ZONE_NAME.fullmatch(timezone):
            return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        pass  # no such zone; not a zone's file; a folder
    raise InvalidInput("timezone", "must name an IANA time zone, such as UTC or Europe/Berlin")


def _parts(cron_expr: str) -> list[str]:
    """The five fields, macros written out."""
    if len(cron_expr) > EXPRESSION_MAX_CHARS or not cron_expr.isascii():
        raise InvalidInput("cron_expr", f"must be at most {EXPRESSION_MAX_CHARS} ASCII characters")
    text = cron_expr.strip().lower()
    if text.startswith("@") and text not in MACROS:
        rule = "is not a time" if text == "@reboot" else f"is not known; {', '.join(MACROS)} are"
        raise InvalidInput("cron_expr", f"{text} {rule}")
    parts = MACROS.get(text, text).upper().split()
    if len(parts) != 5:
        rule = f"must be minute hour day month weekday, not {len(parts)} fields"
        raise InvalidInput("cron_expr", rule)
    return parts


def _blame(parts: list[str]) -> str:
    """The field that cronsim does not take; when each is good alone, the date never comes."""
    for index, (part, allowed) in enumerate(zip(parts, FIELDS.split(";"), strict=True)):
        try:
            CronSim(f"{'* ' * index}{part}{' *' * (4 - index)}", EPOCH)
        except CronSimError:
            return f"{part!r} is not a valid {allowed}"
    return f"never fires: no day {parts[2]} in month {parts[3]}"
