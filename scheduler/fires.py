"""Makes the fires that are due. Any number of schedulers may run it at once, or none for a day:
each fire is one compare-and-set in the workspace's slot, so it is made once or accounted as missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from app.core import doorbell, keys, schedules, scripts
from app.core.errors import ScheduleChanged, ScheduleNotFound, TurnkeeperError
from app.core.platform import Platform
from app.core.schedules import NextFire, Schedule, cron_next, ends_other, preempts_within_s

BATCH = 500
PASS_S = 5.0  # after a long absence: the reaper's tick waits behind this one
BROKEN_MS = 60_000
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Due:
    """A schedule and the nominal time that stands for it in its workspace; None: not there."""

    member: keys.DueMember
    schedule: Schedule | None
    nominal_ms: int | None


def fire_due(platform: Platform, next_fire: NextFire = cron_next) -> int:
    """Make every fire that is due now; returns how many were made.

    The list of due schedules is a hint; what stands in the workspace decides. After ``PASS_S``
    the rest is left to the next tick.
    """
    made, clock = 0, platform.clock
    end = clock.monotonic() + PASS_S
    while not platform.stopping.is_set() and clock.monotonic() < end:
        now = platform.now_ms()
        members = platform.clients.control.zrangebyscore(keys.DUE, "-inf", now, start=0, num=BATCH)
        if not members:
            break
        made += _batch(platform, [keys.DueMember.parse(text) for text in members], now, next_fire)
    return made


def _batch(
    platform: Platform, members: Sequence[keys.DueMember], now: int, next_fire: NextFire
) -> int:
    calls: list[tuple[str, dict[str, Any]]] = []
    called: list[tuple[Due, Schedule, int]] = []
    hints: dict[str, float] = {}
    gone: list[str] = []
    for due in _read(platform, members, hints, now):
        schedule, nominal = due.schedule, due.nominal_ms
        if schedule is None or nominal is None:
            gone.append(str(due.member))
            continue
        if nominal + schedule.jitter_ms > now:
            hints[str(due.member)] = nominal + schedule.jitter_ms
            continue
        try:
            following = next_fire(schedule.cron_expr, schedule.timezone, nominal)
        except TurnkeeperError as error:  # a zone that left the database, say
            _set_aside(due.member, hints, now, error)
            continue
        args = schedules.fire_args(platform, schedule, nominal, following, "make", now)
        calls.append((due.member.workspace_id, platform.with_limits("fire", args)))
        called.append((due, schedule, following))
    replies = scripts.call_many(platform.clients.data, "fire", calls) if calls else []
    rings, looks, made = _settle(called, replies, hints, now)
    if hints:
        platform.clients.control.zadd(keys.DUE, hints)
    if gone:
        platform.clients.control.zrem(keys.DUE, *gone)
    for workspace_id in rings:
        doorbell.ring(platform, workspace_id)
    for workspace_id, within_s in looks.items():
        doorbell.watch(platform, workspace_id, within_s)
    return made


def _set_aside(member: keys.DueMember, hints: dict[str, float], now: int, error: Exception) -> None:
    """One schedule that cannot be read must not stop the others: it is tried again later."""
    log.error("schedule set aside", schedule_id=member.schedule_id, error=str(error))
    hints[str(member)] = now + BROKEN_MS


def _settle(
    called: Sequence[tuple[Due, Schedule, int]],
    replies: Sequence[list[Any] | TurnkeeperError],
    hints: dict[str, float],
    now: int,
) -> tuple[set[str], dict[str, float], int]:
    """Read the replies: whom to ring, within how long the reaper must look whether a fire that
    found no room preempts (at once where its policy ends a running one), how many were made;
    fills in when to look next."""
    rings: set[str] = set()
    looks: dict[str, float] = {}
    made = 0
    for (due, schedule, following), reply in zip(called, replies, strict=True):
        if isinstance(reply, ScheduleChanged | ScheduleNotFound):  # meanwhile: read again at once
            log.info("fire not made", schedule_id=schedule.id, code=reply.code)
            continue
        if isinstance(reply, TurnkeeperError):
            _set_aside(due.member, hints, now, reply)
            continue
        outcome = reply[0]
        if outcome in ("moved", "early"):  # another scheduler made it, or a clock runs ahead
            hints[str(due.member)] = float(reply[1] or following) + schedule.jitter_ms
            rings.add(due.member.workspace_id)  # who made it may have died before its ring
            if ends_other(schedule):
                looks[due.member.workspace_id] = 0
            continue
        hints[str(due.member)] = following + schedule.jitter_ms
        made += outcome == "made"
        if outcome != "made":
            log.warning("fire not queued", schedule_id=schedule.id, outcome=outcome)
            continue
        if reply[2]:
            rings.add(due.member.workspace_id)
        within_s = None if reply[2] else preempts_within_s(schedule, due.nominal_ms or now) or None
        if ends_other(schedule):
            within_s = 0
        if within_s is not None:
            known_s = looks.get(due.member.workspace_id, within_s)
            looks[due.member.workspace_id] = min(within_s, known_s)
    return rings, looks, made


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
