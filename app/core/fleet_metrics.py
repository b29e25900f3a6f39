"""Metrics of the fleet: waits, lengths of sessions, what needs attention, and how much there is.

Everything is read from rows that the scrape has read already. A workspace is a label only where
``TURNKEEPER_METRICS_WORKSPACES_MAX`` says so, and then only so many of them.
"""

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from app.core import attention, doorbell, timings, vitals
from app.core.attention import SEVERITY, Attention, Vitals
from app.core.fleet import Row
from app.core.platform import Platform
from app.core.settings import Settings
from app.core.timings import BUCKETS_MS, Histogram


def read(
    platform: Platform, rows: Sequence[Row], known: Sequence[str], now: int
) -> Iterator[Metric]:
    """All of them. ``known``: removed workspaces too, so that no counter falls."""
    found = timings.read(platform, known).of
    yield HistogramMetricFamily(
        "turnkeeper_turn_wait_seconds",
        "How long turns waited for their first claim.",
        *buckets("wait", found["wait"]),
    )
    yield HistogramMetricFamily(
        "turnkeeper_session_seconds",
        "How long sessions lasted, however they ended.",
        *buckets("session", found["session"]),
    )
    live = vitals.read(platform, sum(row.workspace.depth for row in rows), now)
    told = [one for row in rows if (one := attention.of_row(row, now, platform.settings))]
    yield from conditions(told, attention.of_platform(live))
    yield from amounts(rows, live)
    jobs = GaugeMetricFamily(
        "turnkeeper_jobs_waiting", "RQ jobs that wait in a queue.", labels=["queue"]
    )
    for name in doorbell.QUEUES:
        jobs.add_metric([name], doorbell.queue(platform, name).count)
    yield jobs
    yield from by_workspace(rows, told, platform.settings)


def buckets(name: str, found: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Bounds in seconds with how many were at most as long, and the sum in seconds."""
    bounds = [f"{bound / 1000:g}" for bound in BUCKETS_MS[name]]
    total, rows = 0, list[tuple[str, float]]()
    for bound, count in zip([*bounds, "+Inf"], found.counts, strict=True):
        total += count
        rows.append((bound, total))
    return rows, found.sum_ms / 1000


def conditions(rows: Sequence[Attention], platform: Sequence[Attention]) -> Iterator[Metric]:
    """In how many workspaces each condition holds; of the platform's own: 1 where it holds."""
    gauge = GaugeMetricFamily(
        "turnkeeper_attention",
        "Workspaces in which a condition that needs a person holds; the platform's own: 0 or 1.",
        labels=["condition"],
    )
    every = [{one.code for one in item.conditions} for item in (*rows, *platform)]
    for code in SEVERITY:
        gauge.add_metric([code], sum(code in codes for codes in every))
    yield gauge


def amounts(rows: Sequence[Row], live: Vitals) -> Iterator[Metric]:
    """The worst and the sums over all workspaces."""
    serving = [row for row in rows if row.workspace.status != "paused"]
    yield GaugeMetricFamily(
        "turnkeeper_oldest_wait_seconds",
        "How long the oldest waiting turn has waited; paused workspaces left out; 0: none.",
        max((row.oldest_wait_ms for row in serving), default=0) / 1000,
    )
    yield GaugeMetricFamily(
        "turnkeeper_waiting_streak_max",
        "Fires that wait in the workspace with most of them; paused workspaces left out.",
        max((row.waiting_fires for row in serving), default=0),
    )
    yield GaugeMetricFamily(
        "turnkeeper_slots",
        "Sessions that all workspaces that beat may hold at once.",
        sum(row.workspace.slots for row in rows if row.workspace.capacity),
    )
    ages = [
        live.now - int(row.workspace.stored["beat_at"])
        for row in serving
        if (row.workspace.depth or row.workspace.live_count) and "beat_at" in row.workspace.stored
    ]
    yield GaugeMetricFamily(
        "turnkeeper_heartbeat_age_max_seconds",
        "Age of the oldest last heartbeat among workspaces that have work; 0: none has.",
        max([0, *ages]) / 1000,
    )
    yield GaugeMetricFamily("turnkeeper_dispatchers", "Dispatch slices that run.", live.dispatchers)


def by_workspace(
    rows: Sequence[Row], told: Sequence[Attention], settings: Settings
) -> Iterator[Metric]:
    """The workspaces in most trouble one by one: first those that need attention, then those
    that wait longest. None unless the setting says how many."""
    critical: Mapping[str | None, Attention] = {one.workspace_id: one for one in told}

    def rank(row: Row) -> tuple[bool, bool, int, str]:
        found = critical.get(row.workspace.id)
        is_bad = found is not None and found.severity == attention.CRITICAL
        return (not is_bad, found is None, -row.oldest_wait_ms, row.workspace.id)

    chosen = sorted(rows, key=rank)[: settings.metrics_workspaces_max]
    waiting = GaugeMetricFamily(
        "turnkeeper_workspace_turns_waiting",
        "Waiting turns of a workspace; only with TURNKEEPER_METRICS_WORKSPACES_MAX.",
        labels=["workspace"],
    )
    oldest = GaugeMetricFamily(
        "turnkeeper_workspace_oldest_wait_seconds",
        "Its oldest wait; only with TURNKEEPER_METRICS_WORKSPACES_MAX.",
        labels=["workspace"],
    )
    held = GaugeMetricFamily(
        "turnkeeper_workspace_attention",
        "1 for each condition that holds in it; only with TURNKEEPER_METRICS_WORKSPACES_MAX.",
        labels=["workspace", "condition"],
    )
    for row in chosen:
        name = row.workspace.id
        waiting.add_metric([name], row.workspace.depth)
        oldest.add_metric([name], row.oldest_wait_ms / 1000)
        found = critical.get(name)
        for code in sorted({one.code for one in found.conditions} if found else ()):
            held.add_metric([name, code], 1)
    yield from (waiting, oldest, held) if chosen else ()
