"""Agents behind a URL: which workspaces have one, who talks to it, for how long.

Workers look at a workspace when it is due in the control side's hints (``AGENTS``); what is to be
done stands in the workspace: live sessions of the adapter ``a2a``, each held by one worker at a
time under a lease.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.core import keys, scripts, sessions
from app.core.errors import TurnkeeperError
from app.core.platform import Platform
from app.core.records import Session, Turn
from app.core.redis_clients import BLOCK_S

A2A = "a2a"
PROBE = "probe"  # the instance under which a look at an agent's card counts as its heartbeat
ADAPTERS = ("auto", "runtime", "a2a")


def is_behind_url(stored: Mapping[str, str]) -> bool:
    """Whether a workspace may be served by the adapter ``a2a``."""
    return bool(stored.get("agent_url")) and stored.get("adapter") != "runtime"


def adapter_of(stored: Mapping[str, str], beat: Mapping[str, str]) -> str:
    """How a turn claimed now would go; as ``open.lua`` decides it."""
    if not is_behind_url(stored):
        return "runtime"
    is_polled = beat.get("instance", "") not in ("", PROBE)
    return "runtime" if is_polled and stored.get("adapter") != A2A else A2A


def origin_of(url: str) -> str:
    """Scheme, host and port: what credentials are for."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname or ''}:{parts.port or ''}"
    except ValueError:
        return ""


def watch(platform: Platform, workspace_id: str, within_s: float) -> None:
    """Have a worker look at a workspace's agent within so long; at 0 one that waits is woken."""
    platform.run_control(
        "agent_watch", workspace_id=workspace_id, within_ms=max(0, round(within_s * 1000))
    )


def due(platform: Platform, limit: int, hold_s: float) -> list[str]:
    """The workspaces to look at now; one that is not watched again comes back after ``hold_s``."""
    return platform.run_control("agents_due", limit=limit, hold_ms=round(hold_s * 1000))[1:]


def wait(platform: Platform, wait_s: float) -> str:
    """Until somebody watches a workspace at once. Returns which; empty: none."""
    found = platform.clients.blocking.blpop([keys.AGENTS_WAKE], timeout=min(wait_s, BLOCK_S))
    return str(found[1]) if found else ""


def repair(platform: Platform, workspace_ids: Sequence[str]) -> None:
    """Write the hints that are missing."""
    if workspace_ids:
        now = platform.now_ms()
        members = dict.fromkeys(workspace_ids, now)
        platform.clients.control.zadd(keys.AGENTS, members, nx=True)


@dataclass(frozen=True)
class Held:
    """A session that is ours to talk about to its agent; ``was_sent``: somebody sent before us."""

    session: Session
    turn: Turn
    body: Mapping[str, Any]
    bound: Mapping[str, Any]
    was_sent: bool = False


@dataclass(frozen=True)
class Gone:
    """The session has ended; None where not even its record is left."""

    session: Session | None


@dataclass(frozen=True)
class Later:
    """Another worker holds it."""

    wait_s: float


def hold(
    platform: Platform,
    workspace_id: str,
    session_id: str,
    token: str,
    lease_s: float,
    sends: bool = False,
    push_digest: str = "",
) -> Held | Gone | Later:
    """Hold a session, or hold it on; ``sends`` marks it as sent. A lease of 0 puts it down.

    Args:
        push_digest: of the secret with which the agent may push; kept with the mark.
    """
    args = _args(session_id, token, lease_s, sends, push_digest)
    return _read(platform.run("agent_hold", workspace_id, **args))


def hold_on(
    platform: Platform, held: Sequence[tuple[str, str, str]], lease_s: float
) -> list[Held | Gone | Later | TurnkeeperError]:
    """Hold many on in one round trip: workspace id, session id, token."""
    calls = [(one, _args(session_id, token, lease_s, False)) for one, session_id, token in held]
    replies = scripts.call_many(platform.clients.data, "agent_hold", calls)
    return [reply if isinstance(reply, TurnkeeperError) else _read(reply) for reply in replies]


def _args(
    session_id: str, token: str, lease_s: float, sends: bool, push_digest: str = ""
) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "token": token,
        "lease_ms": round(lease_s * 1000),
        "sends": sends,
        "push_digest": push_digest,
    }


def _read(reply: list[Any]) -> Held | Gone | Later:
    if reply[0] == "gone":
        return Gone(Session.parse(reply[1]) if reply[1] else None)
    if reply[0] == "later":
        return Later(int(reply[1]) / 1000)
    session, turn, body, bound = reply[1:]
    return Held(
        Session.parse(session),
        Turn.parse(turn),
        json.loads(body) if body else {},
        json.loads(bound) if bound else {},
        reply[0] == "sent",
    )


def decline(
    platform: Platform,
    workspace_id: str,
    session_id: str,
    fence: int,
    mechanism: str,
    reason: str,
    retry_after_s: float = 0,
    facts: Mapping[str, Any] | None = None,
) -> str:
    """The agent takes no work for now: the turn waits, no attempt is used. Returns its state.

    Args:
        mechanism: ``busy``, ``rate_limited`` or ``hold_slots``.
        retry_after_s: not before this, as the agent said.
        facts: limit, measured value and setting, where a limit of ours acted.
    """
    reply = platform.run(
        "decline",
        workspace_id,
        session_id=session_id,
        fence=fence,
        mechanism=mechanism,
        reason=reason,
        retry_after_ms=round(retry_after_s * 1000),
        facts=json.dumps(facts) if facts else "",
    )
    sessions.after_return(platform, workspace_id, reply)
    return str(reply[1])
