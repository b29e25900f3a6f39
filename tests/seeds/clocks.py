"""A workspace in virtual time: a runtime that beats and polls, and whatever agent it runs.

Time jumps to whatever is due next; the reaper ticks at whole seconds, the agent acts at 0.4 s past
one, so that no deadline falls on a tick by itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis

from app.core import capacity, keys, schedules, sessions, turns
from app.core.events import Event
from app.core.platform import Platform
from app.core.redis_clients import shared
from app.core.sessions import Handover
from scheduler import fires
from tests.support.world import all_events, new_workspace
from workers import reaper
from workers.adapters.inbox import Inbox
from workers.deliver import visit

WS = "ws"
OPENS = datetime(2026, 3, 1, 12, 0, 0, 400_000, tzinfo=UTC)
REAP_S, BEAT_S = 1, 30
NOTE = {"summary": "half of it", "next_step": "the other half"}
EVERY_30_MIN = {"name": "tick", "cron_expr": "*/30 * * * *", "timezone": "UTC", "prompt": "go"}


@dataclass(frozen=True)
class Heard:
    """A directive as the runtime got it, and when (ms)."""

    type: str
    session_id: str
    deadline_at: int
    at: int
    way: str


@dataclass
class Runtime:
    """Beats every 30 s and keeps a poll open; its agent does only what it is told to.

    ``obeys``: directives at which the agent exits with its note. Without any it is deaf.
    """

    platform: Platform
    instance: str = "r"
    slots: int = 1
    obeys: frozenset[str] = frozenset()
    beats: bool = True
    polls: bool = True
    counts_only: bool = False
    running: dict[str, Handover] = field(default_factory=dict)
    handed: list[tuple[int, Handover]] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    beat_fields: dict[str, Any] = field(default_factory=dict)
    next_beat: datetime = OPENS

    def beat(self, **fields: Any) -> capacity.BeatAnswer:
        """One heartbeat: by ids, or by their count."""
        said: dict[str, Any] = {"instance": self.instance, **self.beat_fields, **fields}
        if self.counts_only:
            said.setdefault("active_tasks", len(self.running))
        else:
            said.setdefault("sessions", list(self.running))
        said.setdefault("max_concurrent", self.slots)
        answer = capacity.heartbeat(self.platform, WS, capacity.Beat(**said))
        self._hear(answer.directives, "beat")
        return answer

    def poll(self) -> None:
        """What an open poll brings now."""
        while True:
            room = max(0, self.slots - len(self.running))
            found = sessions.take(self.platform, WS, self.instance, room)
            self._hear(found.directives, "poll")
            if found.handover is None:
                return
            session = found.handover.session
            self.running[session.id] = found.handover
            self.handed.append((self.platform.now_ms(), found.handover))
            sessions.start(self.platform, WS, session.id, session.fence, self.instance)

    def finish(
        self, session_id: str, outcome: str = "completed", note: Mapping[str, Any] | None = None
    ) -> str:
        """The agent's own end."""
        fence = self.running.pop(session_id).session.fence
        return sessions.finish(
            self.platform, WS, session_id, fence, outcome, {"text": f"of {session_id}"}, note
        )

    def _hear(self, directives: Sequence[Mapping[str, Any]], way: str) -> None:
        now = self.platform.now_ms()
        for one in directives:
            told = Heard(one["type"], one["session_id"], one["deadline_at"], now, way)
            is_new = told.type not in {h.type for h in self.of(told.session_id)}
            self.heard.append(told)
            if told.session_id not in self.running:
                continue
            if told.type == "terminate":  # the child is killed, whatever it does
                del self.running[told.session_id]
            elif is_new and told.type in self.obeys:
                self.finish(told.session_id, "yielded", NOTE)

    def of(self, session_id: str, way: str = "") -> list[Heard]:
        """What was heard for one session."""
        return [h for h in self.heard if h.session_id == session_id and way in ("", h.way)]


@dataclass
class Shift:
    """The workspace, its runtimes, the reaper (``reaps``), the dispatcher, the scheduler."""

    platform: Platform
    runtimes: list[Runtime] = field(default_factory=list)
    reaps: bool = True
    loses_rings: bool = False
    reaper_platform: Platform | None = None

    @classmethod
    def opened(
        cls, platform: Platform, workspace: Mapping[str, Any] | None = None, **runtime: Any
    ) -> "Shift":
        """A workspace with one runtime that has beaten once."""
        new_workspace(platform, WS, **(workspace or {}))
        made = cls(platform, [Runtime(platform, **runtime)])
        made.run(0)
        return made

    @property
    def agent(self) -> Runtime:
        return self.runtimes[0]

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def submit(self, origin: str = "chat", **fields: Any) -> str:
        """A turn from one of the three origins, delivered if there is room; its id."""
        if origin == "cron":
            schedule = schedules.create(self.platform, WS, {**EVERY_30_MIN, **fields})
            fire = schedules.run_now(self.platform, WS, schedule.id)
            turn_id = str(fire.turn_id)
        else:
            request = turns.Request(body={"text": "do it"}, origin=origin, **fields)
            turn_id = turns.submit(self.platform, WS, request).turn_id
        self.serve()
        return turn_id

    def begin(self, origin: str = "chat", **fields: Any) -> str:
        """The session of a turn that is delivered at once."""
        turn_id = self.submit(origin, **fields)
        session_id = turns.get(self.platform, WS, turn_id).session_id
        assert session_id is not None, "no room"
        return session_id

    def run(self, seconds: float) -> None:
        """Let time pass; everything acts when it is due."""
        end = self.now + timedelta(seconds=seconds)
        self._act()
        while self.now < end:
            self._wait_until(min(end, self._next()))
            self._act()

    def run_to(self, at_ms: float) -> None:
        self.run(at_ms / 1000 - self.now.timestamp())

    def serve(self) -> None:
        """The dispatcher and the open polls."""
        if self.loses_rings:
            self.platform.clients.control.delete(keys.READY)
        while True:
            while rung := self.platform.clients.control.zpopmin(keys.READY):
                visit(self.platform, Inbox(), rung[0][0])
            for runtime in self.runtimes:
                if runtime.polls:
                    runtime.poll()
            if self.loses_rings or not self.platform.clients.control.zcard(keys.READY):
                return

    def _act(self) -> None:
        fires.fire_due(self.platform)
        for runtime in self.runtimes:
            if runtime.beats and self.now >= runtime.next_beat:
                runtime.next_beat = self.now + timedelta(seconds=BEAT_S)
                runtime.beat()
        if self.reaps and not self.now.microsecond:
            reaper.reap(self.reaper_platform or self.platform)
        self.serve()

    def _next(self) -> datetime:
        """When something is due: a beat, a fire, a deadline at the tick after it."""
        times = [runtime.next_beat for runtime in self.runtimes if runtime.beats]
        control = self.platform.clients.control
        names = [keys.DUE] + ([keys.DEADLINES] if self.reaps else [])
        for name in names:
            first = control.zrange(name, 0, 0, withscores=True)
            if first:
                tick = math.ceil(max(first[0][1] / 1000, self.now.timestamp() + 0.001) / REAP_S)
                times.append(datetime.fromtimestamp(tick * REAP_S, UTC))
        return min(times, default=self.now + timedelta(days=1))

    def _wait_until(self, at: datetime) -> None:
        self.platform.clock.wait(self.platform.stopping, (at - self.now).total_seconds())

    # What came of it.

    def session(self, session_id: str) -> sessions.Session:
        return sessions.get(self.platform, WS, session_id)

    def state_of(self, turn_id: str) -> str:
        return turns.get(self.platform, WS, turn_id).state

    def live(self) -> list[str]:
        return [session.id for session in sessions.live(self.platform, WS)]

    def told(self, name: str, session_id: str = "") -> list[Event]:
        """The events of one name, of one session where it is given."""
        found = all_events(self.platform, WS)
        return [e for e in found if e.event == name and session_id in ("", e.session_id)]

    def one(self, name: str, session_id: str = "") -> Event:
        """The only one of its kind."""
        (event,) = self.told(name, session_id)
        return event

    def status(self) -> str:
        stored = self.platform.clients.data.hget(keys.of(WS)["workspace"], "status")
        return str(stored)


def beside(platform: Platform, client: Any = None) -> Platform:
    """Another process on the same server; ``client``: what it reaches the server through."""
    server = platform.clients.data.connection_pool.connection_kwargs["server"]
    own = fakeredis.FakeRedis(server=server, protocol=2, decode_responses=True)
    rq = fakeredis.FakeRedis(server=server, protocol=2)
    return Platform(platform.settings, shared(client or own, rq), platform.clock)


def at_ms(event: Event) -> int:
    """When an event was appended, in server time."""
    return int(event.id.partition("-")[0])
