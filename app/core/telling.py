"""Tells workspaces that memories they share have changed: POLICY_CHANGED, once for each change.

A team's memories lie in another slot than its members, so no script can do both. The writer tells
after the write, each workspace by an idempotent script; what a death leaves untold the sweep tells.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from app.core import doorbell, keys, scripts, workspaces
from app.core.memory_stores import LOCAL, TEAM, Store, stores
from app.core.platform import Platform

PAGE = 500
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What was done to a store: ``change`` is ``written`` or ``deleted``."""

    memory_id: str
    seq: int
    version: int
    change: str
    session_id: str | None
    workspace_id: str


def spread(platform: Platform, store: Store, made: Change, live_count: int) -> None:
    """Tell who is concerned, and have the reaper look where a session may be stale now.

    The change has been made already, so a telling that fails is logged and no error: the reaper
    was sent to the writer's workspace before, and the sweep tells the others.
    """
    try:
        _spread(platform, store, made, live_count)
    except RedisError as error:
        log.warning("change %s of %s not told, the sweep will: %s", made.seq, store.tag, error)


def _spread(platform: Platform, store: Store, made: Change, live_count: int) -> None:
    if store.scope == LOCAL:
        if live_count:
            doorbell.watch(platform, store.tag, 0)
        return
    if store.scope == TEAM:
        members = platform.clients.control.smembers(keys.team_members(store.team))
        concerned = sorted((members | {made.workspace_id}) - {""})
    else:
        concerned = list(workspaces.all_ids(platform))
    facts = {"memory_id": made.memory_id, "version": made.version, "change": made.change}
    facts |= {"session_id": made.session_id} if made.session_id else {}
    for page in workspaces.in_pages(concerned, PAGE):
        tell(platform, store, made.seq, page, facts)


def tell(
    platform: Platform, store: Store, seq: int, concerned: Sequence[str], facts: Mapping[str, Any]
) -> int:
    """Tell these workspaces of a change, each once however often it is told. Returns the news.

    The reaper is sent first: it reads the store itself, and after a death in between nobody would
    send it to a workspace that counts as told.
    """
    behind = _behind(platform, store, seq, concerned)
    for workspace_id, live_count in behind.items():
        if live_count:
            doorbell.watch(platform, workspace_id, 0)
    args = {
        "store": store.tag,
        "scope": store.scope,
        "team": store.team,
        "memory_seq": seq,
        "payload": json.dumps(facts),
    }
    full = platform.with_limits("memory_tell", args)
    replies = scripts.call_many(
        platform.clients.data, "memory_tell", [(one, full) for one in behind]
    )
    told = 0
    for workspace_id, reply in zip(behind, replies, strict=True):
        if isinstance(reply, Exception):  # its trouble is not the others'; the sweep comes again
            log.warning("not told of a memory: %s: %s", workspace_id, reply)
        elif reply[0] == "told":
            told += 1
        elif reply[0] == "elsewhere" and store.team:
            platform.clients.control.srem(keys.team_members(store.team), workspace_id)
    return told


def _behind(platform: Platform, store: Store, seq: int, concerned: Sequence[str]) -> dict[str, int]:
    """Who has not been told of this change yet, and how many sessions run there."""
    pipe = platform.clients.data.pipeline(transaction=False)
    for workspace_id in concerned:
        pipe.hget(keys.of(workspace_id)["policy"], f"told:{store.tag}")
        pipe.zcard(keys.of(workspace_id)["live"])
    rows = iter(pipe.execute())
    found = {workspace_id: (next(rows), next(rows)) for workspace_id in concerned}
    return {name: live for name, (told, live) in found.items() if int(told or 0) < seq}


def repair(platform: Platform, found: Sequence[workspaces.Workspace]) -> int:
    """Tell what a death left untold, and write the hint who is in which team. Returns the news."""
    members: dict[Store, list[str]] = {}
    for one in found:
        if one.stored["status"] != "removed":
            for store in stores(one.id, one.stored.get("team", ""))[1:]:
                members.setdefault(store, []).append(one.id)
    pipe = platform.clients.data.pipeline(transaction=False)
    for store in members:
        pipe.hget(keys.of(store.tag)["policy"], "seq")
    told = 0
    for (store, concerned), seq in zip(members.items(), pipe.execute(), strict=True):
        if store.team:
            platform.clients.control.sadd(keys.team_members(store.team), *concerned)
        if seq:
            told += tell(platform, store, int(seq), concerned, {"change": "several"})
    return told
