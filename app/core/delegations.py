"""Delegations: turns that one workspace's agent asks of another's.

The receiving workspace keeps them as its turns. The sender's side is told by its own activity,
appended after the turn was accepted, for the two are in different slots: should the process die
in between, the turn stands and only the sender's row is missing.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from app.core import events, keys, turns
from app.core.errors import TurnkeeperError
from app.core.platform import Platform
from app.core.records import Turn

log = structlog.get_logger(__name__)
PAGE = 500
SUMMARY_MAX = 200


@dataclass(frozen=True)
class Delegation:
    """One turn between two workspaces. Times are ms since the epoch, server time.

    ``source_id`` is None where the sender did not say for which workspace it asked; ``turn`` is
    None where the receiving workspace keeps it no longer.
    """

    id: str
    direction: str
    source_id: str | None
    target_id: str
    summary: str
    created_at: int
    turn: Turn | None


def note(platform: Platform, source_id: str, target_id: str, turn_id: str, text: str) -> str | None:
    """Tell the sender's workspace what it has asked of another. Returns the event's id."""
    payload = {
        "type": "a2a_send",
        "delegation_id": turn_id,
        "target_id": target_id,
        "summary": text[:SUMMARY_MAX],
    }
    try:
        return events.append(platform, source_id, "ACTIVITY_LOGGED", payload)
    except (RedisError, TurnkeeperError) as error:  # the turn is accepted: the caller must hear it
        told = {"turn_id": turn_id, "error": str(error)}
        log.warning("a delegation is not in its sender's activity", **told)
        return None


def received(platform: Platform, workspace_id: str, limit: int) -> list[Delegation]:
    """What other agents have asked of this workspace, newest first, as long as it is kept."""
    found = turns.listing(platform, workspace_id, None, limit, origin="agent")
    texts = _texts(platform, workspace_id, [turn.id for turn in found])
    return [
        Delegation(
            turn.id,
            "received",
            turn.from_workspace_id,
            workspace_id,
            text[:SUMMARY_MAX],
            turn.accepted_at,
            turn,
        )
        for turn, text in zip(found, texts, strict=True)
    ]


def sent(platform: Platform, workspace_id: str, limit: int) -> list[Delegation]:
    """What this workspace has asked of others, newest first, as far as its events are kept."""
    noted = _noted(platform, workspace_id, limit)
    pipe = platform.clients.data.pipeline(transaction=False)
    for event in noted:
        pipe.hget(keys.of(event.payload["target_id"])["turns"], event.payload["delegation_id"])
    return [
        Delegation(
            event.payload["delegation_id"],
            "sent",
            workspace_id,
            event.payload["target_id"],
            str(event.payload.get("summary", "")),
            events.order(event.id)[0],
            Turn.parse(text) if text else None,
        )
        for event, text in zip(noted, pipe.execute(), strict=True)
    ]


def _noted(platform: Platform, workspace_id: str, limit: int) -> list[events.Event]:
    found: list[events.Event] = []
    before = "+"
    while len(found) < limit:
        page = events.latest(platform, workspace_id, PAGE, before)
        found += [event for event in page if _is_note(event)]
        if len(page) < PAGE:
            break
        before = f"({page[-1].id}"
    return found[:limit]


def _is_note(event: events.Event) -> bool:
    """An agent writes to its activity too, and may write anything."""
    named = (event.payload.get("delegation_id"), event.payload.get("target_id"))
    is_sent = event.event == "ACTIVITY_LOGGED" and event.payload.get("type") == "a2a_send"
    return is_sent and all(isinstance(one, str) and one for one in named)


def _texts(platform: Platform, workspace_id: str, turn_ids: Sequence[str]) -> Iterable[str]:
    if not turn_ids:
        return []
    bodies = platform.clients.data.hmget(keys.of(workspace_id)["bodies"], list(turn_ids))
    return [str(json.loads(body).get("text", "")) if body else "" for body in bodies]
