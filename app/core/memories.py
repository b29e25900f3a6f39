"""Memories: what a workspace, its team and everybody is to remember.

A store (LOCAL, TEAM, GLOBAL) has a sequence that rises with every write and removal, and every
change is one script in the store's slot. Who shares the store is told afterwards (``telling.py``).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from app.core import doorbell, ids, keys, scripts, sessions, telling, workspaces
from app.core.errors import InvalidInput, MemoriesFull, MemoryNotFound, SessionNotFound
from app.core.memory_stores import LOCAL, Store, store_of, stores, team_of
from app.core.platform import Platform
from app.core.records import Record
from app.core.redaction import redact
from app.core.settings import env_name

PAGE = 500


@dataclass(frozen=True)
class Memory(Record):
    """A memory's newest version. ``seq`` orders a store; times are ms since the epoch."""

    id: str
    seq: int
    at: int
    namespace: str = ""
    scope: str = LOCAL
    key: str | None = None
    version: int = 1
    created_at: int = 0
    created_seq: int = 0
    workspace_id: str | None = None
    session_id: str | None = None
    author: str | None = None
    redactions: Mapping[str, int] = field(default_factory=dict)
    gone: bool = False
    text: str = ""

    def with_text(self, text: str) -> "Memory":
        """The same with what it says, which is stored beside the record."""
        return replace(self, text=text)

    def reference(self) -> dict[str, Any]:
        """What names this version, without its text."""
        shown = asdict(self)
        del shown["text"], shown["gone"], shown["created_seq"]
        return shown


@dataclass(frozen=True)
class Draft:
    """A memory to write. ``key``: the same key in a namespace is the same memory.

    ``put_id``: the caller's name for this write; with the same one it is made once.
    """

    content: str
    scope: str = LOCAL
    namespace: str = ""
    key: str | None = None
    session_id: str | None = None
    author: str | None = None
    put_id: str | None = None


@dataclass(frozen=True)
class Reading:
    """A store at one moment: the newest of ``total``, and its sequence number then."""

    store: Store
    seq: int
    total: int
    bytes: int
    has_more: bool
    memories: Sequence[Memory]


def commit(platform: Platform, workspace_id: str, draft: Draft) -> tuple[Memory, bool]:
    """Write a memory, secrets taken out; returns it and whether it was news.

    Raises:
        WorkspaceNotFound, WorkspaceRemoved, InvalidInput, IdempotencyConflict, MemoriesFull,
        SessionNotFound.
    """
    workspaces.require(platform, workspace_id)
    _check_session(platform, workspace_id, draft.session_id)
    return write(platform, store_of(platform, workspace_id, draft.scope), workspace_id, draft)


def write(platform: Platform, store: Store, workspace_id: str, draft: Draft) -> tuple[Memory, bool]:
    """``commit`` into a store that is known; a shared one's writer may be no workspace ("").

    Raises:
        WorkspaceNotFound, WorkspaceRemoved, InvalidInput, IdempotencyConflict, MemoriesFull.
    """
    _check_names(draft)
    clean = redact(draft.content)
    text_bytes = clean.text.encode()
    _check_bytes(platform, len(text_bytes))
    if workspace_id:  # first: a death after the write must not hide it
        doorbell.watch(platform, workspace_id, 1)
    try:
        outcome, written, live = platform.run(
            "memory_put",
            store.tag,
            put_id=draft.put_id or ids.new("mem"),
            digest=hashlib.sha256(text_bytes).hexdigest()[:16],
            record=_record(workspace_id, draft, clean.counts),
            text=clean.text,
            bytes=len(text_bytes),
            scope=store.scope,
            team=store.team,
            count_max=platform.settings.memories_max_count,
        )
    except MemoriesFull as full:
        if (
            workspace_id and store.scope != LOCAL
        ):  # its event stands in the shared store's own stream
            _tell_limit(platform, workspace_id, full)
        raise
    memory = Memory.parse(written)
    telling.spread(platform, store, _change(memory, "written", workspace_id), live)
    return memory.with_text(clean.text), outcome == "written"


def _record(workspace_id: str, draft: Draft, redactions: Mapping[str, int]) -> str:
    fields = {
        "scope": draft.scope,
        "namespace": redact(draft.namespace).text,
        "key": redact(draft.key).text if draft.key else None,
        "workspace_id": workspace_id,
        "session_id": draft.session_id,
        "author": draft.author,
        "redactions": redactions or None,
    }
    named = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(named, ensure_ascii=False)


def _change(memory: Memory, change: str, workspace_id: str) -> telling.Change:
    return telling.Change(
        memory.id, memory.seq, memory.version, change, memory.session_id, workspace_id
    )


def _check_session(platform: Platform, workspace_id: str, session_id: str | None) -> None:
    if session_id and sessions.find(platform, workspace_id, session_id) is None:
        raise SessionNotFound(session_id=session_id)


def _check_names(draft: Draft) -> None:
    """A namespace and a key are stored as two lines of one name."""
    for name, text in (("namespace", draft.namespace), ("key", draft.key or "")):
        if "\n" in text:
            raise InvalidInput(name, "one line")


def _check_bytes(platform: Platform, measured: int) -> None:
    limit, setting = platform.settings.memory_max_bytes, env_name("memory_max_bytes")
    if measured > limit:
        raise InvalidInput(
            "content",
            f"at most {limit} bytes of text ({setting}); this has {measured}",
            mechanism="memory_max",
            limit_bytes=limit,
            measured_bytes=measured,
            setting=setting,
        )


def _tell_limit(platform: Platform, workspace_id: str, full: MemoriesFull) -> None:
    platform.run(
        "append",
        workspace_id,
        client=platform.clients.once,
        event="LIMIT_HIT",
        payload=json.dumps(full.fields),
        mechanism="memories_count",
        turn_id="",
        session_id="",
    )


def delete(
    platform: Platform, workspace_id: str, memory_id: str, session_id: str | None = None
) -> Memory:
    """Remove a memory from whichever store of the workspace has it; a repeat is answered again.

    Raises:
        WorkspaceNotFound, MemoryNotFound.
    """
    store, _ = find(platform, workspace_id, memory_id)
    doorbell.watch(platform, workspace_id, 1)
    _, written, live = platform.run(
        "memory_delete",
        store.tag,
        memory_id=memory_id,
        session_id=session_id,
        scope=store.scope,
        team=store.team,
    )
    memory = Memory.parse(written)
    telling.spread(platform, store, _change(memory, "deleted", workspace_id), live)
    return memory


def find(platform: Platform, workspace_id: str, memory_id: str) -> tuple[Store, Memory]:
    """A memory by its id, and the store it is in; a removed one still says that it is gone.

    Raises:
        WorkspaceNotFound, MemoryNotFound.
    """
    workspaces.require(platform, workspace_id)
    for store in stores(workspace_id, team_of(platform, workspace_id)):
        own = keys.of(store.tag)
        pipe = platform.clients.data.pipeline(transaction=False)
        pipe.hget(own["memories"], memory_id)
        pipe.hget(own["memory_texts"], memory_id)
        record, text = pipe.execute()
        if record:
            return store, Memory.parse(record).with_text(text or "")
    raise MemoryNotFound(memory_id=memory_id)


def by_key(platform: Platform, store: Store, namespace: str, key: str) -> str:
    """The id of the memory that has this key.

    Raises:
        MemoryNotFound.
    """
    name = f"{redact(namespace).text}\n{redact(key).text}"
    found = platform.clients.data.hget(keys.of(store.tag)["memory_names"], name)
    if found is None:
        raise MemoryNotFound(key=key, namespace=namespace)
    return str(found)


def by_content(platform: Platform, store: Store, namespace: str | None, content: str) -> str:
    """The id of the newest memory with exactly this text, after its secrets were taken out.

    Raises:
        MemoryNotFound.
    """
    wanted = redact(content).text
    for memory in every(platform, store):
        if memory.text == wanted and namespace in (None, memory.namespace):
            return memory.id
    raise MemoryNotFound("no memory of this store has this text")


# Reading.


def read(
    platform: Platform, store: Store, before: int | None, max_count: int, max_bytes: int
) -> Reading:
    """A part of a store at one moment, newest first."""
    args = _read_args(before, max_count, max_bytes)
    return _reading(store, platform.run("memory_read", store.tag, **args))


def _read_args(before: int | None, max_count: int, max_bytes: int) -> dict[str, Any]:
    return {"before": before, "max_count": max_count, "max_bytes": max_bytes}


def _reading(store: Store, reply: list[Any]) -> Reading:
    _, seq, total, size, more, *rows = reply
    pairs = zip(rows[::2], rows[1::2], strict=True)
    found = [Memory.parse(record).with_text(text) for record, text in pairs]
    return Reading(store, seq, total, size, bool(more), found)


def every(platform: Platform, store: Store, page: int = PAGE) -> Iterator[Memory]:
    """All memories of a store, newest first, in pages."""
    before: int | None = None
    while True:
        part = read(platform, store, before, page, 2**30)
        yield from part.memories
        if not part.has_more:
            return
        before = part.memories[-1].seq


def at_claim(platform: Platform, workspace_id: str, max_bytes: int) -> list[Reading]:
    """Every store of a workspace as it is now, as far as the budget reaches in each.

    One round trip where all of them are empty, and no script: this is on the way of every turn.
    """
    data = platform.clients.data
    pipe = data.pipeline(transaction=False)
    pipe.hget(keys.of(workspace_id)["workspace"], "team")
    pipe.hget(keys.of(workspace_id)["policy"], "seq")
    pipe.hget(keys.of(keys.GLOBAL_TAG)["policy"], "seq")
    team, *numbers = pipe.execute()
    return readings(platform, workspace_id, team or "", any(numbers), max_bytes)


def readings(
    platform: Platform, workspace_id: str, team: str, any_written: bool, max_bytes: int
) -> list[Reading]:
    """As ``at_claim``, for a caller who knows the team, and whether anything was ever written to
    the workspace's own store or everybody's; nothing is read where all of them are empty."""
    found = stores(workspace_id, team)
    empty = [Reading(store, 0, 0, 0, False, ()) for store in found]
    if not team and not any_written:
        return empty
    data = platform.clients.data
    args = _read_args(None, 1000, max_bytes)
    replies = scripts.call_many(data, "memory_read", [(store.tag, args) for store in found])
    parts = []
    for store, reply in zip(found, replies, strict=True):
        if isinstance(reply, Exception):
            raise reply
        parts.append(_reading(store, reply))
    return parts
