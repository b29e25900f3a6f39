"""Loads the Lua scripts and calls them by name, keys and arguments bound by name too.

A script's header is read, not repeated: ``@keys`` names what ``K.<name>`` is, ``@args`` what
``A.<name>`` is (text; empty for None), ``@include`` names files of ``lua/include`` of which the
script carries what it reaches, with the keys and arguments of that. The reply is a list whose first
item is the outcome; ``{"refused", code, detail}`` becomes the exception of that code.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any
from weakref import WeakKeyDictionary

from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError

from app.core import errors, keys, lua_source

REFUSALS: dict[str, type[errors.TurnkeeperError]] = {
    kind.code: kind
    for kind in (
        errors.WorkspaceNotFound,
        errors.WorkspaceRemoved,
        errors.TurnNotFound,
        errors.SessionNotFound,
        errors.ScheduleNotFound,
        errors.MemoryNotFound,
        errors.MemoriesFull,
        errors.AlreadyExists,
        errors.StaleFence,
        errors.IllegalTransition,
        errors.StartedElsewhere,
        errors.QueueFull,
        errors.IdempotencyConflict,
        errors.ScheduleChanged,
        errors.TooManyPushConfigs,
    )
}


@dataclass(frozen=True)
class Script:
    """One operation: its whole source with includes, and the names it takes."""

    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    source: str
    sha: str


@lru_cache(maxsize=1)
def load() -> Mapping[str, Script]:
    """Every script of ``lua/``, by operation."""
    root = resources.files("app.core").joinpath("lua")
    parts = {
        entry.name.removesuffix(".lua"): entry.read_text()
        for entry in root.joinpath("include").iterdir()
        if entry.name.endswith(".lua")
    }
    return {
        name: _assemble(name, entry.read_text(), parts)
        for entry in root.iterdir()
        if entry.name.endswith(".lua")
        for name in [entry.name.removesuffix(".lua")]
    }


def _assemble(name: str, source: str, parts: Mapping[str, str]) -> Script:
    whole = lua_source.assemble(name, source, parts)
    sha = hashlib.sha1(whole.source.encode()).hexdigest()  # noqa: S324 - Redis names scripts so
    return Script(name, whole.keys, whole.args, whole.source, sha)


def call(
    client: Any,
    name: str,
    workspace_id: str,
    extra_keys: Mapping[str, str] | None = None,
    /,
    **args: Any,
) -> list[Any]:
    """Run one operation on one workspace; atomic.

    Args:
        client: a Redis client with ``decode_responses``.
        name: the operation: a file of ``lua/``.
        workspace_id: whose keys to pass.
        extra_keys: keys that are not the same for each call (an idempotency key).
        args: exactly the script's ``@args``; None becomes the empty text.

    Returns:
        The reply; its first item is the outcome.

    Raises:
        TurnkeeperError: of the code with which the script refused.
        TypeError: when the arguments are not those of the script.
    """
    script = load()[name]
    payload = encode(script, workspace_id, extra_keys, args)
    try:
        try:
            reply = client.execute_command("EVALSHA", script.sha, *payload)
        except NoScriptError:
            reply = client.execute_command("EVAL", script.source, *payload)
    except ResponseError as error:
        if is_full(error):
            raise errors.StoreFull from error
        raise
    return outcome(reply)


def is_full(error: Exception) -> bool:
    """Whether Redis refused a write because its ``maxmemory`` is reached.

    A script is refused at its first write, or not at all: none is ever half done. One whose
    first write takes something away is let through, whatever it adds after that.
    """
    if isinstance(error, OutOfMemoryError):
        return True
    # 6.2 wraps what a command inside a script was told.
    return isinstance(error, ResponseError) and "-OOM " in str(error)


@dataclass(frozen=True)
class Call:
    """One operation with its arguments, to be sent together with others."""

    name: str
    workspace_id: str
    args: Mapping[str, Any]


def call_each(client: Any, calls: Sequence[Call]) -> list[list[Any] | Exception]:
    """Run operations in their order in one round trip; each is atomic, the whole is not.

    A server that lost its scripts is given them, and then what it did not know, in order.

    Returns:
        The replies in order; a refusal, a script that broke, StoreFull and a server that cannot
        be reached stand there as their exception: the others may have gone through.

    Raises:
        RedisError: the connection broke; each may have been run or not.
    """
    _teach(client, {call.name for call in calls})
    replies = _send(client, calls)
    unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if unknown:
        _TAUGHT.pop(client, None)
        _teach(client, {calls[at].name for at in unknown})
        again = _send(client, [calls[at] for at in unknown])
        for at, reply in zip(unknown, again, strict=True):
            replies[at] = reply
    return [_in_place(reply) for reply in replies]


# Which scripts a client's server was given by it.
_TAUGHT: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def _teach(client: Any, names: set[str]) -> None:
    known = _TAUGHT.setdefault(client, set())
    for name in names - known:
        client.script_load(load()[name].source)
        known.add(name)


def _send(client: Any, calls: Sequence[Call]) -> list[Any]:
    pipe = client.pipeline(transaction=False)
    for call in calls:
        script = load()[call.name]
        payload = encode(script, call.workspace_id, None, call.args)
        pipe.execute_command("EVALSHA", script.sha, *payload)
    return list(pipe.execute(raise_on_error=False))


def _in_place(reply: Any) -> list[Any] | Exception:
    if isinstance(reply, Exception) and is_full(reply):
        return errors.StoreFull()
    if isinstance(reply, ResponseError) and not isinstance(reply, NoScriptError):
        return errors.TurnkeeperError(str(reply))
    if isinstance(reply, Exception):
        return reply
    try:
        return outcome(reply)
    except errors.TurnkeeperError as refusal:
        return refusal


def call_many(
    client: Any, name: str, calls: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[list[Any] | errors.TurnkeeperError]:
    """Run one operation on many workspaces in one round trip; each is atomic, the whole is not.

    Returns:
        The replies in order; a refusal, or a script that broke, stands there as its exception.

    Raises:
        StoreFull.
    """
    found: list[list[Any] | errors.TurnkeeperError] = []
    for reply in call_each(
        client, [Call(name, workspace_id, args) for workspace_id, args in calls]
    ):
        if isinstance(reply, errors.StoreFull):
            raise reply
        if isinstance(reply, Exception) and not isinstance(reply, errors.TurnkeeperError):
            raise reply
        found.append(reply)
    return found


def encode(
    script: Script, workspace_id: str, extra_keys: Mapping[str, str] | None, args: Mapping[str, Any]
) -> list[Any]:
    """``numkeys, keys…, args…`` of a call."""
    if args.keys() != set(script.args):
        missing, unknown = set(script.args) - args.keys(), args.keys() - set(script.args)
        raise TypeError(f"{script.name}: missing {sorted(missing)}, unknown {sorted(unknown)}")
    named = (
        _keys_of(script, workspace_id)
        if not extra_keys
        else _named(script, workspace_id, extra_keys)
    )
    return [len(named), *named, *(_text(args[arg]) for arg in script.args)]


def _named(script: Script, workspace_id: str, extra_keys: Mapping[str, str]) -> tuple[str, ...]:
    own, given = keys.of(workspace_id), {**keys.CONTROL, **extra_keys}
    return tuple(given.get(key) or own[key] for key in script.keys)


@lru_cache(maxsize=1024)
def _keys_of(script: Script, workspace_id: str) -> tuple[str, ...]:
    """The keys of a call without any of its own: ten schedules of a workspace ask for the same."""
    return _named(script, workspace_id, {})


def outcome(reply: list[Any]) -> list[Any]:
    """The reply, or the exception that its refusal means."""
    if reply[0] == "refused":
        fields = json.loads(reply[2]) if len(reply) > 2 and reply[2] else {}
        raise REFUSALS[reply[1]](**fields)
    return reply


def _text(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return value
