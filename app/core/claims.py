"""Claiming: the next turn of a workspace, or of many workspaces in one round trip."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core import doorbell, ids, keys
from app.core.platform import Platform
from app.core.records import Session, Turn
from app.core.scripts import Call
from app.core.settings import Settings


@dataclass(frozen=True)
class Claim:
    """A claimed turn with everything that is bound to it only now.

    ``team`` and ``memory_seq`` say whose memories there are, and whether there are any of its own.
    """

    session: Session
    turn: Turn
    body: Mapping[str, Any]
    schedule: Mapping[str, Any] | None
    note: Mapping[str, Any] | None
    depth: int
    team: str = ""
    memory_seq: int = 0


@dataclass(frozen=True)
class NoClaim:
    """Why nothing was claimed, and from when a retry may help (ms; 0: when somebody rings)."""

    reason: str
    wake_at_ms: int


@dataclass(frozen=True)
class Claims:
    """What each workspace answered, a refusal or a broken connection in its place; and the
    sequence of the memories that are everybody's, read after all claims."""

    answers: Mapping[str, Claim | NoClaim | Exception]
    global_seq: int


def first_look_s(settings: Settings) -> float:
    """Within so long a clock of a session claimed now may run out, its ceiling aside."""
    limits = (settings.idle_timeout_s, settings.stall_after_s)
    return min(settings.handover_s, settings.lease_ttl_s, *(limit for limit in limits if limit))


def claim(platform: Platform, workspace_id: str, session_id: str | None = None) -> Claim | NoClaim:
    """Claim the next turn if the workspace has room; atomic.

    Args:
        session_id: the caller's token; a repeat with the same one gets the same answer.
    """
    return _read(platform.run("claim", workspace_id, session_id=session_id or ids.new("ses")))


def claim_each(platform: Platform, workspace_ids: Sequence[str]) -> Claims:
    """Claim the next turn of each, with the reaper told before the first claim and after the last.

    Before: a death between two claims leaves no session unwatched. After: a reaper that looked in
    between took that look, saw no session, and may come again only when a heartbeat would be late.
    """
    within_s = first_look_s(platform.settings)
    calls = [Call("claim", one, {"session_id": ids.new("ses")}) for one in workspace_ids]
    seq = Call("memory_seq", keys.GLOBAL_TAG, {})
    if platform.clients.is_one_server:
        look = doorbell.watch_call(workspace_ids, within_s)
        replies = platform.run_each([look, *calls, seq, look])[1:-1]
    else:
        doorbell.watch_all(platform, workspace_ids, within_s)
        replies = platform.run_each(calls)
        doorbell.watch_all(platform, workspace_ids, within_s)
        replies += platform.run_each([seq])
    *answers, last = replies
    if isinstance(last, Exception):
        raise last
    found = zip(workspace_ids, map(_answer, answers), strict=True)
    return Claims(dict(found), int(last[1]))


def _answer(reply: Any) -> Claim | NoClaim | Exception:
    """One that cannot be read is that workspace's trouble only."""
    if isinstance(reply, Exception):
        return reply
    try:
        return _read(reply)
    except (ValueError, TypeError) as fault:
        return fault


def _read(reply: list[Any]) -> Claim | NoClaim:
    if reply[0] not in ("claimed", "replayed"):
        return NoClaim(reply[0], int(float(reply[1])))
    session, turn, body, schedule, note, depth, team, seq = reply[1:]
    return Claim(
        Session.parse(session),
        Turn.parse(turn),
        _load(body),
        _load(schedule),
        _load(note),
        depth,
        team,
        int(seq or 0),
    )


def _load(text: str) -> Any:
    return json.loads(text) if text else None
