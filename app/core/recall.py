"""Recalling memories: newest first, or ranked; what is left out is always said, with its place."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core import keys, memories, sessions
from app.core.errors import InvalidInput, SessionNotFound
from app.core.memories import Memory
from app.core.memory_index import Hit, Indexes
from app.core.memory_stores import SCOPES, Store, stores, team_of
from app.core.platform import Platform

PAGE_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Question:
    """What to recall. ``session_id``: the session that asks; it has then seen what there is.
    ``page_max_bytes``: a page ends before it would hold more text, but has at least one memory."""

    query: str = ""
    scopes: Sequence[str] = SCOPES
    namespace: str | None = None
    limit: int = 50
    cursor: str = ""
    session_id: str | None = None
    page_max_bytes: int = PAGE_MAX_BYTES


@dataclass(frozen=True)
class Recalled:
    """A page of the answer; ``total`` is all of it, ``next`` the cursor of what follows."""

    memories: Sequence[Memory]
    total: int
    next: str | None

    @property
    def is_complete(self) -> bool:
        """Whether this page is the whole answer."""
        return len(self.memories) == self.total


@dataclass(frozen=True)
class Page:
    """Where a page begins: below these sequence numbers, or behind so many ranked ones."""

    before: Mapping[str, int]
    offset: int = 0


def recall(platform: Platform, indexes: Indexes, workspace_id: str, question: Question) -> Recalled:
    """Answer a question from the stores of a workspace.

    Raises:
        InvalidInput: a cursor of another question. SessionNotFound. SearchUnavailable.
    """
    team = team_of(platform, workspace_id)
    asked = [one for one in stores(workspace_id, team) if one.scope in question.scopes]
    page = _parse(question)
    session_id = question.session_id
    if session_id and sessions.find(platform, workspace_id, session_id) is None:
        raise SessionNotFound(session_id=session_id)
    if question.query or question.namespace is not None:
        found, seen = _searched(platform, indexes, asked, question, page)
    else:
        found, seen = _newest(platform, asked, question, page)
    if session_id:
        platform.run(
            "memory_seen", workspace_id, session_id=session_id, seen=json.dumps(seen), team=team
        )
    return found


def newest(platform: Platform, workspace_id: str, count: int) -> Recalled:
    """The newest memories of all stores of a workspace."""
    asked = stores(workspace_id, team_of(platform, workspace_id))
    return _newest(platform, asked, Question(limit=count), Page({}))[0]


Answer = tuple[Recalled, dict[str, int]]


def _newest(platform: Platform, asked: Sequence[Store], question: Question, page: Page) -> Answer:
    """All stores as one list by time, none out of the order of its own sequence."""
    readings = [
        memories.read(
            platform, one, page.before.get(one.scope), question.limit, question.page_max_bytes
        )
        for one in asked
    ]
    left = {one.store.scope: list(one.memories) for one in readings}
    before, used = dict(page.before), 0
    taken: list[Memory] = []
    while len(taken) < question.limit and any(left.values()):
        scope = max((s for s in left if left[s]), key=lambda s: left[s][0].at)
        used += len(left[scope][0].text.encode())
        if taken and used > question.page_max_bytes:
            break
        taken.append(left[scope].pop(0))
        before[scope] = taken[-1].seq
        reading = next(one for one in readings if one.store.scope == scope)
        if not left[scope] and reading.has_more:
            break  # what follows in this store is not read yet, so nothing may overtake it
    has_more = any(left.values()) or any(one.has_more for one in readings)
    total = sum(one.total for one in readings)
    following = _cursor(question, Page(before)) if has_more else None
    return Recalled(taken, total, following), {one.store.scope: one.seq for one in readings}


def _searched(
    platform: Platform,
    indexes: Indexes,
    asked: Sequence[Store],
    question: Question,
    page: Page,
) -> Answer:
    """Ranked by BM25, the newest of equals first; without a query the newest first."""
    seen: dict[str, int] = {}
    hits: list[Hit] = []
    for one in asked:
        seen[one.scope], found = indexes.of(one).ask(
            platform, question.query or None, question.namespace
        )
        hits += found
    hits.sort(key=lambda hit: (hit.score, -hit.at, -hit.seq))
    if question.query:
        rest = hits[page.offset :]
    else:  # later writes do not move the pages of a list
        rest = [hit for hit in hits if hit.seq < page.before.get(hit.store.scope, hit.seq + 1)]
    count, used = 0, 0
    taken: list[Memory] = []
    for memory in _texts(platform, rest[: question.limit]):
        used += len(memory.text.encode()) if memory else 0
        if taken and used > question.page_max_bytes:
            break
        count += 1
        taken += [memory] if memory else []  # else removed since
    before = dict(page.before) | {hit.store.scope: hit.seq for hit in rest[:count]}
    following = Page(before, page.offset + count) if count < len(rest) else None
    cursor = _cursor(question, following) if following else None
    return Recalled(taken, len(hits) - (count - len(taken)), cursor), seen


def _texts(platform: Platform, hits: Sequence[Hit]) -> list[Memory | None]:
    """The memories of these hits as they are in the store now; None: removed meanwhile."""
    pipe = platform.clients.data.pipeline(transaction=False)
    for hit in hits:
        own = keys.of(hit.store.tag)
        pipe.hget(own["memories"], hit.id)
        pipe.hget(own["memory_texts"], hit.id)
    rows = iter(pipe.execute())
    found = [(next(rows), next(rows)) for _ in hits]
    return [
        Memory.parse(record).with_text(text) if record and text is not None else None
        for record, text in found
    ]


def _digest(question: Question) -> str:
    asked = [question.query, sorted(question.scopes), question.namespace]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]


def _cursor(question: Question, page: Page) -> str:
    row = [_digest(question), dict(page.before), page.offset]
    return base64.urlsafe_b64encode(json.dumps(row, separators=(",", ":")).encode()).decode()


def _parse(question: Question) -> Page:
    if not question.cursor:
        return Page({})
    try:
        row: Any = json.loads(base64.urlsafe_b64decode(question.cursor.encode()))
        digest, before, offset = row
        page = Page({scope: int(before[scope]) for scope in before}, int(offset))
        is_sound = digest == _digest(question) and set(before) <= set(SCOPES) and page.offset >= 0
    except (ValueError, TypeError, KeyError):
        is_sound = False
    if not is_sound:
        raise InvalidInput("cursor", "`next` of an answer to the same question")
    return page
