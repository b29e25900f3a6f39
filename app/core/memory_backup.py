"""Memories in a backup: every store out, oldest first, and in again under the same ids."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.core import ids, keys, memories, workspaces
from app.core.errors import InvalidInput, MemoryNotFound
from app.core.memories import Draft, Memory
from app.core.memory_stores import GLOBAL, LOCAL, TEAM, Store, team_of
from app.core.platform import Platform
from app.core.redaction import redact

Item = dict[str, Any]


def records(platform: Platform, workspace_ids: Sequence[str]) -> Iterator[Item]:
    """Every memory of these workspaces, of their teams, and the global ones.

    The oldest of a store first: taken in again in this order, the newest is the newest again.
    """
    teams = {team for one in workspace_ids if (team := team_of(platform, one))}
    stores = [Store(LOCAL, one) for one in workspace_ids]
    stores += [Store(TEAM, keys.team_tag(team), team) for team in sorted(teams)]
    for store in [*stores, Store(GLOBAL, keys.GLOBAL_TAG)]:
        for memory in reversed(list(memories.every(platform, store))):
            yield _item(store, memory)


def _item(store: Store, memory: Memory) -> Item:
    item: Item = {"id": memory.id, "scope": store.scope, "content": memory.text}
    item |= {"namespace": memory.namespace, "key": memory.key}
    if store.scope == LOCAL:
        item["workspace_id"] = store.tag
    if store.scope == TEAM:
        item["team"] = store.team
    return item


def put(
    platform: Platform, record: Mapping[str, Any], is_dry: bool, is_coming: bool = False
) -> str:
    """Store a memory of a backup: ``created``, ``updated`` (one with its key has another text) or
    ``unchanged`` (it is there, under its id or another). ``is_coming``: its workspace is not there
    yet, but would be.

    Raises:
        WorkspaceNotFound.
        InvalidInput: it names no workspace, or no team, to lie in.
        TurnkeeperError: it cannot be stored.
    """
    store = _store(record)
    if store.scope == LOCAL and not is_coming:
        workspaces.require(platform, store.tag)
    text = redact(record["content"]).text
    namespace, key = record.get("namespace") or "", record.get("key")
    known = _known(platform, store, record["id"])
    try:
        if key:
            same = _known(platform, store, memories.by_key(platform, store, namespace, key))
        else:  # one that was removed, or another under its id, may have come in before by a new id
            found = memories.by_content(platform, store, namespace, text) if known else record["id"]
            same = _known(platform, store, found)
    except MemoryNotFound:
        same = None
    is_there = same is not None and not same.gone
    if is_there and same is not None and same.text == text:
        return "unchanged"
    if not is_dry:
        put_id = ids.new("mem") if known or is_there else record["id"]
        draft = Draft(record["content"], store.scope, namespace, key, put_id=put_id)
        memories.write(platform, store, record.get("workspace_id") or "", draft)
    return "updated" if is_there else "created"


def _store(record: Mapping[str, Any]) -> Store:
    scope, place = record["scope"], {LOCAL: "workspace_id", TEAM: "team"}.get(record["scope"])
    owner = record.get(place) if place else None
    if place and not owner:
        raise InvalidInput(place, f"a memory of scope {scope} names it")
    if scope == LOCAL:
        return Store(LOCAL, str(owner))
    if scope == TEAM:
        return Store(TEAM, keys.team_tag(str(owner)), str(owner))
    return Store(GLOBAL, keys.GLOBAL_TAG)


def _known(platform: Platform, store: Store, memory_id: str) -> Memory | None:
    own = keys.of(store.tag)
    pipe = platform.clients.data.pipeline(transaction=False)
    pipe.hget(own["memories"], memory_id)
    pipe.hget(own["memory_texts"], memory_id)
    record, text = pipe.execute()
    return Memory.parse(record).with_text(text or "") if record else None
