"""Which clock of a session has run out, and when to look again. Pure: times are arguments."""

from dataclasses import dataclass

from app.core.records import Session


@dataclass(frozen=True)
class Limits:
    """What is in force for a session, in ms, each with the setting it comes from; 0: none."""

    idle_ms: int
    idle_setting: str
    lease_ms: int
    handover_ms: int


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


def clocks(session: Session, limits: Limits) -> list[Clock]:
    """The clocks that can end this session, the hardest first."""
    found = []

    def add(mechanism: str, limit_ms: int, setting: str, since_ms: int) -> None:
        found.append(Clock(Verdict(mechanism, limit_ms, setting), since_ms))

    if session.ceiling_at is not None:
        add("ceiling", session.ceiling_ms, "ceiling_s", session.claimed_at)
    if session.cancel_asked_at is not None and session.cancel_by is not None:
        grace_ms = session.cancel_by - session.cancel_asked_at
        add("cancel", grace_ms, "TURNKEEPER_CANCEL_GRACE_S", session.cancel_asked_at)
    if session.started_at is None:
        if session.state == "claimed" and session.digest is None:  # its worker died on the way
            add("lease", limits.handover_ms, "TURNKEEPER_HANDOVER_S", session.claimed_at)
        add("lease", limits.lease_ms, "TURNKEEPER_LEASE_TTL_S", session.claimed_at)
    elif (session.missed or 0) >= 2:
        add("lost", 0, "two heartbeats without the session", session.seen_at)
    elif limits.idle_ms:
        add("idle_timeout", limits.idle_ms, limits.idle_setting, session.seen_at)
    return found


def verdict(session: Session, now_ms: int, limits: Limits) -> Verdict | None:
    """The verdict on a session at ``now_ms`` (server time), or None while it may go on."""
    over = (clock.verdict for clock in clocks(session, limits) if clock.ends_at_ms <= now_ms)
    return next(over, None)


def look_again_at(session: Session, limits: Limits) -> int | None:
    """When the first clock of the session runs out, in ms; None where none can."""
    return min((clock.ends_at_ms for clock in clocks(session, limits)), default=None)
