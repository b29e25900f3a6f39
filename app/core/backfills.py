"""Backfills: the fires of a range that has passed, made after the fact, below everything live.

A backfill is named by its schedule, its times and its range, so the same request again goes on
where the last one stopped: at a full queue, or where its process died. How far it has come is
written by the script that makes its fires.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from app.core import cron, doorbell, keys, ledger, schedules
from app.core.errors import InvalidInput
from app.core.platform import Platform
from app.core.schedules import Schedule
from app.core.settings import env_name
from app.core.states import TERMINAL

LANE = "info"
AT_ONCE = 50
RECORD = (
    *("id", "schedule_id", "start", "end", "overlap_policy", "requested_count", "created_at"),
)


@dataclass(frozen=True)
class Backfill:
    """A backfill and how far it has come. Times are ms; ``end`` is not included.

    ``already``: nominal times that had a turn before it. ``ended``: how many by each end.
    ``stopped``: the limit that ended this request before the range was made.
    """

    id: str
    schedule_id: str
    start: int
    end: int
    overlap_policy: str
    requested_count: int
    created_at: int
    made_count: int = 0
    already_count: int = 0
    waiting_count: int = 0
    running_count: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    stopped: Mapping[str, Any] | None = None

    @property
    def share_done(self) -> float:
        """From 0 to 1; what was there already counts as done."""
        done = self.already_count + sum(self.ended.values())
        return done / self.requested_count if self.requested_count else 1.0


@dataclass(frozen=True)
class Wish:
    """The range that is asked for, in ms, ``end_ms`` not included."""

    start_ms: int
    end_ms: int
    overlap_policy: str = "buffer_all"
    is_dry_run: bool = False


def make(platform: Platform, workspace_id: str, schedule_id: str, wish: Wish) -> Backfill:
    """Make the fires of a range; a repeat goes on where the last one stopped.

    Raises:
        ScheduleNotFound.
        InvalidInput: no range, not passed yet, or more fires than ``backfill_max_count``.
    """
    schedule, now = schedules.get(platform, workspace_id, schedule_id), platform.now_ms()
    times = _times(platform, schedule, wish, now)
    asked = Backfill(
        id=_name(schedule, wish),
        schedule_id=schedule_id,
        start=wish.start_ms,
        end=wish.end_ms,
        overlap_policy=wish.overlap_policy,
        requested_count=len(times),
        created_at=now,
    )
    if wish.is_dry_run:
        rows = ledger.at(platform, workspace_id, schedule_id, times)
        return replace(asked, already_count=sum(bool(row and row.turn_id) for row in rows))
    if not times:
        return asked
    done = platform.clients.data.hget(keys.of(workspace_id)["backfills"], f"{asked.id}:done")
    left = [nominal_ms for nominal_ms in times if nominal_ms > int(done or 0)]
    is_full = not all(
        _make_some(platform, schedule, asked, left[at : at + AT_ONCE])
        for at in range(0, len(left), AT_ONCE)
    )
    found = next(one for one in listing(platform, workspace_id, schedule_id) if one.id == asked.id)
    return replace(found, stopped=_bound(platform)) if is_full else found


def _times(platform: Platform, schedule: Schedule, wish: Wish, now: int) -> list[int]:
    if wish.start_ms >= wish.end_ms:
        raise InvalidInput("end", "must be later than start")
    if wish.end_ms > now:
        raise InvalidInput("end", "must not lie in the future: what is not due yet is made in time")
    parsed = cron.parse(schedule.cron_expr, schedule.timezone)
    most, setting = platform.settings.backfill_max_count, env_name("backfill_max_count")
    times = cron.fires_between(parsed, wish.start_ms, wish.end_ms, most + 1)
    if len(times) > most:
        raise InvalidInput(
            "end",
            f"at most {most} fires in one backfill ({setting}); this range has more",
            mechanism="backfill_max",
            limit_count=most,
            measured_count=len(times),
            setting=setting,
        )
    return times


def _name(schedule: Schedule, wish: Wish) -> str:
    said = (schedule.id, schedule.cron_expr, schedule.timezone, wish.start_ms, wish.end_ms)
    return "bkf_" + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:26].upper()


def _bound(platform: Platform) -> dict[str, Any]:
    return {
        "mechanism": "queue_depth",
        "limit_count": platform.settings.queue_depth_max,
        "setting": env_name("queue_depth_max"),
    }


def _make_some(platform: Platform, schedule: Schedule, asked: Backfill, times: list[int]) -> bool:
    """One step; False where the queue had no room for all of them."""
    record = {"backfill_id": asked.id, "overlap_policy": asked.overlap_policy}
    kept = {name: value for name, value in asdict(asked).items() if name in RECORD}
    args = schedules.fire_args(
        platform, schedule, [*times, times[-1]], "backfill", asked.created_at
    ) | {
        "lane": LANE,
        "record": json.dumps(record),
        "expires_in_ms": None,
        "backfill_id": asked.id,
        "backfill": json.dumps(kept),
    }
    _, _, runnable, _, *outcomes = platform.run("fire", schedule.workspace_id, **args)
    if runnable and "made" in outcomes:
        doorbell.ring(platform, schedule.workspace_id)
    return "full" not in outcomes


def listing(platform: Platform, workspace_id: str, schedule_id: str) -> list[Backfill]:
    """The backfills of a schedule, the newest first."""
    stored = platform.clients.data.hgetall(keys.of(workspace_id)["backfills"])
    records = [json.loads(text) for name, text in stored.items() if ":" not in name]
    found = [_read(record, stored) for record in records if record["schedule_id"] == schedule_id]
    return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)


def _read(record: Mapping[str, Any], stored: Mapping[str, str]) -> Backfill:
    def count(name: str) -> int:
        return int(stored.get(f"{record['id']}:{name}", 0))

    return Backfill(
        **{name: record[name] for name in RECORD},
        made_count=count("made"),
        already_count=count("already"),
        waiting_count=count("queued"),
        running_count=count("running"),
        ended={state: count(state) for state in sorted(TERMINAL) if count(state)},
    )
