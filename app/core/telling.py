"""Tells workspaces that memories they share have changed: POLICY_CHANGED, once for each change.

A team's memories lie in another slot than its members, so no script can do both. The writer tells
after the write, each workspace by an idempotent script; what a death leaves untold the sweep tells.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core import doorbell, keys, scripts, workspaces
from app.core.memory_stores import LOCAL, TEAM, Store, stores
from app.core.platform import Platform

PAGE = 500


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
    """Tell who is concerned, and have the reaper look where a session may be stale now."""
    if store.scope == LOCAL:
        if live_count:
            doorbell.watch(platform, store.tag, 0)
        return
    if store.scope == TEAM:
        members = platform.clients.control.smembers(keys.team_members(store.team))
        concerned = sorted(members | {made.workspace_id})
    else:
        concerned = list(workspaces.all_ids(platform))
    facts = {"memory_id": made.memory_id, "version": made.version, "change": made.change}
    facts |= {"session_id": made.session_id} if made.session_id else {}
    for start in range(0, len(concerned), PAGE):
        tell(platform, store, made.seq, concerned[start : start + PAGE], facts)


def tell(
    platform: Platform, store: Store, seq: int, concerned: list[str], facts: Mapping[str, Any]
) -> int:
    """Tell these workspaces of a change, each once however often it is told. Returns the news."""
    args = {
        "store": store.tag,
        "scope": store.scope,
        "team": store.team,
        "memory_seq": seq,
        "payload": json.dumps(facts),
    }
    full = platform.with_limits("memory_tell", args)
    replies = scripts.call_many(
        platform.clients.data, "memory_tell", [(one, full) for one in concerned]
    )
    told = 0
    for workspace_id, reply in zip(concerned, replies, strict=True):
        if isinstance(reply, Exception):
            continue
        outcome, live = reply
        if outcome == "elsewhere" and store.team:
            platform.clients.control.srem(keys.team_members(store.team), workspace_id)
        elif outcome == "told":
            told += 1
            if live:
                doorbell.watch(platform, workspace_id, 0)
    return told


def repair(platform: Platform, found: Sequence[workspaces.Workspace]) -> int:
    """Tell what a death left untold, and write the hint who is in which team. Returns the news."""
    data, control = platform.clients.data, platform.clients.control
    members: dict[Store, list[str]] = {}
    for one in found:
        if one.stored["status"] != "removed":
            for store in stores(one.id, one.stored.get("team", ""))[1:]:
                members.setdefault(store, []).append(one.id)
    pipe = data.pipeline(transaction=False)
    for store in members:
        pipe.hget(keys.of(store.tag)["policy"], "seq")
    seqs = dict(zip(members, pipe.execute(), strict=True))
    told = 0
    for store, concerned in members.items():
        if store.team:
            control.sadd(keys.team_members(store.team), *concerned)
        if not seqs[store]:
            continue
        pipe = data.pipeline(transaction=False)
        for workspace_id in concerned:
            pipe.hget(keys.of(workspace_id)["policy"], f"told:{store.tag}")
        rows = zip(concerned, pipe.execute(), strict=True)
        behind = [one for one, known in rows if int(known or 0) < int(seqs[store])]
        if behind:
            told += tell(platform, store, int(seqs[store]), behind, {"change": "several"})
    return told
