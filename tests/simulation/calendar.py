"""Schedules over days in virtual time, with outages, and the account of every fire.

The nominal times that must be in the ledger are worked out here from the expressions alone, minute
by minute, and never from the product's own arithmetic.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from app.core import capacity, ids, keys, schedules, scripts
from app.core.records import Session
from app.core.states import TERMINAL
from scheduler import fires
from tests.support.dated import Dated, Killed
from tests.support.world import ledger, new_workspace, open_turns
from workers import reaper
from workers.sweep import sweep

MINUTE_MS = 60_000
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
ENDED = TERMINAL | {"missed"}


def values(part: str, low: int, high: int) -> frozenset[int]:
    """What a field of an expression matches: ``*``, ``*/n``, ``a``, ``a-b``, and lists of them."""
    found: set[int] = set()
    for item in part.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        begin = low if span == "*" else int(first)
        end = high if span == "*" else int(last or first)
        found.update(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


@lru_cache(maxsize=256)
def nominal_times(cron_expr: str, zone: str, after_ms: int, until_ms: int) -> tuple[int, ...]:
    """Every minute whose reading in the zone matches, in (after, until].

    That is the rule for an expression whose minute or hour begins with ``*``, and for any in a
    zone that changes no offset meanwhile.
    """
    parts = zip(cron_expr.split(), RANGES, strict=True)
    minutes, hours, days, months, weekdays = (values(part, *span) for part, span in parts)
    found, where = [], ZoneInfo(zone)
    for at_ms in range(after_ms - after_ms % MINUTE_MS + MINUTE_MS, until_ms + 1, MINUTE_MS):
        at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(where)
        if (
            at.minute in minutes
            and at.hour in hours
            and at.day in days
            and at.month in months
            and at.isoweekday() % 7 in weekdays
        ):
            found.append(at_ms)
    return tuple(found)


def place_in_window_ms(schedule_id: str, window_s: float) -> int:
    """How late in its window a schedule fires: its id's digest, as a place in the window."""
    digest = int(sha256(schedule_id.encode()).hexdigest(), 16)
    return digest % int(window_s * 1000) if window_s else 0


def at_once(here: "Calendar") -> None:
    """All agents end all they are given at once, mostly well: claim and finish as batches, for a
    round trip for each turn would be most of a long run."""
    data = here.platform.clients.data
    rung = [name for name, _ in here.platform.clients.control.zpopmin(keys.READY, 10_000)]
    while rung:
        args = [{"session_id": ids.new("ses")} for _ in rung]
        claims = [
            (n, here.platform.with_limits("claim", a)) for n, a in zip(rung, args, strict=True)
        ]
        replies = scripts.call_many(data, "claim", claims)
        pairs = [
            (name, Session.parse(reply[1]))
            for name, reply in zip(rung, replies, strict=True)
            if isinstance(reply, list) and reply[0] == "claimed"
        ]
        ends = [
            (name, here.platform.with_limits("finish", here.ending(own))) for name, own in pairs
        ]
        if ends:
            assert all(isinstance(reply, list) for reply in scripts.call_many(data, "finish", ends))
        rung = [name for name, _ in pairs]


@dataclass
class Calendar:
    """Workspaces with schedules, the processes that serve them, and when each of them is away."""

    dated: Dated
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    made: list[tuple[schedules.Schedule, int]] = field(default_factory=list)
    workspaces: list[str] = field(default_factory=list)
    last_pass_ms: int = 0
    kills: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.platform = self.dated.platform(**self.settings)

    def add(self, workspace_id: str, **fields: Any) -> None:
        """A schedule, and its workspace where it is new."""
        if workspace_id not in self.workspaces:
            new_workspace(self.platform, workspace_id, max_concurrent=4)
            self.workspaces.append(workspace_id)
        usual = {"name": f"s{len(self.made)}", "timezone": "UTC", "prompt": "go"}
        made = schedules.create(self.platform, workspace_id, {**usual, **fields})
        self.made.append((made, self.dated.now_ms))

    def fire(self, dies_at: int = 0) -> None:
        """One tick of a scheduler, which may be killed in its middle."""
        process = self.dated.platform(dies_at, **self.settings) if dies_at else self.platform
        try:
            fires.fire_due(process)
        except Killed:
            self.kills += 1
        else:
            self.last_pass_ms = self.dated.now_ms

    def catch_up(self) -> None:
        """Ticks until nothing is due."""
        while self.platform.clients.control.zcount(keys.DUE, "-inf", self.dated.now_ms):
            self.fire()
        self.fire()

    def beat(self) -> None:
        for workspace_id in self.workspaces:
            capacity.heartbeat(self.platform, workspace_id, capacity.Beat(max_concurrent=4))

    def ending(self, own: Session) -> dict[str, Any]:
        """How a session ends: one in ten fails."""
        outcome = self.random.choice(["completed"] * 9 + ["failed"])
        texts = {"result": '{"text":"x"}', "text": "", "note": "", "limits": "[]", "rings": True}
        return {"session_id": own.id, "fence": own.fence, "outcome": outcome, **texts}

    def repair(self) -> None:
        """What a sweep and the reaper do."""
        sweep(self.platform)
        reaper.reap(self.platform)

    def settle(self, work: Callable[[], object]) -> None:
        """No further fires: everything that waits comes to its end."""
        for _ in range(2000):
            work()
            if not any(open_turns(self.platform, name) for name in self.workspaces):
                return
            self.dated.pass_ms(30_000)
            self.repair()
        raise AssertionError("turns are left open")

    def account(self) -> Counter[str]:
        """Each nominal time is in the ledger once, ended, and its turn was made once.

        Returns how many fires ended in which state.
        """
        rows = {name: ledger(self.platform, name) for name in self.workspaces}
        for schedule, created_ms in self.made:
            self._account_one(schedule, created_ms, rows[schedule.workspace_id])
        for name in self.workspaces:
            stats = self.platform.clients.data.hget(keys.of(name)["stats"], "CRON_QUEUED")
            with_turn = [row["turn_id"] for row in rows[name].values() if row.get("turn_id")]
            assert int(stats or 0) == len(with_turn) == len(set(with_turn)), name
        return Counter(row["state"] for found in rows.values() for row in found.values())

    def _account_one(
        self, schedule: schedules.Schedule, created_ms: int, rows: dict[str, Any]
    ) -> None:
        until = self.last_pass_ms - place_in_window_ms(schedule.id, schedule.window_s)
        expected = nominal_times(schedule.cron_expr, schedule.timezone, created_ms, until)
        own = {
            int(name.rsplit(":", 1)[1]): row["state"]
            for name, row in rows.items()
            if name.startswith(f"{schedule.id}:")
        }
        if not self._is_enabled(schedule):  # it paused itself: nothing after that, all before it
            expected = expected[: len(own)]
        assert sorted(own) == list(expected), (
            f"{schedule.cron_expr} in {schedule.timezone}: "
            f"{len(set(expected) - set(own))} not in the ledger, "
            f"{len(set(own) - set(expected))} that were never due"
        )
        assert set(own.values()) <= ENDED, Counter(own.values())

    def _is_enabled(self, schedule: schedules.Schedule) -> bool:
        return schedules.get(self.platform, schedule.workspace_id, schedule.id).enabled


def ms(at: datetime) -> int:
    """A moment as ms since the epoch."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
