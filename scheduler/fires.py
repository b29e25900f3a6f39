"""Makes the fires that are due. Any number of schedulers may run it at once, or none for a day:
each fire is one compare-and-set in the workspace's slot, so it is made once or accounted as missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from app.core import doorbell, keys, schedules, scripts
from app.core.errors import TurnkeeperError
from app.core.platform import Platform
from app.core.schedules import NextFire, Schedule, cron_next

BATCH = 500
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Due:
    """A schedule and the nominal time that stands for it in its workspace; None: not there."""

    member: keys.DueMember
    schedule: Schedule | None
    nominal_ms: int | None


def fire_due(platform: Platform, next_fire: NextFire = cron_next) -> int:
    """Make every fire that is due now; returns how many were made.

    The list of due schedules is a hint; what stands in the workspace decides.
    """
    made = 0
    while not platform.stopping.is_set():
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
    for due in _read(platform, members):
        schedule, nominal = due.schedule, due.nominal_ms
        if schedule is None or nominal is None:
            gone.append(str(due.member))
        elif nominal + schedule.jitter_ms > now:
            hints[str(due.member)] = nominal + schedule.jitter_ms
        else:
            following = next_fire(schedule.cron_expr, schedule.timezone, nominal)
            args = schedules.fire_args(platform, schedule, nominal, following, "make", now)
            calls.append((due.member.workspace_id, platform.with_limits("fire", args)))
            called.append((due, schedule, following))
    replies = scripts.call_many(platform.clients.data, "fire", calls) if calls else []
    rings, made = _settle(called, replies, hints)
    if hints:
        platform.clients.control.zadd(keys.DUE, hints)
    if gone:
        platform.clients.control.zrem(keys.DUE, *gone)
    for workspace_id in rings:
        doorbell.ring(platform, workspace_id)
    return made


def _settle(
    called: Sequence[tuple[Due, Schedule, int]],
    replies: Sequence[list[Any] | TurnkeeperError],
    hints: dict[str, float],
) -> tuple[set[str], int]:
    """Read the replies: whom to ring, how many were made; fills in when to look next."""
    rings, made = set(), 0
    for (due, schedule, following), reply in zip(called, replies, strict=True):
        if isinstance(reply, TurnkeeperError):  # changed or removed meanwhile: read again at once
            log.info("fire not made", schedule_id=schedule.id, code=reply.code)
            continue
        outcome = reply[0]
        if outcome in ("moved", "early"):  # another scheduler made it, or a clock runs ahead
            hints[str(due.member)] = float(reply[1] or following) + schedule.jitter_ms
            continue
        hints[str(due.member)] = following + schedule.jitter_ms
        made += outcome == "made"
        if outcome == "made" and reply[2]:
            rings.add(due.member.workspace_id)
        if outcome != "made":
            log.warning("fire not queued", schedule_id=schedule.id, outcome=outcome)
    return rings, made


def _read(platform: Platform, members: Sequence[keys.DueMember]) -> list[Due]:
    pipe = platform.clients.data.pipeline(transaction=False)
    for member in members:
        own = keys.of(member.workspace_id)
        pipe.hget(own["schedules"], member.schedule_id)
        pipe.zscore(own["due"], member.schedule_id)
    rows = iter(pipe.execute())
    found = []
    for member in members:
        text, score = next(rows), next(rows)
        schedule = Schedule.parse(text) if text else None
        found.append(Due(member, schedule, None if score is None else int(score)))
    return found
