"""Random schedules, policies and outages: whatever the policy, each nominal time ends once."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import structlog

from app.core import capacity, invariants, keys, sessions, snapshots
from app.core.errors import StaleFence
from app.core.records import Session
from tests.simulation.calendar import MINUTE_MS, Calendar, ms
from tests.support.dated import dated
from workers.adapters.inbox import Inbox
from workers.deliver import visit

# Two hours before both clocks of these zones change, Berlin's and, a week later, New York's.
STARTS = [
    ms(datetime(2026, 10, 24, 23, 0, tzinfo=UTC)),
    ms(datetime(2026, 11, 1, 4, 0, tzinfo=UTC)),
]
HOURS, STEP_MIN = 7, 2
CRONS = ("*/5 * * * *", "*/7 * * * *", "*/20 * * * *", "10-40 */2 * * *", "3,33 * * * *")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
DRAWS: dict[str, tuple[Any, ...]] = {
    "overlap_policy": (
        *("skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"),
    ),
    "ttl_s": (None, None, 300, 3600),
    "catchup_window_s": (None, 600, 5400),
    "window_s": (0, 0, 240),
    "retries": (0, 0, 2),
    "pause_on_failure_count": (0, 0, 3),
    "redeliver": (None, "never", "on_loss"),
    "ceiling_s": (None, 600),
}


@dataclass
class Agents:
    """A runtime in each workspace: takes turns, works for a while, ends them or is never heard."""

    here: Calendar
    working: dict[str, tuple[str, Session, int]] = field(default_factory=dict)
    is_away: bool = False

    def step(self) -> None:
        """Beat, take, end; while it is away, nothing."""
        if self.is_away:
            return
        self._end()
        for workspace_id in self.here.workspaces:
            live = [own.id for where, own, _ in self.working.values() if where == workspace_id]
            beat = capacity.Beat(instance="agent", sessions=live, max_concurrent=2)
            capacity.heartbeat(self.here.platform, workspace_id, beat)
        while rung := self.here.platform.clients.control.zpopmin(keys.READY):
            visit(self.here.platform, Inbox(), rung[0][0])
        for workspace_id in self.here.workspaces:
            self._take(workspace_id)

    def _take(self, workspace_id: str) -> None:
        platform, now = self.here.platform, self.here.dated.now_ms
        while (found := sessions.take(platform, workspace_id, "agent").handover) is not None:
            own = found.session
            with suppress(StaleFence):
                sessions.start(platform, workspace_id, own.id, own.fence, "agent")
                minutes = self.here.random.choice([0, 0, 0, 3, 12, 40])
                self.working[own.id] = (workspace_id, own, now + minutes * MINUTE_MS)

    def _end(self) -> None:
        due = [name for name, (_, _, at) in self.working.items() if at <= self.here.dated.now_ms]
        for name in due:
            workspace_id, own, _ = self.working.pop(name)
            outcome = self.here.random.choice(["completed"] * 5 + ["failed", "yielded", "silence"])
            if outcome != "silence":
                with suppress(StaleFence):
                    here = (self.here.platform, workspace_id, own.id, own.fence)
                    sessions.finish(*here, outcome, {"text": "x"})


@pytest.fixture(autouse=True)
def few_logs() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def drawn(here: Calendar) -> None:
    """Two workspaces with four schedules each, of any kind."""
    for number in range(8):
        fields = {name: here.random.choice(choices) for name, choices in DRAWS.items()}
        fields |= {"cron_expr": here.random.choice(CRONS), "timezone": here.random.choice(ZONES)}
        here.add(f"w{number % 2}", **fields)


def lived(client: redis.Redis, seed: int) -> Counter[str]:
    """Some hours with both sides away now and then; the invariants hold at every step."""
    with dated(client, STARTS[seed % 2]) as time:
        here = Calendar(time, seed, {"fires_kept": 5000, "max_attempts": 3})
        agents = Agents(here)
        drawn(here)
        back_at = {"scheduler": 0, "agents": 0}
        for minute in range(0, HOURS * 60, STEP_MIN):
            time.pass_ms(STEP_MIN * MINUTE_MS)
            for who, until in back_at.items():
                if until <= minute and here.random.random() < 0.03:
                    back_at[who] = minute + here.random.choice([10, 45, 120])
            if back_at["scheduler"] <= minute:
                here.fire(dies_at=here.random.choice([0, 0, here.random.randint(1, 20)]))
            agents.is_away = back_at["agents"] > minute
            agents.step()
            if minute % 6 == 0:
                here.repair()
            for name in here.workspaces:
                assert invariants.check(snapshots.read(here.platform, name)) == []
        here.catch_up()
        agents.is_away = False
        here.settle(agents.step)
        return here.account()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_policy_each_nominal_time_ends_once(
    real_redis: redis.Redis, seed: int
) -> None:
    print(f"seed {seed}")
    ends = lived(real_redis, seed)
    print(ends)
    assert sum(ends.values()) > 150, "too tame"


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 140))
def test_whatever_the_policy_each_nominal_time_ends_once_at_length(
    real_redis: redis.Redis, seed: int
) -> None:
    lived(real_redis, seed)
