"""A session's clocks: what has run out, what is to be asked of it, when to look again.

Pure: records and times are arguments, a value is the answer; the reaper acts on it. Three facts
are never mixed: a heartbeat moves the idle clock, progress also moves the stall clock, nothing
moves the ceiling.
"""

from dataclasses import dataclass

from app.core.records import Session


@dataclass(frozen=True)
class Limit:
    """A length of time in ms (0: none) and the setting it comes from."""

    ms: int
    setting: str


@dataclass(frozen=True)
class Limits:
    """What is in force for a session."""

    idle: Limit
    stall: Limit
    lease: Limit
    handover: Limit


@dataclass(frozen=True)
class Verdict:
    """A session must end: by which mechanism, at which limit of which setting."""

    mechanism: str
    limit_ms: int
    setting: str


@dataclass(frozen=True)
class Clock:
    """One clock of a session: it runs out ``limit_ms`` after ``since_ms``."""

    verdict: Verdict
    since_ms: int

    @property
    def ends_at_ms(self) -> int:
        return self.since_ms + self.verdict.limit_ms


@dataclass(frozen=True)
class Rung:
    """A step of the ladder before the ceiling: what is asked, by which absolute deadline."""

    kind: str
    at_ms: int
    deadline_ms: int


def clocks(session: Session, limits: Limits) -> list[Clock]:
    """The clocks that can end this session, the hardest first."""
    found = []

    def add(mechanism: str, limit_ms: int, setting: str, since_ms: int) -> None:
        found.append(Clock(Verdict(mechanism, limit_ms, setting), since_ms))

    if session.ceiling_at is not None:
        add("ceiling", session.ceiling_ms, session.ceiling_setting, session.claimed_at)
    if session.unwanted and session.cancel_asked_at and session.cancel_by:
        grace_ms = session.cancel_by - session.cancel_asked_at
        add("cancel", grace_ms, "TURNKEEPER_CANCEL_GRACE_S", session.cancel_asked_at)
    if session.started_at is None:
        if session.state == "claimed" and session.digest is None:  # its worker died on the way
            add("handover", limits.handover.ms, limits.handover.setting, session.claimed_at)
        add("lease", limits.lease.ms, limits.lease.setting, session.claimed_at)
    elif (session.missed or 0) >= 2:
        add("lost", 0, "TURNKEEPER_HEARTBEAT_INTERVAL_S", session.seen_at)
    else:
        silence = idle(session, limits)
        if silence.ms:
            add("idle_timeout", silence.ms, silence.setting, session.seen_at)
    return found


def verdict(session: Session, now_ms: int, limits: Limits) -> Verdict | None:
    """The verdict on a session at ``now_ms`` (server time), or None while it may go on."""
    over = (clock.verdict for clock in clocks(session, limits) if clock.ends_at_ms <= now_ms)
    return next(over, None)


def rungs(session: Session) -> list[Rung]:
    """What is still to be asked of this session before its ceiling, the latest step first."""
    if session.ceiling_at is None:
        return []
    found = []
    if session.cancel_at is not None and session.cancel_asked_at is None:
        found.append(Rung("cancel", session.cancel_at, session.ceiling_at))
        if session.checkpoint_at is not None and session.checkpoint_asked_at is None:
            found.append(Rung("checkpoint", session.checkpoint_at, session.ceiling_at))
    return found


def due_rung(session: Session, now_ms: int) -> Rung | None:
    """The step to take now: a reaper that comes late goes straight to the latest one due."""
    return next((rung for rung in rungs(session) if rung.at_ms <= now_ms), None)


def idle(session: Session, limits: Limits) -> Limit:
    """The idle limit in force for this session."""
    return _own(session.idle_ms, limits.idle, "schedule.idle_timeout_s")


def stall(session: Session, limits: Limits) -> Limit:
    """The stall limit in force for this session."""
    return _own(session.stall_ms, limits.stall, "schedule.stall_after_s")


def is_stalled(session: Session, now_ms: int, limits: Limits) -> bool:
    """Has the work not advanced for too long, and is that news?"""
    limit_ms = stall(session, limits).ms
    if not limit_ms or session.started_at is None or session.stalled_at is not None:
        return False
    return now_ms - session.progress_at >= limit_ms


def look_again_at(session: Session, limits: Limits, now_ms: int) -> int | None:
    """When the first clock or step of the session is due, in ms; None where none is.

    One that has not started may start right after the look, and its clocks begin then.
    """
    times = [clock.ends_at_ms for clock in clocks(session, limits)]
    times += [rung.at_ms for rung in rungs(session)]
    stall_ms = stall(session, limits).ms
    if session.started_at is None:
        both = (stall_ms, idle(session, limits).ms)
        times += [now_ms + limit_ms for limit_ms in both if limit_ms]
    elif stall_ms and session.stalled_at is None:
        times.append(session.progress_at + stall_ms)
    return min(times, default=None)


def preempts(session: Session, policy: str, waited_ms: int, after_ms: int) -> bool:
    """Should a fire that has waited so long behind this session have it wrap up?

    ``policy``: ``cron`` (only another cron session), ``any`` (chat too), ``off``.
    """
    if policy == "off" or after_ms <= 0 or waited_ms < after_ms:
        return False
    is_free = session.checkpoint_asked_at is None and session.cancel_asked_at is None
    return is_free and session.started_at is not None and policy in ("any", session.origin)


def _own(ms: int | None, general: Limit, setting: str) -> Limit:
    return general if ms is None else Limit(ms, setting)
