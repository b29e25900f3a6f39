"""Makes the fires that are due. Any number of schedulers may run it at once, or none for a day:
each fire is one compare-and-set in the workspace's slot, so it is made once or accounted as missed.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import structlog

from app.core import doorbell, keys, schedules, scripts
from app.core.errors import ScheduleChanged, ScheduleNotFound, TurnkeeperError
from app.core.platform import Platform
from app.core.schedules import NextFire, Schedule, cron_next, ends_other, preempts_within_s

BATCH = 500  # schedules due within the last minute that one round serves
BEHIND_BATCH = 20  # schedules with a backlog that one round serves beside them
BEHIND_MS = 60_000
BEHIND_MOST = 10_000  # of them in one pass
CHUNK = 50  # nominal times of one schedule made in one step
PASS_S = 5.0  # after a long absence: the reaper's tick waits behind this one
BROKEN_MS = schedules.BROKEN_MS
NEXT_KEPT = 65_536
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Due:
    """A schedule and the nominal time that stands for it in its workspace; None: not there."""

    member: keys.DueMember
    schedule: Schedule | None
    nominal_ms: int | None


def fire_due(platform: Platform, next_fire: NextFire = cron_next) -> int:
    """Make every fire that is due now; returns how many were made.

    The list of due schedules is a hint; what stands in the workspace decides. Each round serves
    those that are due now and a few that are behind, some of their times each, in turn: after a
    day without a scheduler nobody's fire of this minute waits for somebody's of yesterday. After
    ``PASS_S`` the rest is left to the next tick.
    """
    made, clock, following = 0, platform.clock, lru_cache(maxsize=NEXT_KEPT)(next_fire)
    end, behind = clock.monotonic() + PASS_S, _behind(platform, platform.now_ms())
    while not platform.stopping.is_set() and clock.monotonic() < end:
        now = platform.now_ms()
        late = [behind.popleft() for _ in range(min(BEHIND_BATCH, len(behind)))]
        live = platform.clients.control.zrangebyscore(
            keys.DUE, now - BEHIND_MS, now, start=0, num=BATCH
        )
        if not live and not late:
            break
        round_of = _Round(platform, now, following)
        made += round_of.serve([keys.DueMember.parse(text) for text in dict.fromkeys(live + late)])
        behind.extend(text for text in late if round_of.is_behind(text))
    return made


def _behind(platform: Platform, now: int) -> deque[str]:
    """The schedules with a backlog; each pass begins elsewhere among them, so that those at the
    end have their turn too where a pass does not reach them all."""
    found = platform.clients.control.zrangebyscore(
        keys.DUE, "-inf", f"({now - BEHIND_MS}", start=0, num=BEHIND_MOST
    )
    rows = deque(found)
    rows.rotate(-(now // 1000))
    return rows


@dataclass
class _Round:
    """One round trip of reads and one of scripts over some schedules."""

    platform: Platform
    now: int
    next_fire: NextFire
    hints: dict[str, float] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    rings: set[str] = field(default_factory=set)
    looks: dict[str, float] = field(default_factory=dict)

    def is_behind(self, member: str) -> bool:
        """Whether more of this schedule's backlog is left to make."""
        return member not in self.gone and self.hints.get(member, 0) < self.now - BEHIND_MS

    def serve(self, members: Sequence[keys.DueMember]) -> int:
        """Make what is due of them; returns how many fires were made."""
        platform = self.platform
        calls: list[tuple[str, dict[str, Any]]] = []
        called: list[tuple[Due, Schedule]] = []
        for due in _read(platform, members, self.hints, self.now):
            times = self._times(due)
            if due.schedule is not None and times:
                args = schedules.fire_args(platform, due.schedule, times, "make", self.now)
                calls.append((due.member.workspace_id, platform.with_limits("fire", args)))
                called.append((due, due.schedule))
        replies = scripts.call_many(platform.clients.data, "fire", calls) if calls else []
        made = sum(
            self._settle(due, schedule, reply)
            for (due, schedule), reply in zip(called, replies, strict=True)
        )
        if self.hints:
            platform.clients.control.zadd(keys.DUE, self.hints)
        if self.gone:
            platform.clients.control.zrem(keys.DUE, *self.gone)
        doorbell.ring_many(platform, self.rings)
        doorbell.watch_many(platform, self.looks)
        return made

    def _times(self, due: Due) -> list[int]:
        """The nominal times to make now, oldest first, and the one that follows; none: not yet."""
        schedule, nominal, member = due.schedule, due.nominal_ms, str(due.member)
        if schedule is None or nominal is None:
            self.gone.add(member)
            return []
        latest = self.now - schedule.jitter_ms
        if nominal > latest:
            self.hints[member] = nominal + schedule.jitter_ms
            return []
        times = [nominal]
        try:
            while times[-1] <= latest and len(times) <= CHUNK:
                times.append(self.next_fire(schedule.cron_expr, schedule.timezone, times[-1]))
        except TurnkeeperError as error:  # a zone that left the database, say
            _set_aside(due.member, self.hints, self.now, error)
            return []
        return times

    def _settle(self, due: Due, schedule: Schedule, reply: list[Any] | TurnkeeperError) -> int:
        """Read a reply: when to look next, whom to ring, within how long the reaper must look;
        returns how many fires were made."""
        if isinstance(reply, ScheduleChanged | ScheduleNotFound):  # meanwhile: read again at once
            log.info("fire not made", schedule_id=schedule.id, code=reply.code)
            return 0
        if isinstance(reply, TurnkeeperError):
            _set_aside(due.member, self.hints, self.now, reply)
            return 0
        workspace_id, member = due.member.workspace_id, str(due.member)
        if reply[0] in ("moved", "early"):  # another scheduler made it, or a clock runs ahead
            if reply[1]:
                self.hints[member] = float(reply[1]) + schedule.jitter_ms
            else:  # paused or removed meanwhile
                self.gone.add(member)
            self.rings.add(workspace_id)  # who made it may have died before its ring
            if ends_other(schedule):
                self.looks[workspace_id] = 0.0
            return 0
        _, _, runnable, following, *outcomes = reply
        self.hints[member] = float(following) + schedule.jitter_ms
        made: int = outcomes.count("made")
        if made and runnable:
            self.rings.add(workspace_id)
        if made:
            self._look(workspace_id, schedule, due.nominal_ms or self.now, bool(runnable))
        for outcome in set(outcomes) - {"made"}:
            count = outcomes.count(outcome)
            log.warning("fires not queued", schedule_id=schedule.id, outcome=outcome, count=count)
        return made

    def _look(self, workspace_id: str, schedule: Schedule, nominal_ms: int, runnable: bool) -> None:
        """Have the reaper look when the first of the fires expires, or preempts."""
        within_s = [0.0] if ends_other(schedule) else []
        within_s.append(schedules.expires_within_s(self.platform, schedule))
        if preempts_s := preempts_within_s(self.platform, schedule, nominal_ms, had_room=runnable):
            within_s.append(preempts_s)
        if workspace_id in self.looks:
            within_s.append(self.looks[workspace_id])
        self.looks[workspace_id] = min(within_s)


def _set_aside(member: keys.DueMember, hints: dict[str, float], now: int, error: Exception) -> None:
    """One schedule that cannot be read must not stop the others: it is tried again later."""
    log.error("schedule set aside", schedule_id=member.schedule_id, error=str(error))
    hints[str(member)] = now + BROKEN_MS


def _read(
    platform: Platform, members: Sequence[keys.DueMember], hints: dict[str, float], now: int
) -> list[Due]:
    pipe = platform.clients.data.pipeline(transaction=False)
    for member in members:
        own = keys.of(member.workspace_id)
        pipe.hget(own["schedules"], member.schedule_id)
        pipe.zscore(own["due"], member.schedule_id)
    rows = iter(pipe.execute())
    found = []
    for member in members:
        text, score = next(rows), next(rows)
        try:
            schedule = Schedule.parse(text) if text else None
        except (ValueError, TypeError) as error:  # written by a version this one does not know
            _set_aside(member, hints, now, error)
            continue
        found.append(Due(member, schedule, None if score is None else int(score)))
    return found
