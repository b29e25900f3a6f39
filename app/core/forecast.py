"""What share of a workspace's slots its schedules need; pure, from cadences and past durations.

share = fires a day x mean duration / (slots x one day). A duration counts as far as the present
ceiling lets it last, so a lower ceiling shows at once. A schedule that has not run yet is counted
by its ceiling and says so; only what was measured makes the workspace *over* (an alarm about runs
of thirty minutes that take three seconds would be none).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean

from app.core import cron

DAY_S, DAY_MS = 86_400, 86_400_000
# Four whole weeks; a schedule with no day among them is counted over fifty-two.
SPAN_DAYS, SPARSE_SPAN_DAYS = 28, 364
LIMIT_PERCENT, CLEARS_BELOW_PERCENT = 100, 95
# The policies under which a schedule keeps one slot busy at most: what is too much is not kept.
BOUNDED = frozenset({"skip", "buffer_one", "cancel_other", "terminate_other"})
# Cadences that people write: minutes up to an hour, hours up to a day, then days.
CADENCES_MIN = (*(1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30), *(60 * h for h in (1, 2, 3, 4, 6, 8, 12)))
NAMED_COUNT = 3


@dataclass(frozen=True)
class Load:
    """What is known of one enabled schedule; ``ceiling_s`` 0: none."""

    schedule_id: str
    name: str
    fires_per_day: float
    durations_s: tuple[float, ...]
    ceiling_s: float
    overlap_policy: str = "buffer_all"

    @property
    def basis(self) -> str:
        """Where the duration comes from: history, ceiling or unknown."""
        return "history" if self.durations_s else "ceiling" if self.ceiling_s else "unknown"

    @property
    def lasting_s(self) -> tuple[float, ...]:
        """Past durations, as long as the ceiling would let them be now."""
        most = self.ceiling_s or math.inf
        return tuple(min(duration, most) for duration in self.durations_s)

    @property
    def mean_s(self) -> float:
        """The duration that is counted; 0 where nothing is known."""
        return fmean(self.lasting_s) if self.durations_s else self.ceiling_s


@dataclass(frozen=True)
class Need:
    """One schedule's part; percents are of all slots."""

    schedule_id: str
    name: str
    basis: str
    fires_per_day: float
    samples: int
    mean_duration_s: float | None
    p90_duration_s: float | None
    ceiling_s: float
    share_percent: float | None
    worst_share_percent: float | None


@dataclass(frozen=True)
class Advice:
    """A change that brings the need down, and the setting to change."""

    schedule_id: str
    setting: str
    text: str


@dataclass(frozen=True)
class Forecast:
    """The whole workspace. ``measured_percent``: only what was measured, as limits see it."""

    slots: int
    basis: str
    share_percent: float | None
    worst_share_percent: float | None
    measured_percent: int
    sentence: str
    advice: tuple[Advice, ...]
    schedules: tuple[Need, ...]

    @property
    def is_over(self) -> bool:
        """Whether what was measured is more than there is."""
        return self.measured_percent > LIMIT_PERCENT


@lru_cache(maxsize=4096)
def _fires_per_day(cron_expr: str, timezone: str, day: int) -> float:
    """Over whole days: the readings of a day times the days that match (DST moves no average)."""
    clock = cron.parse(cron_expr, timezone).clock
    a_day = len(clock.minutes) * len(clock.hours)
    days = cron.parse(f"0 0 {' '.join(clock.parts[-3:])}", "UTC")
    for span in (SPAN_DAYS, SPARSE_SPAN_DAYS):
        found = cron.fires_between(days, day * DAY_MS, (day + span) * DAY_MS, span)
        if found:
            return a_day * len(found) / span
    return 0.0


def fires_per_day(cron_expr: str, timezone: str, at_ms: int) -> float:
    """The mean number of fires a day over the weeks after ``at_ms``."""
    return _fires_per_day(cron_expr, timezone, at_ms // DAY_MS)


def p90(values: Sequence[float]) -> float:
    """The nearest-rank ninetieth percentile."""
    return sorted(values)[math.ceil(0.9 * len(values)) - 1]


def forecast(loads: Sequence[Load], slots: int) -> Forecast:
    """What the enabled schedules need of so many slots."""
    needs = tuple(_need(load, slots) for load in loads)
    known = [load for load in loads if load.basis != "unknown"]
    measured = [load for load in loads if load.basis == "history"]
    share = _total(known, slots) if known else None
    has_worst = bool(loads) and all(load.ceiling_s for load in loads)
    worst = [replace(load, durations_s=()) for load in loads]
    bases = {load.basis for load in loads}
    return Forecast(
        slots=slots,
        basis=next((name for name in ("unknown", "ceiling") if name in bases), "history"),
        share_percent=None if share is None else round(share, 1),
        worst_share_percent=round(_total(worst, slots), 1) if has_worst else None,
        measured_percent=_whole(_pressing(measured, slots)),
        sentence=_sentence(loads, slots),
        advice=_advice(known, slots),
        schedules=needs,
    )


def _whole(percent: float) -> int:
    """Rounded up (a hair over the limit is over), but not by what floats add."""
    return math.ceil(round(percent, 6))


def _need(load: Load, slots: int) -> Need:
    lasting = load.lasting_s
    return Need(
        schedule_id=load.schedule_id,
        name=load.name,
        basis=load.basis,
        fires_per_day=round(load.fires_per_day, 2),
        samples=len(lasting),
        mean_duration_s=round(load.mean_s, 3) if lasting else None,
        p90_duration_s=round(p90(lasting), 3) if lasting else None,
        ceiling_s=load.ceiling_s,
        share_percent=round(_of_a_slot(load) / slots, 1) if load.basis != "unknown" else None,
        worst_share_percent=(
            round(load.fires_per_day * load.ceiling_s / DAY_S * 100 / slots, 1)
            if load.ceiling_s
            else None
        ),
    )


def _of_a_slot(load: Load) -> float:
    """Percent of one slot, had every fire to be run."""
    return load.fires_per_day * load.mean_s / DAY_S * 100


def _counted(load: Load) -> float:
    """Percent of one slot, as its overlap policy lets it grow."""
    return min(_of_a_slot(load), 100.0) if load.overlap_policy in BOUNDED else _of_a_slot(load)


def _total(loads: Sequence[Load], slots: int) -> float:
    return sum(map(_counted, loads)) / slots


def _alone(load: Load) -> float:
    """Percent of the one slot that a schedule's own fires share: they run one after another."""
    return _of_a_slot(load) if load.overlap_policy == "buffer_all" else 0.0


def _pressing(loads: Sequence[Load], slots: int) -> float:
    """The larger of: of all slots, of one slot by a schedule whose fires wait for one another."""
    return max([_total(loads, slots), *map(_alone, loads)])


# What it says.


def _sentence(loads: Sequence[Load], slots: int) -> str:
    its = "its slot" if slots == 1 else f"its {slots} slots"
    if not loads:
        return f"No schedule is enabled: nothing needs {its}."
    known = [load for load in loads if load.basis != "unknown"]
    unknown = [load.name for load in loads if load.basis == "unknown"]
    left_out = (
        f"{_names(unknown)} never ran and {'has' if len(unknown) == 1 else 'have'} no ceiling"
    )
    if not known:
        return f"What the workspace needs of {its} is not known: {left_out}."
    guessed = [load.name for load in known if load.basis == "ceiling"]
    most = "at most " if guessed else ""
    parts = sorted(known, key=_counted, reverse=True)
    shares = [f"{load.name} {_counted(load) / slots:.0f} %" for load in parts]
    text = f"The workspace needs {most}{_total(known, slots):.0f} % of {its} ({_names(shares)})"
    told = []
    if guessed:
        told.append(f"{_names(guessed)} never ran and {_count(guessed)} counted by the ceiling")
    if unknown:
        told.append(f"{left_out}, so {_count(unknown)} not counted")
    serial = [load for load in known if _whole(_alone(load)) > LIMIT_PERCENT]
    if slots > 1 and serial:
        alone = f"{serial[0].name} alone needs {_alone(serial[0]):.0f} %"
        told.append(f"{alone} of the one slot that its fires share")
    measured = [load for load in known if load.basis == "history"]
    if _whole(_pressing(measured, slots)) > LIMIT_PERCENT:
        told.append("its fires wait longer and longer")
    return "; ".join([text, *told]) + "."


def _count(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _names(names: Sequence[str]) -> str:
    rest = len(names) - NAMED_COUNT
    return ", ".join(names[:NAMED_COUNT]) + (f" and {rest} more" if rest > 0 else "")


# What to do about it.


def _advice(loads: Sequence[Load], slots: int) -> tuple[Advice, ...]:
    """For each schedule above its fair part, the largest few first; none where all is within."""
    if _whole(_pressing(loads, slots)) <= LIMIT_PERCENT:
        return ()
    fair = _fair_percent([_counted(load) for load in loads], 100.0 * slots)
    above = [load for load in loads if _counted(load) > fair or _whole(_alone(load)) > 100]
    largest = sorted(above, key=_of_a_slot, reverse=True)
    found = []
    for load in largest[:NAMED_COUNT]:
        found += _of_one(load, min(fair, 100.0 * slots))
    return tuple(found)


def _fair_percent(shares: Sequence[float], room: float) -> float:
    """The max-min fair part: who needs less keeps its need, the others share what is left."""
    left = room
    for number, share in enumerate(sorted(shares)):
        part = left / (len(shares) - number)
        if share > part:
            return part
        left -= share
    return math.inf


def _of_one(load: Load, room_percent: float) -> list[Advice]:
    """Ways to bring one schedule down to so many percent of a slot."""
    if load.overlap_policy == "buffer_all":
        room_percent = min(room_percent, 100.0)
    room_s = room_percent / 100 * DAY_S  # a day
    found: list[tuple[str, str]] = []
    if load.overlap_policy == "buffer_all":
        text = "overlap_policy buffer_one: late fires become one instead of a growing queue"
        found.append(("schedule.overlap_policy", text))
    longest_s = math.floor(room_s / load.fires_per_day)
    if 1 <= longest_s < load.ceiling_s or (longest_s >= 1 and not load.ceiling_s):
        found.append(("schedule.ceiling_s", f"ceiling_s {longest_s} or less"))
    least_min = math.ceil(DAY_S * load.mean_s / room_s / 60)
    found.append(("schedule.cron_expr", f"a fire every {_cadence(least_min)} or less often"))
    return [Advice(load.schedule_id, setting, f"{load.name}: {text}") for setting, text in found]


def _cadence(least_min: int) -> str:
    """The next slower cadence that people write."""
    for minutes in CADENCES_MIN:
        if minutes >= least_min:
            return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h"
    days = math.ceil(least_min / (24 * 60))
    return "day" if days == 1 else f"{days} days"
