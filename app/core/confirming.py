"""Changes that replicas confirm before a caller is told of them (TURNKEEPER_ACK_REPLICAS).

WAIT counts the replicas that have what its own connection wrote, so script and WAIT go out on
one connection. A repeat that is only replayed writes nothing, and newer servers then count any
replica: so an empty key is written between the two, and what is confirmed is all before it.

A change that is not confirmed stands all the same; it cannot be taken back. In a web process
the request is then answered 503 ``not_replicated``, once what hangs on the change is done; other
processes say it in their log and go on, for nobody was promised anything.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import structlog
from redis.exceptions import AskError, MovedError, NoScriptError

from app.core import errors, keys, scripts
from app.core.redis_clients import holding
from app.core.settings import env_name

# What a caller is told is done, or what others build on. The rest says how alive somebody is, or
# is made again by whoever made it; see docs/operations.md.
CONFIRMED = frozenset(
    (
        *("submit", "follow", "replay", "discard", "cancel", "expire", "append"),
        *(
            "claim",
            "bind",
            "hand_over",
            "start",
            "note",
            "say",
            "ask",
            "finish",
            "release",
            "decline",
            "reap",
        ),
        *("agent_hold", "deliver"),  # sent to its agent once, and under which name it works there
        *("workspace_put", "schedule_put", "schedule_remove", "memory_put", "memory_delete"),
        *("push_put", "push_remove", "line_open", "line_close", "line_settle"),
    )
)
UNCONFIRMED = frozenset(
    (
        *("heartbeat", "late", "offline", "progress", "stall", "take"),
        *(
            "watch",
            "watch_all",
            "overdue",
            "ring",
            "to_the_back",
            "dispatcher",
        ),  # of the control side
        *("webhook_put", "login", "admit", "token_swap", "agent_watch", "agents_due"),  # of it, too
        *("replay_run_put", "fire", "forecast", "line_take"),
        *("memory_read", "memory_seq", "memory_seen", "memory_tell"),
        *("trim", "bury", "alert", "agent_push"),
    )
)
MARK_MS = 1000
REDIRECTS_MOST = 5
log = structlog.get_logger(__name__)
_short: ContextVar[list[errors.NotReplicated] | None] = ContextVar("short", default=None)


@dataclass(frozen=True)
class Wait:
    """For how many replicas, and how long."""

    replicas: int
    timeout_s: float


def call(
    client: Any,
    wait: Wait,
    name: str,
    workspace_id: str,
    extra_keys: Mapping[str, str] | None,
    args: Mapping[str, Any],
) -> list[Any]:
    """As ``scripts.call``, and then wait for the replicas; who is short is noted, not raised.

    Raises:
        TurnkeeperError: of the code with which the script refused.
    """
    reply, count = _run(client, wait, name, workspace_id, extra_keys, args)
    if count < wait.replicas:
        _note(name, workspace_id, wait, count)
    return scripts.outcome(reply)


def begin() -> None:
    """A request begins: from here on, in this thread or greenlet, what is short is kept for it."""
    _short.set([])


def check() -> None:
    """Before a request is answered.

    Raises:
        NotReplicated: something that it changed is not confirmed. Told once.
    """
    short = _short.get()
    if short:
        first, short[:] = short[0], []
        raise first


def _note(name: str, workspace_id: str, wait: Wait, count: int) -> None:
    facts: dict[str, Any] = {
        "mechanism": "ack_replicas",
        "limit_count": wait.replicas,
        "measured_count": count,
        "timeout_s": wait.timeout_s,
        "setting": env_name("ack_replicas"),
    }
    log.warning("LIMIT_HIT", script=name, workspace_id=workspace_id, **facts)
    short = _short.get()
    if short is not None:
        short.append(errors.NotReplicated(**facts))


def _run(
    client: Any,
    wait: Wait,
    name: str,
    workspace_id: str,
    extra_keys: Mapping[str, str] | None,
    args: Mapping[str, Any],
) -> tuple[list[Any], int]:
    script, mark = scripts.load()[name], keys.of(workspace_id)["confirm"]
    payload = scripts.encode(script, workspace_id, extra_keys, args)
    words: tuple[Any, ...] = ("EVALSHA", script.sha)
    for _ in range(REDIRECTS_MOST):
        pipe = holding(client, mark).pipeline(transaction=False)
        pipe.execute_command(*words, *payload)
        pipe.set(mark, "", px=MARK_MS)
        pipe.execute_command("WAIT", wait.replicas, round(wait.timeout_s * 1000))
        reply, _, count = pipe.execute(raise_on_error=False)
        if isinstance(reply, NoScriptError):
            words = ("EVAL", script.source)
        elif isinstance(reply, MovedError):  # a kind of AskError; nothing was run
            client.nodes_manager.initialize()
        elif isinstance(reply, AskError):  # the slot is on its way: its new server is asked
            return _raised_or(client.execute_command("EVAL", script.source, *payload)), 0
        else:
            return _raised_or(reply), int(count)
    raise errors.StoreUnavailable


def _raised_or(reply: Any) -> list[Any]:
    if isinstance(reply, Exception) and scripts.is_full(reply):
        raise errors.StoreFull from reply
    if isinstance(reply, Exception):
        raise reply
    return list(reply)
