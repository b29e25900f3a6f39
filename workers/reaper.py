"""Acts on every clock that ran out: asks, ends, marks, notices silence, rings after a pause.

It works from stored deadlines only: one that was dead for an hour catches up at its first look,
and two of them act once, because each script reads the clock again.
"""

from dataclasses import dataclass, replace

import structlog
from redis.exceptions import RedisError

from app.core import capacity, doorbell, keys, schedules, sessions, turns, workspaces
from app.core.errors import ScheduleNotFound, StaleFence
from app.core.platform import Platform
from app.core.records import Session, Turn
from app.core.schedules import Schedule
from app.core.workspaces import Workspace
from workers import freshness, overlap, watchdog
from workers.watchdog import Limit, Limits

BATCH = 200
HOLD_S = 10.0
BEGIN_MS = 1000
log = structlog.get_logger(__name__)


def reap(platform: Platform) -> int:
    """Look at every workspace whose deadline has come. Returns how many were looked at."""
    looked = 0
    while not platform.stopping.is_set():
        count = reap_some(platform, BATCH)
        looked += count
        if count < BATCH:
            break
    return looked


def reap_some(platform: Platform, most: int) -> int:
    """Look at the workspaces whose deadlines came first, at most so many."""
    due = platform.run_control("overdue", limit=most, hold_ms=round(HOLD_S * 1000))[1:]
    for workspace_id in due:
        settle(platform, workspace_id, _look(platform, workspace_id))
    return len(due)


def next_due_s(platform: Platform) -> float | None:
    """In how many seconds the next look is due; 0 where one is; None: none is planned."""
    control = platform.clients.control
    first = control.zrange(keys.DEADLINES, 0, 0, withscores=True)
    if not first:
        return None
    seconds, micros = control.time()
    return float(max(0.0, first[0][1] / 1000 - seconds - micros / 1e6))


def _look(platform: Platform, workspace_id: str) -> int | None:
    """A look whose failure is not the other workspaces': it is tried again after a while."""
    try:
        return look(platform, workspace_id)
    except RedisError:
        raise
    except Exception:  # noqa: BLE001 - else the workspaces behind this one were never looked at
        log.exception("look failed", workspace_id=workspace_id)
        return round(HOLD_S * 1000)


def settle(platform: Platform, workspace_id: str, within_ms: int | None) -> None:
    """Say when to look next; an unsettled look would come back by itself."""
    if within_ms is not None:
        doorbell.watch(platform, workspace_id, within_ms / 1000)
    platform.clients.control.zrem(keys.DEADLINES_TAKEN, workspace_id)


@dataclass(frozen=True)
class Look:
    """One look at one workspace, at one server time."""

    platform: Platform
    found: Workspace
    now: int
    limits: Limits


def look(platform: Platform, workspace_id: str) -> int | None:
    """Act on what has run out in one workspace.

    Returns:
        In how many ms to look again; None: nothing here can run out.
    """
    found = workspaces.read_many(platform, [workspace_id])[0]
    if found is None:
        return None
    this = Look(platform, found, platform.now_ms(), limits_of(platform, found))
    live = sessions.live(platform, workspace_id)
    times = [at for session in live if (at := _session(this, session)) is not None]
    times += _capacity(this)
    times += _expiry(this)
    times += _pauses(this)
    times += _preemption(this, live)
    times += _freshness(this, live)
    times += _overlap(this, live)
    return max(1, int(min(times) - this.now)) if times else None


def limits_of(platform: Platform, found: Workspace) -> Limits:
    """The limits in force for a workspace's sessions; a schedule's own stand in the session."""
    settings = platform.settings
    stall_setting = "workspace.stall_after_s" if found.stored.get("stall_ms") else ""
    return Limits(
        idle=Limit(*found.idle_ms(settings.idle_timeout_s)),
        stall=Limit(
            found.limit_ms("stall_ms", settings.stall_after_s),
            stall_setting or "TURNKEEPER_STALL_AFTER_S",
        ),
        lease=Limit(round(settings.lease_ttl_s * 1000), "TURNKEEPER_LEASE_TTL_S"),
        handover=Limit(round(settings.handover_s * 1000), "TURNKEEPER_HANDOVER_S"),
    )


def _session(this: Look, session: Session) -> float | None:
    """Act on one session's clocks; when to look at it again."""
    platform, workspace_id = this.platform, this.found.id
    verdict = watchdog.verdict(session, this.now, this.limits)
    if verdict and sessions.reap(
        platform, workspace_id, session, verdict.mechanism, verdict.limit_ms, verdict.setting
    ):
        log.warning(
            "SESSION_ENDED",
            workspace_id=workspace_id,
            session_id=session.id,
            mechanism=verdict.mechanism,
            limit_s=verdict.limit_ms / 1000,
            setting=verdict.setting,
            elapsed_s=(this.now - session.claimed_at) / 1000,
        )
        return None
    rung = watchdog.due_rung(session, this.now)
    if rung is not None:
        _climb(this, session, rung)
    if watchdog.is_stalled(session, this.now, this.limits):
        limit = watchdog.stall(session, this.limits)
        sessions.mark_stalled(platform, workspace_id, session, limit.ms, limit.setting)
    fresh = sessions.find(platform, workspace_id, session.id)
    if fresh is None or fresh.ended_at:
        return None
    again = watchdog.look_again_at(fresh, this.limits, this.now)
    return None if again is None else max(again, this.now + 1)


def _climb(this: Look, session: Session, rung: watchdog.Rung) -> None:
    """Ask for the next step before the ceiling."""
    asked = sessions.Ask(
        kind=rung.kind,
        mechanism="ceiling",
        reason=f"the session's ceiling of {session.ceiling_ms / 1000:g} s comes",
        deadline_ms=rung.deadline_ms,
        limit_ms=rung.at_ms - session.claimed_at,
        setting=session.ceiling_setting,
    )
    _ask(this, session, asked)


def _ask(this: Look, session: Session, asked: "sessions.Ask") -> None:
    try:
        sessions.ask(this.platform, this.found.id, session, asked)
    except StaleFence:  # it ended between the look and the step
        return
    log.info(
        "asked",
        kind=asked.kind,
        mechanism=asked.mechanism,
        workspace_id=this.found.id,
        session_id=session.id,
        setting=asked.setting,
        elapsed_s=(this.now - session.claimed_at) / 1000,
    )


def _capacity(this: Look) -> list[float]:
    """Notice a late and an absent heartbeat; when the next of both would be."""
    platform, found = this.platform, this.found
    if not found.capacity:
        if capacity.mark_offline(platform, found.id):
            log.warning("WORKSPACE_OFFLINE", workspace_id=found.id, mechanism="heartbeat_ttl")
        return []
    late_at = int(found.capacity["at"]) + round(platform.settings.heartbeat_late_s * 1000)
    if late_at > this.now:
        return [late_at]
    if capacity.mark_late(platform, found.id):
        log.warning("WORKSPACE_DEGRADED", workspace_id=found.id, mechanism="heartbeat_late")
    left_ms = platform.clients.data.pttl(keys.of(found.id)["capacity"])
    return [this.now + max(left_ms, 0) + 1]


def _freshness(this: Look, live: list[Session]) -> list[float]:
    """Have a session wrap up whose prompt or memories have changed, where its schedule says so."""
    rows = freshness.due(this.platform, this.found, live)
    for session in live:
        if session.id in rows and session.started_at is not None:
            grace_s = this.platform.settings.checkpoint_grace_s
            _ask(this, session, freshness.request(rows[session.id], this.now, grace_s))
    waits = any(session.id in rows and session.started_at is None for session in live)
    return [this.now + freshness.START_LOOK_MS] if waits else []


def _expiry(this: Look) -> list[float]:
    """End what has waited longer than its time to live; when the next of them has."""
    if not this.found.depth:
        return []
    next_ms = turns.expire(this.platform, this.found.id)
    return [] if next_ms is None else [next_ms]


def _pauses(this: Look) -> list[float]:
    """Ring for what may be claimed now; say when the next pause is over."""
    platform, found = this.platform, this.found
    if not found.depth:
        return []
    first = platform.clients.data.zrange(keys.of(found.id)["delayed"], 0, 0, withscores=True)
    ends = [float(first[0][1])] if first else []
    ends.append(float(found.stored.get("hold_until", 0)))
    if found.has_room and found.depth > found.parked_count:
        doorbell.ring(platform, found.id)
    return [at for at in ends if at > this.now]


@dataclass(frozen=True)
class Late:
    """A waiting fire that has a session wrap up once it has waited ``after_ms``.

    ``is_behind_own``: a session of its own schedule is in its way, and no other slot would help.
    """

    schedule: Schedule
    since: int
    after_ms: int
    setting: str
    is_behind_own: bool

    def may_end(self, session: Session) -> bool:
        """Whether the end of this session lets the fire run."""
        return not self.is_behind_own or session.schedule_id == self.schedule.id


def _could_claim(found: Workspace) -> bool:
    """Running work is left alone for a fire that could not be claimed all the same."""
    return bool(found.capacity) and "paused_at" not in found.stored


def _preemption(this: Look, live: list[Session]) -> list[float]:
    """Have a session wrap up for each fire that has waited too long behind it."""
    found = this.found
    if not live or not _could_claim(found):
        return []
    if not (found.waiting.get("cron") or found.returned_count or found.parked_count):
        return []
    fires = [f for f in _late_fires(this, live) if f.is_behind_own or not found.has_room]
    due = [late for late in fires if late.since + late.after_ms <= this.now]
    own = [late for late in due if late.is_behind_own]
    # One that was asked and has time left frees its slot for the first of the others.
    taken = {late.schedule.id for late in own}
    wrapping = sum(_is_wrapping(s, this.now) for s in live if s.schedule_id not in taken)
    asked: set[str] = set()
    left = own + [late for late in due if not late.is_behind_own][wrapping:]
    for late in left:
        waited_ms = this.now - late.since
        for session in filter(late.may_end, live):
            if session.id not in asked and watchdog.preempts(
                session, late.schedule.preempt, waited_ms, late.after_ms
            ):
                _preempt(this, session, late, waited_ms)
                asked.add(session.id)
                break
    again = [late.since + late.after_ms for late in fires if late not in due]
    again += [s.checkpoint_by for s in live if s.checkpoint_by] if due else []
    if len(asked) < len(left) and any(s.started_at is None for s in live):
        again.append(this.now + BEGIN_MS)  # it may begin any moment, and can be asked then
    return [at for at in again if at > this.now]


def _is_wrapping(session: Session, now_ms: int) -> bool:
    return max(session.checkpoint_by or 0, session.cancel_by or 0) > now_ms


def _preempt(this: Look, session: Session, late: Late, waited_ms: int) -> None:
    asked = sessions.Ask(
        kind="checkpoint",
        mechanism="preempt",
        reason=f"a fire of {late.schedule.name} has waited {waited_ms / 1000:.0f} s",
        within_s=this.platform.settings.checkpoint_grace_s,
        limit_ms=late.after_ms,
        setting=late.setting,
        measured_ms=waited_ms,
    )
    _ask(this, session, asked)


def _late_fires(this: Look, live: list[Session]) -> list[Late]:
    """The waiting fires that may preempt, the first to do so first.

    One for each schedule, for its fires run one after another, but all of one that allows all.
    """
    platform, workspace_id = this.platform, this.found.id
    running = list(dict.fromkeys(s.schedule_id for s in live if s.schedule_id))
    waiting = turns.first_waiting(platform, workspace_id, running, "cron")
    waiting += turns.claimable(platform, workspace_id, "cron", this.now)
    known: dict[str, Schedule | None] = {}
    found: dict[str, Late] = {}
    for turn in waiting:
        if turn.schedule_id is None:
            continue
        if turn.schedule_id not in known:
            known[turn.schedule_id] = _schedule(platform, workspace_id, turn.schedule_id)
        schedule = known[turn.schedule_id]
        if schedule is None or schedule.preempt == "off":
            continue
        policy = turn.overlap_policy or schedule.overlap_policy
        name = turn.id if policy == "allow_all" else schedule.id
        is_behind_own = policy != "allow_all" and schedule.id in running and not turn.attempt
        after_ms, setting = schedules.preempt_after(schedule, turn.nominal_at or this.now)
        if name in found or not after_ms or _is_settled(this, turn, policy, is_behind_own):
            continue
        found[name] = Late(schedule, turn.state_at, after_ms, setting, is_behind_own)
    return sorted(found.values(), key=lambda late: late.since + late.after_ms)


def _is_settled(this: Look, turn: Turn, policy: str, is_behind_own: bool) -> bool:
    """Whether the overlap policy has an answer of its own to what is in the fire's way."""
    if policy == "skip" and not turn.attempt:
        return is_behind_own or schedules.is_outlasted(this.platform, this.found.id, turn)
    return is_behind_own and policy in overlap.ENDS_OTHER


def _overlap(this: Look, live: list[Session]) -> list[float]:
    """Have a session end for a waiting fire of its own schedule, where the policy says so."""
    if not _could_claim(this.found):
        return []
    times: list[float] = []
    for session in live:
        schedule = session.schedule_id and _schedule(
            this.platform, this.found.id, session.schedule_id
        )
        if not schedule:
            continue
        waiting = schedules.waiting_by_policy(this.platform, schedule, session.lane)
        if step := overlap.step(session, waiting, this.now):
            _take_step(this, session, schedule, step)
        again = overlap.look_again_at(session, waiting)
        times += [again] if again and again > this.now else []
    return times


def _take_step(this: Look, session: Session, schedule: Schedule, step: overlap.Step) -> None:
    settings, setting = this.platform.settings, "schedule.overlap_policy"
    reason = f"{step.count} fires of {schedule.name} wait, and its policy is {step.policy}"
    if step.kind == "terminate":
        sessions.reap(this.platform, this.found.id, session, "overlap", 0, setting, reason)
        return
    asked = sessions.Ask(
        kind="checkpoint",
        mechanism="overlap",
        reason=reason,
        within_s=settings.checkpoint_grace_s,
        setting=setting,
        measured_count=1 + step.count,
    )
    if step.kind == "cancel":
        since = session.checkpoint_asked_at or this.now
        asked = replace(
            asked,
            kind="cancel",
            within_s=settings.cancel_grace_s,
            setting="TURNKEEPER_CHECKPOINT_GRACE_S",
            limit_ms=(session.checkpoint_by or since) - since,
            measured_ms=this.now - since,
            measured_count=None,
        )
    _ask(this, session, asked)


def _schedule(platform: Platform, workspace_id: str, schedule_id: str) -> Schedule | None:
    try:
        return schedules.get(platform, workspace_id, schedule_id)
    except ScheduleNotFound:
        return None
