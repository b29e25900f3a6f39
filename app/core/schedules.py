"""Schedules: their records, their fires, and the ledger that says what became of each fire."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.core import cron, doorbell, ids, keys
from app.core.clock import rfc3339
from app.core.errors import ScheduleNotFound
from app.core.platform import Platform
from app.core.records import Turn
from app.core.states import TERMINAL

NextFire = Callable[[str, str, int], int]
CADENCE_MAX_S = 3600.0
ENDS_OTHER = ("cancel_other", "terminate_other")
LATEST_LOOK_S = 1.0


def cron_next(cron_expr: str, timezone: str, after_ms: int) -> int:
    """The usual source of fire times; tests pass another where cron is too coarse."""
    return cron.next_fire(cron.parse(cron_expr, timezone), after_ms)


@dataclass(frozen=True)
class Schedule:
    """A schedule as stored. ``version`` counts every change, ``prompt_version`` the prompt's."""

    id: str
    workspace_id: str
    name: str
    cron_expr: str
    timezone: str
    prompt: str
    enabled: bool = True
    created_at: int = 0
    updated_at: int = 0
    version: int = 0
    prompt_version: int = 1
    paused_reason: str = ""
    catchup_window_s: float | None = None
    window_s: float = 0
    ttl_s: float | None = None
    ceiling_s: float | None = None
    idle_timeout_s: float | None = None
    stall_after_s: float | None = None
    preempt: str = "cron"
    preempt_after_s: float | None = None
    overlap_policy: str = "buffer_all"
    session_mode: str = "fresh"
    pause_on_failure_count: int = 0
    retries: int = 0
    redeliver: str | None = None
    on_policy_change: str = "off"
    notes: str = ""

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        known = cls.__dataclass_fields__
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})

    @property
    def jitter_ms(self) -> int:
        """How long after each nominal time this schedule's fires are made."""
        return cron.jitter_ms(self.id, self.window_s) if self.window_s else 0


@dataclass(frozen=True)
class Fire:
    """One row of the ledger.

    ``into``: the fire that ran in the stead of a coalesced one; ``behind``: the one whose run a
    skipped fire found unfinished. Each is a turn id and a nominal time.
    """

    schedule_id: str
    nominal_at: int
    state: str
    at: int
    turn_id: str | None = None
    session_id: str | None = None
    started_at: int | None = None
    reason: str | None = None
    origin: str | None = None
    into: Mapping[str, Any] | None = None
    behind: Mapping[str, Any] | None = None


def create(platform: Platform, workspace_id: str, fields: Mapping[str, Any]) -> Schedule:
    """Add a schedule; its first fire is the next nominal time from now.

    Raises:
        InvalidInput: the expression or the zone is not one.
        WorkspaceNotFound, WorkspaceRemoved.
    """
    now = platform.now_ms()
    schedule = Schedule(
        id=ids.new("sch"), workspace_id=workspace_id, created_at=now, updated_at=now, **fields
    )
    return _put(platform, schedule, now, policy_changed=False)


def change(
    platform: Platform, workspace_id: str, schedule_id: str, fields: Mapping[str, Any]
) -> Schedule:
    """Change some fields. Fires that wait already carry the new prompt: it is read at the claim.

    Raises:
        ScheduleNotFound, ScheduleChanged, InvalidInput.
    """
    old, now = get(platform, workspace_id, schedule_id), platform.now_ms()
    is_new_prompt = fields.get("prompt", old.prompt) != old.prompt
    schedule = replace(
        old, **fields, updated_at=now, prompt_version=old.prompt_version + is_new_prompt
    )
    if schedule.enabled:
        schedule = replace(schedule, paused_reason="")
    same_times = (schedule.cron_expr, schedule.timezone) == (old.cron_expr, old.timezone)
    next_ms = _due_at(platform, schedule) if same_times and old.enabled else None
    return _put(platform, schedule, now, is_new_prompt, next_ms)


def _due_at(platform: Platform, schedule: Schedule) -> int | None:
    score = platform.clients.data.zscore(keys.of(schedule.workspace_id)["due"], schedule.id)
    return None if score is None else int(score)


def _put(
    platform: Platform,
    schedule: Schedule,
    now: int,
    policy_changed: bool,
    next_ms: int | None = None,
) -> Schedule:
    first = cron_next(schedule.cron_expr, schedule.timezone, now)
    next_ms = (next_ms or first) if schedule.enabled else None
    stored = replace(schedule, version=schedule.version + 1)
    record = {name: value for name, value in asdict(stored).items() if value is not None}
    if schedule.version and ends_other(schedule):  # as in run_now
        doorbell.watch(platform, schedule.workspace_id, LATEST_LOOK_S)
    platform.run(
        "schedule_put",
        schedule.workspace_id,
        schedule_id=schedule.id,
        version=schedule.version,
        record=json.dumps(record, ensure_ascii=False),
        next_ms=next_ms,
        policy_changed=policy_changed,
    )
    hint_due(platform, stored, next_ms)
    if schedule.version:  # a limit, or what a waiting fire bears, may be another now
        doorbell.watch(platform, schedule.workspace_id, 0)
    return stored


def hint_due(platform: Platform, schedule: Schedule, next_ms: int | None) -> None:
    """Tell the control side when to look at this schedule next."""
    member = str(keys.DueMember(schedule.workspace_id, schedule.id))
    if next_ms is None:
        platform.clients.control.zrem(keys.DUE, member)
    else:
        platform.clients.control.zadd(keys.DUE, {member: next_ms + schedule.jitter_ms})


def remove(platform: Platform, workspace_id: str, schedule_id: str) -> None:
    """Remove a schedule and cancel its fires that wait; a running one goes on.

    Raises:
        ScheduleNotFound.
    """
    schedule = get(platform, workspace_id, schedule_id)
    platform.run("schedule_remove", workspace_id, schedule_id=schedule_id)
    hint_due(platform, schedule, None)
    for fire in fires(platform, workspace_id, schedule_id, 1_000_000):
        if fire.state == "queued" and fire.turn_id:
            platform.run("cancel", workspace_id, turn_id=fire.turn_id, reason="schedule removed")


def get(platform: Platform, workspace_id: str, schedule_id: str) -> Schedule:
    """One schedule.

    Raises:
        ScheduleNotFound.
    """
    text = platform.clients.data.hget(keys.of(workspace_id)["schedules"], schedule_id)
    if text is None:
        raise ScheduleNotFound(schedule_id=schedule_id)
    return Schedule.parse(text)


def listing(platform: Platform, workspace_id: str) -> list[Schedule]:
    """A workspace's schedules, oldest first."""
    texts = platform.clients.data.hvals(keys.of(workspace_id)["schedules"])
    return sorted((Schedule.parse(text) for text in texts), key=lambda schedule: schedule.id)


def fire_args(
    platform: Platform, schedule: Schedule, nominal_ms: int, next_ms: int, mode: str, now_ms: int
) -> dict[str, Any]:
    """The arguments of ``fire.lua`` for one nominal time."""
    window_s, window_setting = schedule.catchup_window_s, "schedule.catchup_window_s"
    if window_s is None:
        window_s = platform.settings.catchup_window_s
        window_setting = "TURNKEEPER_CATCHUP_WINDOW_S"
    life_setting = window_setting if schedule.ttl_s is None else "schedule.ttl_s"
    has_cadence = next_ms > nominal_ms
    cadence_s = min((next_ms - nominal_ms) / 1000, CADENCE_MAX_S)
    max_wait_s = cadence_s if has_cadence else platform.settings.lane_max_wait_s
    if mode == "make" and now_ms - nominal_ms > window_s * 1000:
        mode = "missed"
    return {
        "schedule_id": schedule.id,
        "version": schedule.version,
        "nominal_ms": nominal_ms,
        "next_ms": next_ms,
        "mode": mode,
        "reason": "no scheduler made it in time" if mode == "missed" else "",
        "limit_ms": round(window_s * 1000),
        "limit_setting": window_setting,
        "turn_id": ids.of_fire(schedule.id, nominal_ms),
        "lane": "cron",
        "body": json.dumps({"schedule_id": schedule.id, "schedule": schedule.name}),
        "record": json.dumps({"expires_setting": life_setting}),
        "max_wait_ms": round(max_wait_s * 1000),
        "expires_in_ms": round(1000 * (window_s if schedule.ttl_s is None else schedule.ttl_s)),
    }


def preempt_after(schedule: Schedule, nominal_ms: int) -> tuple[int, str]:
    """How long a fire waits, in ms, before the session in its way must wrap up, and whose
    setting that is: the schedule's own, else one cadence; 0: never."""
    if schedule.preempt_after_s is not None:
        return round(schedule.preempt_after_s * 1000), "schedule.preempt_after_s"
    parsed = cron.parse(schedule.cron_expr, schedule.timezone)
    return round(cron.cadence_s(parsed, nominal_ms) * 1000), "schedule.cron_expr"


def preempts_within_s(schedule: Schedule, nominal_ms: int) -> float:
    """When the reaper must look at a fire that found no room; 0: never."""
    after_ms, _ = preempt_after(schedule, nominal_ms)
    return after_ms / 1000 if schedule.preempt != "off" else 0


def ends_other(schedule: Schedule) -> bool:
    """Whether its waiting fire ends a running one, so that the reaper must look at once."""
    return schedule.overlap_policy in ENDS_OTHER


def waiting_by_policy(platform: Platform, schedule: Schedule) -> dict[str, int]:
    """How many never claimed fires wait under each policy that ends a running one: under the
    schedule's own as it is now, or under one that the fire carries."""
    key = keys.of(schedule.workspace_id)["fires_waiting"]
    pipe = platform.clients.data.pipeline(transaction=False)
    for own in ("", *ENDS_OTHER):
        pipe.zlexcount(key, f"[{schedule.id}|{own}|", f"({schedule.id}|{own}}}")
    by_schedule, *by_own = pipe.execute()
    counts = dict(zip(ENDS_OTHER, by_own, strict=True))
    if ends_other(schedule):
        counts[schedule.overlap_policy] += by_schedule
    return counts


def is_outlasted(platform: Platform, workspace_id: str, turn: Turn) -> bool:
    """Whether the fire came due before its schedule's last run had ended: ``skip`` skips it."""
    text = platform.clients.data.hget(keys.of(workspace_id)["last_runs"], turn.schedule_id)
    due_at = turn.nominal_at if turn.fire_origin == "make" else turn.accepted_at
    return bool(text and due_at is not None and due_at < json.loads(text)["ended_at"])


def run_now(platform: Platform, workspace_id: str, schedule_id: str) -> Fire:
    """Fire a schedule once, now, beside its times.

    Raises:
        ScheduleNotFound.
    """
    schedule, now = get(platform, workspace_id, schedule_id), platform.now_ms()
    args = fire_args(platform, schedule, now, now, "manual", now)
    if ends_other(schedule):  # first: a death right after the fire leaves it not unseen
        doorbell.watch(platform, workspace_id, LATEST_LOOK_S)
    reply = platform.run("fire", workspace_id, **args)
    if ends_other(schedule):
        doorbell.watch(platform, workspace_id, 0)
    if reply[0] == "made" and reply[2]:
        doorbell.ring(platform, workspace_id)
    elif within_s := preempts_within_s(schedule, now):
        doorbell.watch(platform, workspace_id, within_s)
    made = fires(platform, workspace_id, schedule_id, 100)
    return next(fire for fire in made if fire.nominal_at == now)


def fires(platform: Platform, workspace_id: str, schedule_id: str, limit: int) -> list[Fire]:
    """The ledger of a schedule, newest nominal time first."""
    own, data = keys.of(workspace_id), platform.clients.data
    rows = data.zrevrangebylex(
        own["fire_index"], f"[{schedule_id};", f"[{schedule_id}:", start=0, num=limit
    )
    if not rows:
        return []
    found = []
    for row, text in zip(rows, data.hmget(own["fires"], rows), strict=True):
        if text:
            names = Fire.__dataclass_fields__
            stored = {name: value for name, value in json.loads(text).items() if name in names}
            found.append(
                Fire(schedule_id=schedule_id, nominal_at=int(row.rsplit(":", 1)[1]), **stored)
            )
    return found


def row(platform: Platform, schedule: Schedule) -> dict[str, Any]:
    """A schedule as the field platform shows one; what happened is read from the ledger."""
    own, data = keys.of(schedule.workspace_id), platform.clients.data
    ended = next(
        (
            fire
            for fire in fires(platform, schedule.workspace_id, schedule.id, 100)
            if fire.state in TERMINAL and fire.started_at
        ),
        None,
    )
    due_ms = data.zscore(own["due"], schedule.id)
    shown = asdict(schedule)
    for name in ("created_at", "updated_at"):
        shown[name] = rfc3339(shown[name])
    return shown | {
        "next_run_at": rfc3339(due_ms),
        "run_count": int(data.hget(own["run_counts"], schedule.id) or 0),
        "last_run_at": rfc3339(ended.started_at) if ended else None,
        "last_status": ended.state if ended else None,
        "last_error": _error_of(platform, schedule.workspace_id, ended) if ended else None,
    }


def _error_of(platform: Platform, workspace_id: str, fire: Fire) -> str | None:
    if fire.state == "completed" or not fire.turn_id:
        return None
    stored = platform.clients.data.hget(keys.of(workspace_id)["results"], fire.turn_id)
    error = (json.loads(stored).get("error") if stored else None) or {}
    return error.get("message") or fire.reason


def health(platform: Platform, schedule: Schedule, now_ms: int) -> dict[str, Any]:
    """``ok``, ``stale`` (nothing made for two intervals) or ``never_run``."""
    newest = next(iter(fires(platform, schedule.workspace_id, schedule.id, 1)), None)
    cadence_s = cron.cadence_s(cron.parse(schedule.cron_expr, schedule.timezone), now_ms)
    # A change (a resume, another cron expression) starts the count again.
    since = max(newest.nominal_at if newest else 0, schedule.updated_at)
    is_stale = schedule.enabled and now_ms - since > 2 * cadence_s * 1000
    waiting = [
        fire
        for fire in fires(platform, schedule.workspace_id, schedule.id, 1000)
        if fire.state == "queued"
    ]
    return {
        "schedule_id": schedule.id,
        "workspace_id": schedule.workspace_id,
        "name": schedule.name,
        "enabled": schedule.enabled,
        "status": "stale" if is_stale else "ok" if newest else "never_run",
        "interval_s": cadence_s,
        "last_fire_at": rfc3339(newest.nominal_at) if newest else None,
        "last_state": newest.state if newest else None,
        "waiting_fires": len(waiting),
    }
