"""Schedules: their records, and what makes a fire of one; ``ledger`` says what became of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from app.core import cron, doorbell, ids, keys, ledger
from app.core.errors import InvalidInput, ScheduleNotFound
from app.core.ledger import Fire, fires
from app.core.platform import Platform
from app.core.records import Turn

NextFire = Callable[[str, str, int], int]
CADENCE_MAX_S = 3600.0
NO_AGING_MS = 10 * 365 * 86_400_000  # a fire of a backfill overtakes nobody, however old
ENDS_OTHER = ("cancel_other", "terminate_other")
LATEST_LOOK_S = 1.0
DUE_CHUNK = 50
BROKEN_MS = 60_000  # a schedule that cannot be read is tried again after so long


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


def create(
    platform: Platform, workspace_id: str, fields: Mapping[str, Any], schedule_id: str = ""
) -> Schedule:
    """Add a schedule; its first fire is the next nominal time from now. Without an id it gets one.

    Raises:
        InvalidInput: the expression or the zone is not one.
        WorkspaceNotFound, WorkspaceRemoved.
        ScheduleChanged: a schedule with the given id exists.
    """
    now = platform.now_ms()
    schedule_id = schedule_id or ids.new("sch")
    schedule = Schedule(
        id=schedule_id, workspace_id=workspace_id, created_at=now, updated_at=now, **fields
    )
    return _put(platform, schedule, None, policy_changed=False)


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
    return _put(platform, schedule, old, is_new_prompt, next_ms)


def _due_at(platform: Platform, schedule: Schedule) -> int | None:
    score = platform.clients.data.zscore(keys.of(schedule.workspace_id)["due"], schedule.id)
    return None if score is None else int(score)


def _make_due(platform: Platform, schedule: Schedule) -> None:
    """Make the fires that are due already, as a scheduler would: a change forgets none of them."""
    while (nominal := _due_at(platform, schedule)) is not None:
        now = platform.now_ms()
        if nominal > now:
            return
        times = _times_due(schedule, nominal, now)
        args = fire_args(platform, schedule, times, "make", now)
        reply = platform.run("fire", schedule.workspace_id, **args)
        doorbell.watch(platform, schedule.workspace_id, expires_within_s(platform, schedule))
        if reply[0] == "fired" and reply[2]:
            doorbell.ring(platform, schedule.workspace_id)


def _times_due(schedule: Schedule, nominal_ms: int, now: int) -> list[int]:
    """The nominal times that are due, and the one that follows. Where nobody can say any more
    which that is (its zone left the database), only the first: the owner may mend or remove it."""
    times = [nominal_ms]
    try:
        while times[-1] <= now and len(times) <= DUE_CHUNK:
            times.append(cron_next(schedule.cron_expr, schedule.timezone, times[-1]))
    except InvalidInput:
        return [nominal_ms, now + BROKEN_MS]
    return times


def _put(
    platform: Platform,
    schedule: Schedule,
    old: Schedule | None,
    policy_changed: bool,
    next_ms: int | None = None,
) -> Schedule:
    first = cron_next(schedule.cron_expr, schedule.timezone, schedule.updated_at)
    next_ms = (next_ms or first) if schedule.enabled else None
    stored = replace(schedule, version=schedule.version + 1)
    record = _of_a_newer_release(platform, schedule) if old else {}
    record |= {name: value for name, value in asdict(stored).items() if value is not None}
    if policy_changed:  # first: a death after the change must not hide it from the reaper
        doorbell.watch(platform, schedule.workspace_id, 1)
    if schedule.version and ends_other(schedule):  # as in run_now
        doorbell.watch(platform, schedule.workspace_id, LATEST_LOOK_S)
    args: dict[str, Any] = {
        "schedule_id": schedule.id,
        "version": schedule.version,
        "record": json.dumps(record, ensure_ascii=False),
        "next_ms": next_ms,
        "policy_changed": policy_changed,
    }
    while platform.run("schedule_put", schedule.workspace_id, **args)[0] == "due":
        _make_due(platform, old or schedule)
    hint_due(platform, stored, next_ms)
    if schedule.version:  # a limit, or what a waiting fire bears, may be another now
        doorbell.watch(platform, schedule.workspace_id, 0)
    return stored


def _of_a_newer_release(platform: Platform, schedule: Schedule) -> dict[str, Any]:
    """Fields that this release does not know: a change by it leaves them as they are."""
    text = platform.clients.data.hget(keys.of(schedule.workspace_id)["schedules"], schedule.id)
    stored, known = json.loads(text or "{}"), Schedule.__dataclass_fields__
    return {name: value for name, value in stored.items() if name not in known}


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
    _make_due(platform, schedule)
    platform.run("schedule_remove", workspace_id, schedule_id=schedule_id)
    hint_due(platform, schedule, None)
    for fire in fires(platform, workspace_id, schedule_id, 1_000_000):
        if fire.state == "queued" and fire.turn_id:
            reason = "schedule removed"
            reply = platform.run("cancel", workspace_id, turn_id=fire.turn_id, reason=reason)
            if reply[0] == "canceled" and reply[1]:  # claimed meanwhile: it had the slot
                doorbell.ring(platform, workspace_id)


def get(platform: Platform, workspace_id: str, schedule_id: str) -> Schedule:
    """One schedule.

    Raises:
        ScheduleNotFound.
    """
    text = platform.clients.data.hget(keys.of(workspace_id)["schedules"], schedule_id)
    if text is None:
        raise ScheduleNotFound(schedule_id=schedule_id)
    return Schedule.parse(text)


def get_many(platform: Platform, workspace_id: str, schedule_ids: Sequence[str]) -> list[Schedule]:
    """Those of these schedules that there are."""
    if not schedule_ids:
        return []
    texts = platform.clients.data.hmget(keys.of(workspace_id)["schedules"], schedule_ids)
    return [Schedule.parse(text) for text in texts if text]


def listing(platform: Platform, workspace_id: str) -> list[Schedule]:
    """A workspace's schedules, oldest first."""
    texts = platform.clients.data.hvals(keys.of(workspace_id)["schedules"])
    return sorted((Schedule.parse(text) for text in texts), key=lambda schedule: schedule.id)


def fire_args(
    platform: Platform,
    schedule: Schedule,
    times: Sequence[int],
    mode: str,
    now_ms: int,
    traceparent: str | None = None,
) -> dict[str, Any]:
    """The arguments of ``fire.lua`` for all of ``times`` but the last, which is the nominal time
    that follows them."""
    window_s, window_setting = schedule.catchup_window_s, "schedule.catchup_window_s"
    if window_s is None:
        window_s = platform.settings.catchup_window_s
        window_setting = "TURNKEEPER_CATCHUP_WINDOW_S"
    life_setting = window_setting if schedule.ttl_s is None else "schedule.ttl_s"
    oldest_ms = now_ms - window_s * 1000
    body = {"schedule_id": schedule.id, "schedule": schedule.name}

    def fire(nominal_ms: int, next_ms: int) -> dict[str, Any]:
        cadence_s = min((next_ms - nominal_ms) / 1000, CADENCE_MAX_S)
        max_wait_s = cadence_s if cadence_s > 0 else platform.settings.lane_max_wait_s
        return {
            "nominal": str(nominal_ms),
            "next": str(next_ms),
            "turn_id": ids.of_fire(schedule.id, nominal_ms),
            "max_wait_ms": NO_AGING_MS if mode == "backfill" else round(max_wait_s * 1000),
            "is_missed": mode == "make" and nominal_ms < oldest_ms,
        }

    return {
        "schedule_id": schedule.id,
        "version": schedule.version,
        "fires": json.dumps([fire(*pair) for pair in pairwise(times)]),
        "mode": mode,
        "limit_ms": round(window_s * 1000),
        "limit_setting": window_setting,
        "lane": "cron",
        "body": json.dumps(body | ({"traceparent": traceparent} if traceparent else {})),
        "record": json.dumps({"expires_setting": life_setting}),
        "expires_in_ms": round(1000 * (window_s if schedule.ttl_s is None else schedule.ttl_s)),
        "backfill_id": "",
        "backfill": "",
    }


def expires_within_s(platform: Platform, schedule: Schedule) -> float:
    """The time to live of a schedule's fires: when the reaper must look at one that waits."""
    if schedule.ttl_s is not None:
        return schedule.ttl_s
    window_s = schedule.catchup_window_s
    return platform.settings.catchup_window_s if window_s is None else window_s


def preempt_after(schedule: Schedule, nominal_ms: int) -> tuple[int, str]:
    """How long a fire waits, in ms, before the session in its way must wrap up, and whose
    setting that is: the schedule's own, else one cadence; 0: never."""
    if schedule.preempt_after_s is not None:
        return round(schedule.preempt_after_s * 1000), "schedule.preempt_after_s"
    parsed = cron.parse(schedule.cron_expr, schedule.timezone)
    return round(cron.cadence_s(parsed, nominal_ms) * 1000), "schedule.cron_expr"


def preempts_within_s(
    platform: Platform, schedule: Schedule, nominal_ms: int, *, had_room: bool
) -> float:
    """Within how long the reaper must look whether a fire just made preempts; 0: tell nobody.

    A fire that had room may lose the slot to another. The visit that its ring brings has a look
    come within ``handover_s``, which plans the rest; only what is due before that is told here.
    """
    after_ms, _ = preempt_after(schedule, nominal_ms)
    is_planned = had_room and after_ms > platform.settings.handover_s * 1000
    return 0 if schedule.preempt == "off" or is_planned else after_ms / 1000


def ends_other(schedule: Schedule) -> bool:
    """Whether its waiting fire ends a running one, so that the reaper must look at once."""
    return schedule.overlap_policy in ENDS_OTHER


def waiting_by_policy(platform: Platform, schedule: Schedule, lane: str) -> dict[str, int]:
    """How many never claimed fires wait under each policy that ends a running one in ``lane``:
    under the schedule's own as it is now, or under one that the fire carries. That is a
    backfill's, which is below all live work and so ends only what is of its own lane."""
    key = keys.of(schedule.workspace_id)["fires_waiting"]
    pipe = platform.clients.data.pipeline(transaction=False)
    for own in ("", *ENDS_OTHER) if lane == "info" else ("",):
        pipe.zlexcount(key, f"[{schedule.id}|{own}|", f"({schedule.id}|{own}}}")
    by_schedule, *by_own = pipe.execute()
    counts = dict.fromkeys(ENDS_OTHER, 0) | dict(zip(ENDS_OTHER, by_own, strict=False))
    if ends_other(schedule):
        counts[schedule.overlap_policy] += by_schedule
    return counts


def is_outlasted(platform: Platform, workspace_id: str, turn: Turn) -> bool:
    """Whether the fire came due before its schedule's last run, of an earlier fire, had ended:
    ``skip`` skips it."""
    text = platform.clients.data.hget(keys.of(workspace_id)["last_runs"], turn.schedule_id)
    due_at = turn.nominal_at if turn.fire_origin == "make" else turn.accepted_at
    if text is None or due_at is None:
        return False
    last = json.loads(text)
    return bool(last.get("seq", 0) < turn.seq and due_at < last["ended_at"])


def run_now(
    platform: Platform, workspace_id: str, schedule_id: str, traceparent: str | None = None
) -> Fire:
    """Fire a schedule once, now, beside its times; ``traceparent`` goes to the agent with it.

    Raises:
        ScheduleNotFound.
    """
    schedule, now = get(platform, workspace_id, schedule_id), platform.now_ms()
    args = fire_args(platform, schedule, [now, now], "manual", now, traceparent)
    if ends_other(schedule):  # first: a death right after the fire leaves it not unseen
        doorbell.watch(platform, workspace_id, LATEST_LOOK_S)
    _, _, runnable, _, outcome = platform.run("fire", workspace_id, **args)
    had_room = outcome == "made" and bool(runnable)
    if had_room:
        doorbell.ring(platform, workspace_id)
    looks = [expires_within_s(platform, schedule)]
    if within_s := preempts_within_s(platform, schedule, now, had_room=had_room):
        looks.append(within_s)
    if ends_other(schedule):
        looks.append(0)
    doorbell.watch(platform, workspace_id, min(looks))
    (made,) = ledger.at(platform, workspace_id, schedule_id, [now])
    assert made is not None  # noqa: S101 - made by the script above
    return made
