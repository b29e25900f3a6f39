"""Metrics of the fleet, decided from values."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric

from app.core import attention, fleet_metrics, scaling
from app.core.attention import SEVERITY, Vitals
from app.core.fleet import Row
from app.core.settings import Settings
from app.core.telemetry import Collector
from app.core.timings import BUCKETS_MS, Histogram
from tests.support.world import virtual_platform
from tests.unit.core.test_attention import HOUR, NOW, SETTINGS, session, waiting, workspace


def values(found: Iterable[Metric]) -> dict[str, float]:
    """Samples by name and labels: ``name{a,b}``."""
    rows = {}
    for metric in found:
        for sample in metric.samples:
            labels = ",".join(sample.labels.values())
            rows[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return rows


def named(name: str, row: Row) -> Row:
    return replace(row, workspace=replace(row.workspace, id=name))


def told(rows: list[Row]) -> list[attention.Attention]:
    return [one for row in rows if (one := attention.of_row(row, NOW, SETTINGS))]


def settings(**fields: Any) -> Settings:
    return Settings.model_validate(fields)


def test_buckets_are_cumulative_and_in_seconds() -> None:
    counts = [1, 0, 2, *[0] * (len(BUCKETS_MS["wait"]) - 3), 4]
    rows, total_s = fleet_metrics.buckets("wait", Histogram(counts, 90_500))
    assert rows[:3] == [("0.01", 1), ("0.05", 1), ("0.25", 3)]
    assert rows[-1] == ("+Inf", 7) and total_s == 90.5
    assert [bound for bound, _ in rows[-3:-1]] == ["3600", "21600"]


def test_every_condition_is_a_sample_also_where_it_holds_nowhere() -> None:
    streak = Row(workspace(3), [session(1)], waiting_fires=3, **waiting(1))
    rows = [streak, named("b", streak), named("c", Row(workspace()))]
    silent = attention.of_platform(Vitals(NOW, {"reap": NOW}, dispatchers=1))
    found = values(fleet_metrics.conditions(told(rows), silent))
    assert len(found) == len(SEVERITY)
    assert found["turnkeeper_attention{waiting_streak}"] == 2
    assert found["turnkeeper_attention{scheduler_silent}"] == 1
    assert found["turnkeeper_attention{over_ceiling}"] == 0


def test_amounts_are_the_worst_of_those_that_are_served() -> None:
    rows = [
        Row(workspace(3), [session(1)], waiting_fires=3, **waiting(5_000)),
        Row(workspace(9, paused_at="1"), [], waiting_fires=9, **waiting(HOUR)),
        Row(workspace(0, 200_000), []),
    ]
    found = values(fleet_metrics.amounts(rows, Vitals(NOW, dispatchers=2)))
    assert found == {
        "turnkeeper_oldest_wait_seconds": 5,
        "turnkeeper_waiting_streak_max": 3,
        "turnkeeper_slots": 2,
        "turnkeeper_heartbeat_age_max_seconds": 200,
        "turnkeeper_dispatchers": 2,
    }


def test_a_workspace_is_a_label_only_where_the_setting_says_so_and_the_worst_come_first() -> None:
    rows = [
        named("well", Row(workspace())),
        named("waits", Row(workspace(1), [], **waiting(800_000))),
        named("long", Row(workspace(1), [], **waiting(901_000))),
        named("over", Row(workspace(), [session(2 * HOUR)])),
    ]
    assert values(fleet_metrics.by_workspace(rows, told(rows), SETTINGS)) == {}
    found = fleet_metrics.by_workspace(rows, told(rows), settings(metrics_workspaces_max=2))
    assert values(found) == {
        "turnkeeper_workspace_turns_waiting{over}": 0,
        "turnkeeper_workspace_turns_waiting{long}": 1,
        "turnkeeper_workspace_oldest_wait_seconds{over}": 0,
        "turnkeeper_workspace_oldest_wait_seconds{long}": 901,
        "turnkeeper_workspace_attention{over,over_ceiling}": 1,
        "turnkeeper_workspace_attention{long,oldest_wait}": 1,
    }


def test_a_scaler_is_told_one_worker_for_so_many_workspaces_and_never_none() -> None:
    wanted = [scaling.desired_workers(ready, 50, 10) for ready in (0, 1, 50, 51, 499, 10_000)]
    assert wanted == [1, 1, 1, 2, 10, 10]


@pytest.mark.parametrize(("took_s", "within_s", "after_s"), [(0, 1.9, 0.2), (10, 39, 2)])
def test_a_reading_is_shared_for_four_times_as_long_as_it_took(
    took_s: float, within_s: float, after_s: float
) -> None:
    """So a fleet that takes seconds to read never fills a web process."""
    reads = []

    class Slow(Collector):
        def _read(self) -> Iterator[Metric]:
            reads.append(1)
            here.clock.wait(here.stopping, took_s)
            yield from ()

    with virtual_platform(datetime(2026, 3, 1, tzinfo=UTC)) as here:
        collector = Slow(here)
        for pause_s, count in ((0, 1), (within_s, 1), (after_s, 2)):
            here.clock.wait(here.stopping, pause_s)
            list(collector.collect())
            assert len(reads) == count
