"""Histograms of durations: how long turns waited for their first claim, how long sessions ran.

Counted per workspace by the scripts that make the change (``timing.lua``), added up here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.core import workspaces
from app.core.platform import Platform

# Upper bounds in ms; the last bucket has none. The same as in timing.lua.
BUCKETS_MS: Mapping[str, Sequence[int]] = {
    "wait": (10, 50, 250, 1000, 5000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000),
    "session": (
        1000,
        5000,
        30_000,
        60_000,
        300_000,
        900_000,
        1_800_000,
        3_600_000,
        7_200_000,
        21_600_000,
    ),
}


@dataclass(frozen=True)
class Histogram:
    """``counts``: one per bucket, the last without a bound; ``sum_ms``: of all that was counted."""

    counts: list[int]
    sum_ms: int = 0

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)


@dataclass
class Timings:
    """Every histogram, by name."""

    of: dict[str, Histogram] = field(default_factory=dict)

    def as_json(self) -> dict[str, list[int]]:
        """Counts of each, for a sample."""
        return {name: histogram.counts for name, histogram in self.of.items()}


def read(platform: Platform, workspace_ids: Sequence[str]) -> Timings:
    """The histograms of these workspaces together."""
    return of(workspaces.sums(platform, workspace_ids, "timings"))


def of(totals: Mapping[str, int]) -> Timings:
    """The histograms of the scripts' counters, ``<name>:<bound>`` and ``<name>:sum``."""
    found = Timings()
    for name, bounds in BUCKETS_MS.items():
        counts = [totals.get(f"{name}:{bound}", 0) for bound in (*bounds, "inf")]
        found.of[name] = Histogram(counts, totals.get(f"{name}:sum", 0))
    return found


def quantile_ms(name: str, counts: Sequence[int], share: float) -> int | None:
    """The upper bound of the bucket that holds a quantile; None: nothing counted.

    A value in the bucket without a bound is told as the last bound.
    """
    wanted, seen = share * sum(counts), 0
    if not wanted:
        return None
    bounds = BUCKETS_MS[name]
    for bound, count in zip((*bounds, bounds[-1]), counts, strict=True):
        seen += count
        if seen >= wanted:
            return bound
    return bounds[-1]
