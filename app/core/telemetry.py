"""Logs and metrics of one process.

Logs are structlog's: one JSON object a line off a terminal, columns on one; the message is the
event's name. Counters live in Redis, written by the scripts that change state, so that no
process's death loses one; a scrape reads them.
"""

import logging
import sys
from collections.abc import Iterator
from threading import Lock
from typing import Any

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from app.core import (
    fleet,
    fleet_metrics,
    invariant_reports,
    keys,
    lines,
    workspaces,
)
from app.core.fleet import Row
from app.core.platform import Platform
from app.core.settings import Settings

CACHE_S = 2.0
CACHE_TIMES = 4  # what reads every workspace takes a fifth of a process at most

COUNTERS = {
    "MESSAGE_QUEUED": ("turnkeeper_turns_queued", "Turns accepted, scheduled fires not counted."),
    "CRON_QUEUED": ("turnkeeper_fires_queued", "Fires made and queued."),
    "CRON_MISSED": ("turnkeeper_fires_missed", "Fires due longer ago than their catch-up window."),
    "CRON_SKIPPED": (
        "turnkeeper_fires_skipped",
        "Fires not queued; the event names the mechanism.",
    ),
    "CRON_EXECUTED": ("turnkeeper_fires_executed", "Fires whose turn ended, however it ended."),
    "TURN_CLAIMED": ("turnkeeper_turns_claimed", "Sessions opened."),
    "TURN_DELIVERED": ("turnkeeper_turns_delivered", "Turns handed to an agent."),
    "SESSION_STARTED": ("turnkeeper_sessions_started", "Sessions the agent began."),
    "SESSION_ENDED": ("turnkeeper_sessions_ended", "Sessions ended, however they ended."),
    "AGENT_MESSAGE": ("turnkeeper_agent_messages", "Answers and notices of agents."),
    "TURN_RETURNED": (
        "turnkeeper_turns_returned",
        "Turns back in their lane after a lost session.",
    ),
    "TURN_EXPIRED": ("turnkeeper_turns_expired", "Turns that waited past their time to live."),
    "TURN_DEAD": ("turnkeeper_turns_dead", "Dead letters made."),
    "TURN_REPLAYED": ("turnkeeper_turns_replayed", "Ended turns queued again."),
    "TURN_DISCARDED": ("turnkeeper_dead_letters_discarded", "Dead letters given up."),
    "TURN_STALLED": ("turnkeeper_turns_stalled", "Sessions found without progress."),
    "WRITE_FENCED": ("turnkeeper_writes_fenced", "Writes refused under a stale fence."),
    "ALERT_OPENED": ("turnkeeper_alerts_opened", "Alerts told: something needs a person."),
    "ALERT_RECOVERED": ("turnkeeper_alerts_recovered", "Alerts told to be over."),
    "LIMIT_HIT": ("turnkeeper_limits_hit", "Limits that acted."),
}


def configure_logs(settings: Settings) -> None:
    """Send structlog and the standard library's loggers to stderr in one format."""
    is_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.processors.JSONRenderer() if is_json else _columns()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    for noisy in ("rq.worker", "rq.scheduler", "rq_scheduler.scheduler", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _columns() -> structlog.dev.ConsoleRenderer:
    """For a terminal. Tracebacks without local variables: those hold tokens and prompts."""
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


class Collector:
    """Reads counters and gauges from Redis at a scrape. A reading is shared for two seconds, and
    for four times as long as it took where that is longer."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lock = Lock()
        self._until = float("-inf")
        self._metrics: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        """Prometheus calls this at each scrape."""
        with self._lock:
            began = self._platform.clock.monotonic()
            if began > self._until:
                self._metrics = list(self._read())
                ended = self._platform.clock.monotonic()
                self._until = ended + max(CACHE_S, CACHE_TIMES * (ended - began))
        yield from self._metrics

    def _read(self) -> Iterator[Metric]:
        platform = self._platform
        now, known = platform.now_ms(), list(workspaces.all_ids(platform))
        rows = fleet.read(platform, known, now)
        # Of the counters removed ones too, so that none falls.
        totals = workspaces.sums(platform, [*known, keys.PLATFORM_PLACE], "stats")
        for event, (name, text) in COUNTERS.items():
            yield CounterMetricFamily(name, text, value=totals[event])
        yield from self._sizes([row.workspace for row in rows])
        yield from fleet_metrics.read(platform, rows, known, now)
        yield GaugeMetricFamily(
            "turnkeeper_dead_letters",
            "Dead letters that nobody has looked after.",
            sum(row.dead_letters for row in rows),
        )
        yield self._stale(rows)
        control = platform.clients.control
        yield GaugeMetricFamily(
            "turnkeeper_workspaces_ready", "Workspaces in the ready set.", control.zcard(keys.READY)
        )
        yield self._ticks()
        yield from self._invariants()
        yield from self._deliveries()
        yield self._limited()

    def _sizes(self, found: list[workspaces.Workspace]) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "turnkeeper_workspaces", "Workspaces by status.", labels=["status"]
        )
        for status in ("online", "degraded", "offline", "paused"):
            states.add_metric([status], sum(item.status == status for item in found))
        yield states
        waiting = GaugeMetricFamily(
            "turnkeeper_turns_waiting", "Waiting turns by lane.", labels=["lane"]
        )
        for lane in ("urgent", "chat", "task", "cron", "info"):
            waiting.add_metric([lane], sum(item.waiting.get(lane, 0) for item in found))
        waiting.add_metric(["returned"], sum(item.returned_count for item in found))
        waiting.add_metric(["parked"], sum(item.parked_count for item in found))
        yield waiting
        yield GaugeMetricFamily(
            "turnkeeper_sessions_live",
            "Sessions that hold a slot.",
            sum(item.live_count for item in found),
        )
        yield GaugeMetricFamily(
            "turnkeeper_sessions_zombie",
            "Sessions ended by the platform that their agent still reports.",
            sum(item.zombie_count for item in found),
        )

    def _ticks(self) -> Metric:
        ticks = GaugeMetricFamily(
            "turnkeeper_tick_timestamp_seconds",
            "When a control job last ran, Unix time.",
            labels=["job"],
        )
        for job, at_ms in self._platform.clients.control.hgetall(keys.TICKS).items():
            ticks.add_metric([job], int(at_ms) / 1000)
        return ticks

    def _invariants(self) -> Iterator[Metric]:
        last = invariant_reports.current_round(self._platform)
        yield GaugeMetricFamily(
            "turnkeeper_invariant_violations",
            "Violations of invariants, by the last look at each workspace.",
            last.violations,
        )
        yield GaugeMetricFamily(
            "turnkeeper_invariants_checked_timestamp_seconds",
            "When all workspaces had last been checked, Unix time; 0: not yet.",
            (last.ended_at or 0) / 1000,
        )

    def _stale(self, rows: list[Row]) -> Metric:
        return GaugeMetricFamily(
            "turnkeeper_policy_stale_sessions",
            "Live sessions whose prompt or memories have changed since they looked.",
            sum(one.stale_since is not None for row in rows for one in row.freshness),
        )

    def _deliveries(self) -> Iterator[Metric]:
        known = [*workspaces.all_ids(self._platform), keys.PLATFORM_PLACE]
        attempts = CounterMetricFamily(
            "turnkeeper_webhook_deliveries_total",
            "Attempts to deliver an event to a webhook or push receiver, by what came of them.",
            labels=["outcome"],
        )
        totals = workspaces.sums(self._platform, known, "delivered")
        for outcome in lines.OUTCOMES:
            attempts.add_metric([outcome], totals[outcome])
        yield attempts
        owing = lines.owing(self._platform, known if self._has_receivers() else [])
        yield GaugeMetricFamily(
            "turnkeeper_webhook_lines_owing",
            "Receivers, counted in each workspace, that are owed an event.",
            owing.lines_count,
        )
        age_ms = 0 if owing.oldest_ms is None else self._platform.now_ms() - owing.oldest_ms
        yield GaugeMetricFamily(
            "turnkeeper_webhook_oldest_owed_seconds",
            "Age of the oldest event that a receiver is owed; 0: none.",
            max(0, age_ms) / 1000,
        )

    def _limited(self) -> Metric:
        refused = CounterMetricFamily(
            "turnkeeper_requests_limited",
            "Requests refused because their token asked too often, by what they count as.",
            labels=["pace"],
        )
        found = self._platform.clients.control.hgetall(keys.LIMITED)
        for pace in ("request", "stream", "agent"):
            refused.add_metric([pace], int(found.get(pace, 0)))
        return refused

    def _has_receivers(self) -> bool:
        control = self._platform.clients.control
        return bool(control.exists(keys.WEBHOOKS, keys.PUSHES))
