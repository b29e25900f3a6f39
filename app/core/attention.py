"""What needs a person's attention: conditions, each with its limit, and one sentence a workspace.

The same sentences stand on the fleet page, in ``top`` and in the alerts that are sent out.
Everything here decides from values; nothing is read or written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.core.clock import rfc3339
from app.core.fleet import Row
from app.core.records import Session
from app.core.settings import Settings
from app.core.why import span

CRITICAL, WARNING = "critical", "warning"
# What each condition means for a person, and how bad it is.
SEVERITY: Mapping[str, str] = {
    "scheduler_silent": CRITICAL,
    "reaper_silent": CRITICAL,
    "workers_gone": CRITICAL,
    "over_ceiling": CRITICAL,
    "checkpoint_unanswered": CRITICAL,
    "heartbeat_lost": CRITICAL,
    "waiting_streak": CRITICAL,
    "oldest_wait": WARNING,
    "stalled": WARNING,
    "policy_stale": WARNING,
    "dead_letters": WARNING,
}
SILENT_S = 15.0


@dataclass(frozen=True)
class Condition:
    """One condition that holds: what was measured against which limit, and whose limit it is."""

    code: str
    measured: float
    limit: float
    setting: str


@dataclass(frozen=True)
class Action:
    """A button: what it calls, and what it says it will do before it does."""

    label: str
    path: str
    confirm: str
    is_destructive: bool = False


@dataclass(frozen=True)
class Attention:
    """One thing to look at. ``workspace_id`` is None where it concerns the whole platform."""

    sentence: str
    conditions: Sequence[Condition]
    workspace_id: str | None = None
    name: str = "Platform"
    actions: Sequence[Action] = ()
    link: str = ""

    @property
    def severity(self) -> str:
        """That of its worst condition."""
        every = {SEVERITY[one.code] for one in self.conditions}
        return CRITICAL if CRITICAL in every else WARNING

    @property
    def mechanism(self) -> str:
        """The conditions' names, the worst first."""
        return ", ".join(one.code for one in self.conditions)


@dataclass(frozen=True)
class Vitals:
    """Whether the platform's own processes live. ``ticks``: job -> ms when it last ran."""

    now: int
    ticks: Mapping[str, int] = field(default_factory=dict)
    dispatchers: int = 0
    waiting: int = 0


def of_platform(vitals: Vitals) -> list[Attention]:
    """What is wrong with the scheduler, the reaper and the workers."""
    found = []
    for job, code, who, then in (
        ("fire_due", "scheduler_silent", "The scheduler", "no schedule fires"),
        ("reap", "reaper_silent", "The reaper", "nothing ends at its ceiling"),
    ):
        at = vitals.ticks.get(job)
        silent_s = (vitals.now - at) / 1000 if at else 0.0
        if at is None or silent_s > SILENT_S:
            since = f"was last heard {span(silent_s)} ago" if at else "has never been heard"
            found.append(
                Attention(
                    f"{who} {since} (limit {span(SILENT_S)}): {then}. What was due is made up for "
                    "once it runs again.",
                    [Condition(code, silent_s, SILENT_S, "fixed")],
                    link="/health",
                )
            )
    if vitals.waiting and not vitals.dispatchers:
        noun = "turn waits" if vitals.waiting == 1 else "turns wait"
        found.append(
            Attention(
                f"No dispatch worker runs and {vitals.waiting} {noun}: start a worker process.",
                [Condition("workers_gone", 0, 1, "fixed")],
                link="/health",
            )
        )
    return found


def of_row(row: Row, now: int, settings: Settings) -> Attention | None:
    """What is wrong in one workspace, in one sentence; None: nothing."""
    if row.workspace.status == "paused":
        return _dead_letters(row)
    held = [one for one in row.sessions if _of_session(one, now)]
    conditions = [one for session in held for one in _of_session(session, now)]
    conditions += _of_waiting(row, now, settings)
    stale = row.stalest
    if stale and stale.stale_since is not None:
        behind_s = (now - stale.stale_since) / 1000
        if behind_s > settings.alert_policy_stale_s:
            limit = settings.alert_policy_stale_s
            conditions.append(
                Condition("policy_stale", behind_s, limit, "TURNKEEPER_ALERT_POLICY_STALE_S")
            )
    if not conditions:
        return _dead_letters(row)
    if row.dead_letters:
        conditions.append(_dead(row))
    ranked = sorted(conditions, key=lambda one: list(SEVERITY).index(one.code))
    subject = held[0] if held else next(iter(row.sessions), None)
    return Attention(
        sentence=_sentence(row, subject, ranked, now),
        conditions=ranked,
        workspace_id=row.workspace.id,
        name=row.name,
        actions=_actions(row, subject),
        link=f"/w/{row.workspace.id}",
    )


def _of_session(session: Session, now: int) -> list[Condition]:
    found = []
    age_s = (now - session.claimed_at) / 1000
    if session.ceiling_ms and age_s * 1000 > session.ceiling_ms:
        limit_s = session.ceiling_ms / 1000
        found.append(Condition("over_ceiling", age_s, limit_s, session.ceiling_setting))
    if session.checkpoint_asked_at and session.checkpoint_by and now > session.checkpoint_by:
        asked, by = session.checkpoint_asked_at, session.checkpoint_by
        found.append(
            Condition(
                "checkpoint_unanswered",
                (now - asked) / 1000,
                (by - asked) / 1000,
                "TURNKEEPER_CHECKPOINT_GRACE_S",
            )
        )
    if session.stalled_at:
        still_s = (now - session.progress_at) / 1000
        limit_s = (session.stalled_at - session.progress_at) / 1000
        found.append(Condition("stalled", still_s, limit_s, "TURNKEEPER_STALL_AFTER_S"))
    return found


def _of_waiting(row: Row, now: int, settings: Settings) -> list[Condition]:
    found = []
    workspace = row.workspace
    if workspace.depth and not workspace.capacity:
        beat = workspace.stored.get("beat_at")
        silent_s = (now - int(beat)) / 1000 if beat else row.oldest_wait_ms / 1000
        limit = settings.heartbeat_ttl_s
        if beat or silent_s > limit:
            found.append(Condition("heartbeat_lost", silent_s, limit, "TURNKEEPER_HEARTBEAT_TTL_S"))
    if row.waiting_fires >= settings.alert_streak_count:
        found.append(
            Condition(
                "waiting_streak",
                row.waiting_fires,
                settings.alert_streak_count,
                "TURNKEEPER_ALERT_STREAK_COUNT",
            )
        )
    if row.oldest_wait_ms > settings.alert_wait_s * 1000:
        waited = row.oldest_wait_ms / 1000
        found.append(
            Condition("oldest_wait", waited, settings.alert_wait_s, "TURNKEEPER_ALERT_WAIT_S")
        )
    return found


def _dead(row: Row) -> Condition:
    return Condition("dead_letters", row.dead_letters, 0, "fixed")


def _dead_letters(row: Row) -> Attention | None:
    if not row.dead_letters:
        return None
    noun = "dead letter" if row.dead_letters == 1 else "dead letters"
    return Attention(
        f"{row.name}: {row.dead_letters} {noun}; nothing runs them again until you say so.",
        [_dead(row)],
        workspace_id=row.workspace.id,
        name=row.name,
        link=f"/w/{row.workspace.id}/dead",
    )


def _sentence(row: Row, session: Session | None, held: Sequence[Condition], now: int) -> str:
    codes = {one.code: one for one in held}
    parts = []
    if session:
        parts.append(_session_part(row, session, now))
    lost = codes.get("heartbeat_lost")
    if lost:
        never = "beat_at" not in row.workspace.stored
        silent = span(lost.measured)
        parts.append(
            "no runtime has ever sent a heartbeat"
            if never
            else f"no heartbeat for {silent} (limit {span(lost.limit)})"
        )
    if row.workspace.depth:
        parts.append(_waiting_part(row))
    if row.stalest and "policy_stale" in codes:
        parts.append(f"works under an older policy ({row.stalest.sentence})")
    if row.dead_letters:
        parts.append(f"{row.dead_letters} dead letter{'' if row.dead_letters == 1 else 's'}")
    return f"{row.name}: {'; '.join(parts)}."


def _session_part(row: Row, session: Session, now: int) -> str:
    age = span((now - session.claimed_at) / 1000)
    ceiling = f"ceiling {span(session.ceiling_ms / 1000)}" if session.ceiling_ms else "no ceiling"
    count = row.workspace.live_count
    facts = [f"{'one session' if count == 1 else f'{count} sessions, one'} for {age} ({ceiling})"]
    if session.stalled_at:
        facts.append(f"no progress for {span((now - session.progress_at) / 1000)}")
    if session.checkpoint_asked_at:
        at = str(rfc3339(session.checkpoint_asked_at))[11:16]
        answer = ", no answer" if (session.checkpoint_by or now) < now else ""
        facts.append(f"asked to checkpoint {at} UTC{answer}")
    return ", ".join(facts)


def _waiting_part(row: Row) -> str:
    depth, fires = row.workspace.depth, row.waiting_fires
    oldest = f", the oldest for {span(row.oldest_wait_ms / 1000)}" if row.oldest_wait_ms else ""
    if fires == depth:
        return f"{fires} fire{' waits' if fires == 1 else 's wait'}{oldest}"
    also = f", {fires} of them fires" if fires else ""
    return f"{depth} turn{' waits' if depth == 1 else 's wait'}{also}{oldest}"


def _actions(row: Row, session: Session | None) -> list[Action]:
    if session is None:
        return []
    base = f"/workspaces/{row.workspace.id}/sessions/{session.id}"
    noun = "turn waits" if row.workspace.depth == 1 else "turns wait"
    waiting = f"{row.workspace.depth} {noun} for the slot." if row.workspace.depth else ""
    return [
        Action(
            "Checkpoint",
            f"{base}/checkpoint",
            f"Asks session {session.id} to save a note and exit. {waiting}".strip(),
        ),
        Action(
            "End session",
            f"{base}/end",
            f"Ends 1 session now: {session.id}. Its turn becomes force_idled and is not run "
            f"again; what the agent has not saved is lost. {waiting}".strip(),
            is_destructive=True,
        ),
    ]


def rank(found: Sequence[Attention]) -> list[Attention]:
    """The critical first, then by name."""
    return sorted(found, key=lambda one: (one.severity != CRITICAL, one.name, one.sentence))
