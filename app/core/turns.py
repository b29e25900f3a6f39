"""Turns: accepting them, reading them, canceling those that wait."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core import doorbell, ids, keys, push, sessions
from app.core.errors import InvalidInput, StaleFence, TurnNotFound
from app.core.platform import Platform
from app.core.push import Config
from app.core.records import Session, Turn
from app.core.states import LANES, TRANSITIONS

LANE_OF_ORIGIN: Mapping[str, str] = {"chat": "chat", "agent": "task", "cron": "cron"}
LANE_OF_PRIORITY: Mapping[int, str] = {
    100: "urgent",
    70: "chat",
    50: "task",
    30: "cron",
    10: "info",
}

CANCEL_TRIES = 5
EXPIRED_AT_ONCE = 100


@dataclass(frozen=True)
class Request:
    """What a caller asks of a workspace's agent.

    ``body`` is kept as it is: ``text`` (what the agent is told) and whatever else the adapter or
    the answer needs. ``idempotency_key`` names this submit for 24 hours, and the same key with
    another body is refused; ``repeat_key`` names it only while the first one is waiting or running,
    and only a send of the same body by the same principal counts as its repeat. ``asked`` is what
    the caller sent, where ``body`` and ``context_id`` carry what was made for this call: a repeat
    is told by what was asked. ``push`` is written with the turn, under the turn's id.
    ``from_workspace_id``: whose agent asks, where one does. ``principal``: whose turn it is.
    """

    body: Mapping[str, Any]
    origin: str = "chat"
    lane: str | None = None
    principal: str = ""
    context_id: str | None = None
    idempotency_key: str | None = None
    repeat_key: str | None = None
    expires_in_s: float | None = None
    redeliver: str | None = None
    from_workspace_id: str | None = None
    asked: Mapping[str, Any] | None = None
    push: Config | None = None
    turn_id: str = field(default_factory=lambda: ids.new("trn"))


@dataclass(frozen=True)
class Accepted:
    """The answer to a submit. ``depth`` counts the waiting turns, this one included."""

    outcome: str
    turn_id: str
    depth: int
    oldest_wait_s: float
    session_age_s: float


def submit(platform: Platform, workspace_id: str, request: Request) -> Accepted:
    """Accept a turn durably and ring; never waits for the agent.

    A repeat of the call with the same ``turn_id`` is answered as the first was.

    Raises:
        WorkspaceNotFound, WorkspaceRemoved, QueueFull, IdempotencyConflict, InvalidInput.
    """
    lane = request.lane or LANE_OF_ORIGIN[request.origin]
    if lane not in LANES:
        raise InvalidInput("lane", f"one of {', '.join(LANES)}")
    body = json.dumps(request.body, ensure_ascii=False, separators=(",", ":"))
    named = request.idempotency_key or request.repeat_key
    asked = request.asked or {"context_id": request.context_id, "body": request.body}
    digest = hashlib.sha256(_sorted(asked).encode()).hexdigest()[:32] if named else ""
    kind = "key" if request.idempotency_key else "repeat"
    same = (digest,) if kind == "repeat" else ()
    submit_key = keys.idempotency(workspace_id, kind, request.principal, named or "", *same)
    record = {
        "context_id": request.context_id,
        "redeliver": request.redeliver,
        "from_workspace_id": request.from_workspace_id,
        "principal": request.principal or None,
    }
    if request.expires_in_s is not None:  # first: a death in between leaves no end unwatched
        doorbell.watch(platform, workspace_id, request.expires_in_s)
    reply = platform.run(
        "submit",
        workspace_id,
        {"submit_key": submit_key},
        turn_id=request.turn_id,
        lane=lane,
        origin=request.origin,
        body=body,
        record=json.dumps({name: value for name, value in record.items() if value is not None}),
        digest=digest,
        coalesce=kind == "repeat",
        max_wait_ms=round(platform.settings.lane_max_wait_s * 1000),
        expires_in_ms=None if request.expires_in_s is None else round(request.expires_in_s * 1000),
        **push.args(request.push, request.turn_id),
    )
    told = accepted(platform, workspace_id, reply)
    push.hint(platform, workspace_id, request.push)
    return told


def accepted(platform: Platform, workspace_id: str, reply: Sequence[Any]) -> Accepted:
    """The answer that a script's reply means; rings where a claim may succeed."""
    outcome, turn_id, depth, oldest_ms, session_ms, runnable = reply
    if runnable and outcome != "coalesced":  # also for a replay: its first call may not have rung
        doorbell.ring(platform, workspace_id)
    return Accepted(outcome, turn_id, depth, oldest_ms / 1000, session_ms / 1000)


def _sorted(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def get(platform: Platform, workspace_id: str, turn_id: str) -> Turn:
    """One turn.

    Raises:
        TurnNotFound: also when its retention has passed.
    """
    text = platform.clients.data.hget(keys.of(workspace_id)["turns"], turn_id)
    if text is None:
        raise TurnNotFound(turn_id=turn_id)
    return Turn.parse(text)


def read_parts(platform: Platform, workspace_id: str, turn_id: str) -> tuple[Any, Any]:
    """What was asked and what came back (None while nothing did)."""
    body, result = _stored(platform, workspace_id, turn_id, "bodies", "results")
    return _parsed(body), _parsed(result)


def read_whole(platform: Platform, workspace_id: str, turn_id: str) -> tuple[Turn, Any, Any]:
    """A turn and its parts in one round trip.

    Raises:
        TurnNotFound: also when its retention has passed.
    """
    turn, body, result = _stored(platform, workspace_id, turn_id, "turns", "bodies", "results")
    if turn is None:
        raise TurnNotFound(turn_id=turn_id)
    return Turn.parse(turn), _parsed(body), _parsed(result)


def _stored(platform: Platform, workspace_id: str, turn_id: str, *names: str) -> list[str | None]:
    own = keys.of(workspace_id)
    pipe = platform.clients.data.pipeline(transaction=False)
    for name in names:
        pipe.hget(own[name], turn_id)
    found: list[str | None] = pipe.execute()
    return found


def _parsed(text: str | None) -> Any:
    return json.loads(text) if text else None


def listing(
    platform: Platform,
    workspace_id: str,
    state: str | None,
    limit: int,
    origin: str | None = None,
) -> list[Turn]:
    """Turns, newest accepted first among the open, then newest ended; at most ``limit``."""
    if state is not None and state not in TRANSITIONS:
        raise InvalidInput("state", f"one of {', '.join(TRANSITIONS)}")
    own, data = keys.of(workspace_id), platform.clients.data
    found: list[Turn] = []
    for name in ("open", "dead", "done"):
        start, page = 0, max(limit, 100)
        while len(found) < limit:
            part: Sequence[str] = data.zrevrange(own[name], start, start + page - 1)
            if not part:
                break
            texts = data.hmget(own["turns"], part)
            turns = [Turn.parse(text) for text in texts if text]
            found += [
                turn
                for turn in turns
                if state in (None, turn.state) and origin in (None, turn.origin)
            ]
            start += page
    return found[:limit]


def cancel(platform: Platform, workspace_id: str, turn_id: str, reason: str) -> str:
    """Cancel a turn: at once until an agent has fetched it, then through its session; idempotent.

    Returns:
        ``canceled``, ``canceling``, or the state in which the turn had already ended.
    """
    for _ in range(CANCEL_TRIES):
        reply = platform.run("cancel", workspace_id, turn_id=turn_id, reason=reason)
        if reply[0] in ("canceled", "replayed"):
            if reply[1]:  # its session had the slot
                doorbell.ring(platform, workspace_id)
            return "canceled"
        if reply[0] == "ended":
            return str(reply[1])
        grace_s = platform.settings.cancel_grace_s
        asked = sessions.Ask(kind="cancel", mechanism="cancel", reason=reason, within_s=grace_s)
        try:
            session = sessions.get(platform, workspace_id, reply[1])
            sessions.ask(platform, workspace_id, session, asked)
        except StaleFence:  # it ended between the two steps: the turn may wait again
            continue
        return "canceling"
    raise StaleFence(turn_id=turn_id)


@dataclass(frozen=True)
class Replay:
    """A wish to have an ended turn's work done again.

    ``again``: also where it was asked for before; else the first replay is the answer. ``run_id``
    names the run of replays it belongs to. The call repeated with one ``new_id`` makes one turn.
    """

    turn_id: str
    again: bool = False
    run_id: str = ""
    traceparent: str = ""
    new_id: str = field(default_factory=lambda: ids.new("trn"))


def replay(platform: Platform, workspace_id: str, wish: Replay) -> Accepted:
    """Queue an ended turn again, as a new turn that names the old one; once, unless ``again``.

    It belongs to the caller's trace where there is one, else to the old turn's.

    Raises:
        WorkspaceNotFound, WorkspaceRemoved, TurnNotFound, QueueFull.
        IllegalTransition: the turn has not ended.
        ScheduleNotFound: it was a fire, and what it would be told is gone.
    """
    turn = get(platform, workspace_id, wish.turn_id)
    reply = platform.run(
        "replay",
        workspace_id,
        turn_id=wish.turn_id,
        new_id=wish.new_id,
        again=wish.again,
        run_id=wish.run_id,
        body=_traced(platform, workspace_id, wish),
        schedule_id=turn.schedule_id or "",
        mode="replay",
    )
    if turn.schedule_id:  # by its overlap policy it may end another, as any waiting fire
        doorbell.watch(platform, workspace_id, 0)
    return accepted(platform, workspace_id, reply)


def _traced(platform: Platform, workspace_id: str, wish: Replay) -> str:
    """What the old turn asked, in the caller's trace; empty: as it was."""
    if not wish.traceparent:
        return ""
    body, _ = read_parts(platform, workspace_id, wish.turn_id)
    return json.dumps((body or {}) | {"traceparent": wish.traceparent}, ensure_ascii=False)


def expire(platform: Platform, workspace_id: str) -> int | None:
    """End the waiting turns whose time to live has passed, whoever could claim them or not.

    Returns:
        When the next time to live passes, in ms (not later than now: more are due already).
    """
    _, _, next_ms = platform.run("expire", workspace_id, limit=EXPIRED_AT_ONCE)
    return int(float(next_ms)) if next_ms else None


def claimable(
    platform: Platform, workspace_id: str, lane: str, now_ms: int, limit: int = 100
) -> list[Turn]:
    """The turns of a lane that wait and may be claimed: the returned ones, then the others."""
    own, data = keys.of(workspace_id), platform.clients.data
    last = data.hget(own["lanes"], f"last:{lane}")
    pipe = data.pipeline(transaction=False)
    pipe.zrange(own["returned"], 0, limit - 1)
    pipe.zrangebyscore(own["delayed"], "-inf", now_ms, start=0, num=limit)
    pipe.xrange(own[f"lane_{lane}"], f"({last}" if last else "-", "+", count=limit)
    returned, rested, entries = pipe.execute()
    ids = [*returned, *rested, *(fields["turn"] for _, fields in entries)]
    texts = data.hmget(own["turns"], ids) if ids else []
    found = [Turn.parse(text) for text in texts if text]
    return [turn for turn in found if turn.lane == lane and turn.state == "queued"]


def first_waiting(
    platform: Platform, workspace_id: str, schedule_ids: Sequence[str], lane: str
) -> list[Turn]:
    """Of each schedule the oldest fire of a lane that was never claimed, parked or not."""
    own, pipe = keys.of(workspace_id), platform.clients.data.pipeline(transaction=False)
    for schedule_id in schedule_ids:
        group = f"{schedule_id}||{lane}"
        pipe.zrangebylex(own["fires_waiting"], f"[{group}|", f"({group}}}", start=0, num=1)
    ids = [place.rsplit("|", 1)[1] for places in pipe.execute() for place in places]
    texts = platform.clients.data.hmget(own["turns"], ids) if ids else []
    return [Turn.parse(text) for text in texts if text]


def session_of(platform: Platform, workspace_id: str, turn: Turn) -> Session | None:
    """The session the turn is in, or was in last."""
    if not turn.session_id:
        return None
    text = platform.clients.data.hget(keys.of(workspace_id)["sessions"], turn.session_id)
    return Session.parse(text) if text else None
