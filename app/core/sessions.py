"""Sessions: claiming a turn into one, binding, handing over, reporting, ending.

Every write carries the session's fence; a stale one is refused and kept in the log.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core import doorbell, handing, keys, session_tokens
from app.core.claims import Claim as Claim
from app.core.claims import NoClaim as NoClaim
from app.core.claims import claim as claim
from app.core.errors import SessionNotFound
from app.core.platform import Platform
from app.core.records import Session, Turn

OUTCOMES = ("completed", "failed", "yielded", "input_required", "canceled")


@dataclass(frozen=True)
class Handover:
    """A bound session as the runtime's poll gets it; ``token`` is shown only here."""

    session: Session
    turn: Turn
    body: Mapping[str, Any]
    bound: Mapping[str, Any]
    token: str = field(repr=False)


def _load(text: str) -> Any:
    return json.loads(text) if text else None


def bind(
    platform: Platform, workspace_id: str, session: Session, bound: Mapping[str, Any], inbox: bool
) -> None:
    """Record exactly what the session is given; ``inbox`` lays it out for the runtime's poll."""
    platform.run("bind", workspace_id, **handing.given(session, bound), inbox=inbox)


def hand_over(
    platform: Platform,
    workspace_id: str,
    session: Session,
    bound: Mapping[str, Any],
    instance: str,
) -> list[dict[str, Any]]:
    """Bind, deliver and start in one step, for an agent that begins at once.

    Returns the directives for this session.
    """
    args = handing.given(session, bound)
    reply = platform.run("hand_over", workspace_id, **args, instance=instance)
    return _orders(platform, workspace_id, reply)


@dataclass(frozen=True)
class Polled:
    """What a runtime's poll finds: a turn, or what its sessions are newly asked, or nothing.

    ``wake_at_ms``: when a session that was handed out but never started may be handed out again.
    """

    handover: Handover | None
    directives: list[dict[str, Any]]
    wake_at_ms: int


def take(
    platform: Platform, workspace_id: str, instance: str, room: int = 1, secret: str = ""
) -> Polled:
    """The next bound session for a polling runtime with room; directives, each once.

    Args:
        secret: of the token for the session's own tools; a new one where left out.
    """
    secret = secret or session_tokens.new_secret()
    digest = session_tokens.digest_of(secret)
    reply = platform.run("take", workspace_id, instance=instance, room=room, token_digest=digest)
    outcome, session, turn, body, bound, wake = reply[:6]
    if outcome == "empty":
        return Polled(None, [json.loads(item) for item in reply[6:]], int(float(wake)))
    taken = Session.parse(session)
    token = session_tokens.text_of(workspace_id, taken.id, secret)
    return Polled(Handover(taken, Turn.parse(turn), _load(body), _load(bound), token), [], 0)


def deliver(
    platform: Platform,
    workspace_id: str,
    session_id: str,
    fence: int,
    remote: str = "",
    remote_context: str = "",
) -> None:
    """Note that the agent has its turn; ``remote`` is its own name for it, and its context's."""
    platform.run(
        "deliver",
        workspace_id,
        session_id=session_id,
        fence=fence,
        remote=remote,
        remote_context=remote_context,
    )


def start(
    platform: Platform, workspace_id: str, session_id: str, fence: int, instance: str
) -> list[dict[str, Any]]:
    """The agent has begun. Returns the directives for this session."""
    reply = platform.run(
        "start", workspace_id, session_id=session_id, fence=fence, instance=instance
    )
    return _orders(platform, workspace_id, reply)


def progress(
    platform: Platform,
    workspace_id: str,
    session_id: str,
    fence: int,
    kind: str,
    payload: Mapping[str, Any],
    instance: str = "",
) -> list[dict[str, Any]]:
    """The work advanced, or (``keepalive``) a tool still runs. Returns the directives."""
    reply = platform.run(
        "progress",
        workspace_id,
        session_id=session_id,
        fence=fence,
        kind=kind,
        payload=json.dumps({**payload, "kind": kind}, ensure_ascii=False),
        instance=instance,
    )
    return _orders(platform, workspace_id, reply)


def _orders(platform: Platform, workspace_id: str, reply: list[Any]) -> list[dict[str, Any]]:
    """The directives of a reply; the reaper is told of a clock that runs from now on."""
    if reply[1]:
        doorbell.watch(platform, workspace_id, int(reply[1]) / 1000)
    return [json.loads(item) for item in reply[2:]]


def finish(
    platform: Platform,
    workspace_id: str,
    session_id: str,
    fence: int,
    outcome: str,
    result: Mapping[str, Any],
    note: Mapping[str, Any] | None = None,
) -> str:
    """The agent's own end. Stores the result, frees the slot and rings at once.

    Returns:
        The turn's state: ``queued`` where its schedule has a retry left. A repeat of an accepted
        finish changes nothing.
    """
    args = handing.ending(session_id, fence, outcome, result, note)
    return ended(platform, workspace_id, platform.run("finish", workspace_id, **args))


def ended(platform: Platform, workspace_id: str, reply: Sequence[Any]) -> str:
    """What a finish is followed by."""
    _, state, depth, runnable, wake_at_ms = reply
    if int(float(wake_at_ms)):  # a retry, after its pause
        within_ms = int(float(wake_at_ms)) - platform.now_ms()
        doorbell.watch(platform, workspace_id, within_ms / 1000)
    if depth and runnable:
        doorbell.ring(platform, workspace_id)
    return str(state)


def release(
    platform: Platform,
    workspace_id: str,
    session_id: str,
    fence: int,
    mechanism: str,
    reason: str,
    counts: bool,
    holds: bool = False,
) -> str:
    """Give a session back; its turn returns to its lane. Returns the turn's state.

    Args:
        counts: an attempt is used up and a pause follows (not for an orderly hand-back).
        holds: the whole workspace pauses with it: its agent cannot be reached.
    """
    reply = platform.run(
        "release",
        workspace_id,
        session_id=session_id,
        fence=fence,
        mechanism=mechanism,
        reason=reason,
        counts=counts,
        holds=holds,
    )
    after_return(platform, workspace_id, reply)
    return str(reply[1])


def reap(
    platform: Platform,
    workspace_id: str,
    session: Session,
    mechanism: str,
    limit_ms: int,
    setting: str,
    reason: str = "",
) -> bool:
    """End a session by the platform, if its clock still says so. Returns whether it ended."""
    reply = platform.run(
        "reap",
        workspace_id,
        session_id=session.id,
        fence=session.fence,
        mechanism=mechanism,
        limit_ms=limit_ms,
        setting=setting,
        reason=reason,
    )
    if reply[0] == "alive":
        return False
    after_return(platform, workspace_id, reply)
    return True


def after_return(platform: Platform, workspace_id: str, reply: list[Any]) -> None:
    """Ring now, and have the reaper ring when the returned turn's pause is over."""
    wake_at_ms, runnable = int(float(reply[2])), reply[3]
    if wake_at_ms:
        within_ms = max(0, wake_at_ms - platform.now_ms())
        doorbell.watch(platform, workspace_id, within_ms / 1000)
    if runnable:
        doorbell.ring(platform, workspace_id)


@dataclass(frozen=True)
class Ask:
    """What a session is asked (``checkpoint`` or ``cancel``), by whom, why, and until when.

    ``deadline_ms`` is absolute server time; without it ``within_s`` counts from now. ``limit_ms``,
    ``setting`` and ``measured_ms`` say which limit acts; ``measured_count``, where that is one fire
    of a schedule at a time.
    """

    kind: str
    mechanism: str
    reason: str
    within_s: float = 0
    deadline_ms: int | None = None
    limit_ms: int | None = None
    setting: str = ""
    measured_ms: int | None = None
    measured_count: int | None = None


def ask(platform: Platform, workspace_id: str, session: Session, asked: Ask) -> int:
    """Ask one session, once; never another. Returns the deadline (ms).

    The reaper is told first: a death between the two lines leaves no deadline unwatched.

    Raises:
        StaleFence: the session has ended.
    """
    was_asked = session.cancel_asked_at or session.checkpoint_asked_at
    if asked.deadline_ms is None:  # one of before stands, and may come first
        doorbell.watch(platform, workspace_id, 0 if was_asked else asked.within_s)
    reply = platform.run(
        "ask",
        workspace_id,
        session_id=session.id,
        fence=session.fence,
        kind=asked.kind,
        within_ms=round(asked.within_s * 1000),
        deadline_ms=asked.deadline_ms,
        mechanism=asked.mechanism,
        reason=asked.reason,
        limit_ms=asked.limit_ms,
        setting=asked.setting,
        measured_ms=asked.measured_ms,
        measured_count=asked.measured_count,
    )
    if reply[0] == "replayed" and not was_asked:
        doorbell.watch(platform, workspace_id, 0)
    return int(float(reply[1]))


def mark_stalled(
    platform: Platform, workspace_id: str, session: Session, limit_ms: int, setting: str
) -> bool:
    """Mark a session without progress; it is not ended. Returns whether that was news."""
    reply = platform.run(
        "stall",
        workspace_id,
        session_id=session.id,
        fence=session.fence,
        limit_ms=limit_ms,
        setting=setting,
    )
    return bool(reply[0] == "stalled")


def find(platform: Platform, workspace_id: str, session_id: str) -> Session | None:
    """One session, or None."""
    text = platform.clients.data.hget(keys.of(workspace_id)["sessions"], session_id)
    return Session.parse(text) if text else None


def get(platform: Platform, workspace_id: str, session_id: str) -> Session:
    """One session.

    Raises:
        SessionNotFound: also when its retention has passed.
    """
    found = find(platform, workspace_id, session_id)
    if found is None:
        raise SessionNotFound(session_id=session_id)
    return found


def bound(platform: Platform, workspace_id: str, session_id: str) -> Mapping[str, Any] | None:
    """Exactly what a session was given."""
    return _load(platform.clients.data.hget(keys.of(workspace_id)["bound"], session_id) or "")  # type: ignore[no-any-return]


def live(platform: Platform, workspace_id: str) -> list[Session]:
    """The sessions that hold a slot now, oldest first."""
    return _named(
        platform, workspace_id, platform.clients.data.zrange(keys.of(workspace_id)["live"], 0, -1)
    )


def recent(platform: Platform, workspace_id: str, limit: int) -> list[Session]:
    """The live sessions, then the newest ended; at most ``limit``."""
    own = keys.of(workspace_id)
    found = live(platform, workspace_id)
    ended = platform.clients.data.zrevrange(own["ended"], 0, limit - 1)
    return (found + _named(platform, workspace_id, ended))[:limit]


def _named(platform: Platform, workspace_id: str, session_ids: list[str]) -> list[Session]:
    if not session_ids:
        return []
    texts = platform.clients.data.hmget(keys.of(workspace_id)["sessions"], session_ids)
    return [Session.parse(text) for text in texts if text]
