"""Checks one workspace's invariants, keeps the report on the control side, reads the reports."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import structlog
from redis.exceptions import ResponseError

from app.core import hint_doubts, invariants, keys, snapshots
from app.core.invariants import Violation
from app.core.platform import Platform

SHOWN = 20
LAG_LEAST_S, LAG_SWEEPS = 30, 3
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Report:
    """One look at one workspace; of its violations at most ``SHOWN`` are kept.

    ``checked`` of ``total`` records were looked at: a big workspace is looked at part by part, and
    ``look`` counts the looks. ``doubts``: hints that may only lag, by code and subject, with the ms
    since when they stand; they count as violations once they have stood for longer than hints lag.
    """

    workspace_id: str
    checked_at: int
    duration_ms: int
    look: int
    checked: int
    total: int
    violation_count: int = 0
    violations: list[Violation] = field(default_factory=list)
    doubts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Report":
        stored = json.loads(text)
        rows = [Violation(**row) for row in stored.pop("violations")]
        return cls(violations=rows, **stored)


def run(platform: Platform, workspace_id: str) -> Report:
    """Look at a workspace now, at the next part of a big one; the report is kept and returned.

    Changes nothing of the workspace.
    """
    clock = platform.clock
    began, before = clock.monotonic(), last(platform, workspace_id)
    look = before.look + 1 if before else 0
    now = platform.now_ms()
    try:
        stored = snapshots.read(platform, workspace_id, look)
    except ResponseError as error:  # a key of another type
        found = [Violation("record_unreadable", workspace_id, str(error))]
        checked, total, doubts = 0, 0, dict[str, int]()
    else:
        found = invariants.check(stored)
        checked, total = stored.checked, stored.total
        hints = hint_doubts.read(platform, stored)
        doubted = hint_doubts.doubts(stored, hints)
        doubts = _standing(doubted, before.doubts if before else {}, now)
        found += [row for row in doubted if now - doubts[_name(row)] > lag_ms(platform)]
    took_ms = round((clock.monotonic() - began) * 1000)
    report = Report(
        workspace_id, now, took_ms, look, checked, total, len(found), found[:SHOWN], doubts
    )
    _keep(platform, report)
    return report


def lag_ms(platform: Platform) -> int:
    """For how long a hint may be wrong: the sweep has repaired it well before."""
    return round(max(LAG_LEAST_S, LAG_SWEEPS * platform.settings.sweep_interval_s) * 1000)


def _name(row: Violation) -> str:
    return f"{row.code} {row.subject}"


def _standing(doubted: list[Violation], before: Mapping[str, int], now: int) -> dict[str, int]:
    """Since when each doubt stands."""
    return {_name(row): before.get(_name(row), now) for row in doubted}


def _keep(platform: Platform, report: Report) -> None:
    control = platform.clients.control
    control.hset(keys.INVARIANTS, report.workspace_id, json.dumps(asdict(report)))
    if report.violation_count:
        control.zadd(keys.VIOLATIONS, {report.workspace_id: report.violation_count})
    else:
        control.zrem(keys.VIOLATIONS, report.workspace_id)
    for row in report.violations:
        log.error(
            "invariant broken",
            code=row.code,
            workspace_id=report.workspace_id,
            subject=row.subject,
            sentence=row.sentence,
        )


def last(platform: Platform, workspace_id: str) -> Report | None:
    """The last report on a workspace."""
    text = platform.clients.control.hget(keys.INVARIANTS, workspace_id)
    return Report.parse(text) if text else None


@dataclass(frozen=True)
class Round:
    """The last time through all workspaces, in ms; ``is_going_on``: it has come to ``rank``.

    ``ended_at``: when all had last been looked at. ``violations``: in all workspaces, by their
    last reports.
    """

    began_at: int | None = None
    ended_at: int | None = None
    rank: int = 0
    is_going_on: bool = False
    violations: int = 0


def current_round(platform: Platform) -> Round:
    """The round that goes on, or the last one."""
    control = platform.clients.control
    stored = control.hgetall(keys.INVARIANTS_ROUND)
    scores = control.zrange(keys.VIOLATIONS, 0, -1, withscores=True)
    at = {name: int(stored[name]) for name in ("began_at", "ended_at") if name in stored}
    return Round(
        **at,
        rank=int(stored.get("rank", 0)),
        is_going_on=stored.get("is_going_on") == "1",
        violations=int(sum(count for _, count in scores)),
    )


def listing(platform: Platform, limit: int) -> Iterator[Report]:
    """The last reports: those with violations first, the most first; then by workspace."""
    control = platform.clients.control
    worst = control.zrevrange(keys.VIOLATIONS, 0, limit - 1)
    names = dict.fromkeys(worst)
    start = 0
    while len(names) < limit and (
        page := control.zrange(keys.WORKSPACES, start, start + limit - 1)
    ):
        names |= dict.fromkeys(page)
        start += limit
    chosen = list(names)[:limit]
    texts = control.hmget(keys.INVARIANTS, chosen) if chosen else []
    yield from (Report.parse(text) for text in texts if text)
