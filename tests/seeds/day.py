"""Six hours of report A in one thread and virtual time, and an agent that can be held busy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.core import capacity, keys, schedules, sessions
from app.core.platform import Platform
from app.core.sessions import Claim
from scheduler import fires
from tests.support.world import new_workspace
from workers import reaper
from workers.deliver import visit

WORKSPACE = "seo"
STEP_S, BEAT_S, WORK_S = 15, 30, 60
OPENS = datetime(2026, 3, 1, 11, 59, 45, tzinfo=UTC)
BEGINS = OPENS.replace(hour=12, minute=0, second=15)
LET_GO = OPENS.replace(hour=18, minute=10, second=15)

Dispatch = Callable[["Day"], None]


@dataclass(frozen=True)
class Given:
    """What one session was given, and how many sessions were live at that moment."""

    claim: Claim
    prompt: str
    prompt_version: int
    live_count: int


def fire_and_queue(day: "Day") -> None:
    """The product's way: fires are queued, whoever is busy."""
    fires.fire_due(day.platform)


@dataclass
class Day:
    """The workspace, its schedule, its agent. ``dispatch`` makes the fires."""

    platform: Platform
    is_foreign: bool
    dispatch: Dispatch = fire_and_queue
    is_held: bool = True
    given: list[Given] = field(default_factory=list)
    running: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    schedule: schedules.Schedule = field(init=False)

    def __post_init__(self) -> None:
        new_workspace(self.platform, WORKSPACE, ceiling_s=0)
        if self.is_foreign:  # the session was begun outside, so no fire of ours is in it
            self.wait_until(BEGINS)
        self.schedule = schedules.create(
            self.platform,
            WORKSPACE,
            {"name": "seo-tick", "cron_expr": "*/30 * * * *", "timezone": "UTC", "prompt": "old"},
        )

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        """The adapter: hands the turn to the agent, which begins at once."""
        session = claim.session
        sessions.bind(platform, workspace_id, session, bound, inbox=False)
        sessions.deliver(platform, workspace_id, session.id, session.fence)
        sessions.start(platform, workspace_id, session.id, session.fence, "agent")
        live = len(sessions.live(platform, workspace_id))
        self.given.append(Given(claim, bound["prompt"], bound["prompt_version"], live))
        self.running[session.id] = (session.fence, self.now)

    def wait_until(self, at: datetime) -> None:
        self.platform.clock.wait(self.platform.stopping, (at - self.now).total_seconds())

    def run_to(self, end: datetime) -> None:
        """Fires, beats, reaps and rings, every fifteen seconds."""
        while self.now < end:
            self.wait_until(self.now + timedelta(seconds=STEP_S))
            self.dispatch(self)
            self._work()
            if int((self.now - BEGINS).total_seconds()) % BEAT_S == 0:
                self.beat()
            reaper.reap(self.platform)
            self._answer_the_door()

    def beat(self) -> None:
        """The field platform's heartbeat: it counts, it names nothing."""
        active = len(self.running) + (self.is_held and self.is_foreign)
        capacity.heartbeat(self.platform, WORKSPACE, capacity.Beat(active_tasks=active))

    def finish_all(self) -> None:
        """Every running session ends by itself."""
        for session_id, (fence, _) in list(self.running.items()):
            sessions.finish(self.platform, WORKSPACE, session_id, fence, "completed", {"text": "d"})
            del self.running[session_id]

    def _work(self) -> None:
        """A session that is not held takes a minute."""
        done = self.now - timedelta(seconds=WORK_S)
        if not self.is_held and any(began <= done for _, began in self.running.values()):
            self.finish_all()

    def _answer_the_door(self) -> None:
        while rung := self.platform.clients.control.zpopmin(keys.READY):
            visit(self.platform, self, rung[0][0])

    def ledger(self) -> list[schedules.Fire]:
        """Every fire, oldest first."""
        return schedules.fires(self.platform, WORKSPACE, self.schedule.id, 1000)[::-1]
