"""Searching memories: SQLite's FTS5 ranks by BM25; one index per store, kept by its process.

The store in Redis is the truth. Before each question the index reads what changed since the
sequence number it stands at, so an answer holds every write that was accepted before. It lies in a
temporary database of SQLite, which goes to disk when it is large.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.core import keys, memories
from app.core.errors import SearchUnavailable
from app.core.memories import Memory
from app.core.memory_stores import Store
from app.core.platform import Platform

INDEXES_KEPT = 32
# More changes than this and it is built anew; removals are remembered for longer than this.
CHANGES_MAX = 500
DEAD_MAX = 0.25
WORD = re.compile(r"\w+")
FAR_EAST = "\u2e80"

TABLES = """
CREATE TABLE memory  -- a row's number is never used again: words of removed rows stay behind
  (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, seq INTEGER, at INTEGER, namespace TEXT);
CREATE VIRTUAL TABLE words USING
  fts5(content, content='', tokenize="porter unicode61 remove_diacritics 2");
"""
RANKED = """
SELECT m.id, m.seq, m.at, round(bm25(words), 9) AS score FROM words
JOIN memory m ON m.row = words.rowid WHERE words MATCH ? AND (?2 IS NULL OR m.namespace = ?2)
ORDER BY score, m.seq DESC
"""
NEWEST = """
SELECT id, seq, at, 0 FROM memory WHERE ?1 IS NULL OR namespace = ?1 ORDER BY seq DESC
"""


@dataclass(frozen=True)
class Hit:
    """A memory that answers; the lowest ``score`` fits best."""

    store: Store
    id: str
    seq: int
    at: int
    score: float


def fault() -> str:
    """Why memories cannot be searched here; empty where they can."""
    import sqlite3

    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(TABLES)
    except sqlite3.Error as error:
        return f"SQLite {sqlite3.sqlite_version}: {error}"
    finally:
        connection.close()
    return ""


def match_of(query: str) -> str:
    """Any text as an FTS5 query: its words, any of them; empty where it has none. Pure.

    Every word is quoted, so none is an operator. Where words are written without spaces between
    them (Chinese, Japanese), one counts as the beginning of a longer one.
    """
    words = dict.fromkeys(word.lower() for word in WORD.findall(query))
    return " OR ".join(f'"{word}"' + ("*" if word[0] >= FAR_EAST else "") for word in words)


class StoreIndex:
    """The index of one store; one thread at a time."""

    def __init__(self, store: Store) -> None:
        self.store, self.seq = store, -1
        self._lock = threading.Lock()
        self._connection: Any = None
        self._dead = 0

    def ask(
        self, platform: Platform, query: str | None, namespace: str | None
    ) -> tuple[int, list[Hit]]:
        """What answers, best first, or with no query the newest first; and the store's sequence
        number up to which it was looked at.

        Raises:
            SearchUnavailable.
        """
        with self._lock:
            self._refresh(platform)
            if query is None:
                rows = self._connection.execute(NEWEST, (namespace,))
            elif match := match_of(query):
                rows = self._connection.execute(RANKED, (match, namespace))
            else:
                rows = []
            return self.seq, [Hit(self.store, *row) for row in rows]

    def close(self) -> None:
        """Give its database back."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self.seq, self._dead = None, -1, 0

    def _refresh(self, platform: Platform) -> None:
        policy = keys.of(self.store.tag)["policy"]
        for _ in range(3):  # what changes while it reads is read again; the last is good enough
            now = int(platform.clients.data.hget(policy, "seq") or 0)
            if now == self.seq:
                return
            live = self._connection and self._count() or 0
            is_worn = self._dead > DEAD_MAX * live + 100
            if self.seq < 0 or now < self.seq or now - self.seq > CHANGES_MAX or is_worn:
                self._build(platform)
            else:
                self._follow(platform, now)

    def _count(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM memory").fetchone()[0])

    def _build(self, platform: Platform) -> None:
        import sqlite3

        self._close()
        # A temporary database: its own file, made when it outgrows the cache, gone when closed.
        self._connection = sqlite3.connect("", check_same_thread=False)
        try:
            self._connection.executescript(TABLES)
        except sqlite3.Error as error:
            self._close()
            raise SearchUnavailable(str(error)) from error
        before: int | None = None
        while True:
            part = memories.read(platform, self.store, before, 200, 1 << 20)
            if before is None:
                self.seq = part.seq
            self._add(part.memories)
            if not part.has_more:
                return
            before = part.memories[-1].seq

    def _follow(self, platform: Platform, now: int) -> None:
        own, data = keys.of(self.store.tag), platform.clients.data
        gone = data.zrangebyscore(own["memory_gone"], f"({self.seq}", "+inf")
        written = data.zrangebyscore(own["memory_order"], f"({self.seq}", "+inf")
        self._drop([*gone, *written])
        if written:
            records = data.hmget(own["memories"], written)
            texts = data.hmget(own["memory_texts"], written)
            rows = zip(records, texts, strict=True)
            self._add([Memory.parse(one).with_text(text) for one, text in rows if one and text])
        self.seq = now

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            found = self._connection.execute("DELETE FROM memory WHERE id = ?", (name,))
            self._dead += found.rowcount
        self._connection.commit()

    def _add(self, found: Iterable[Memory]) -> None:
        add = "INSERT OR IGNORE INTO memory (id, seq, at, namespace) VALUES (?, ?, ?, ?)"
        for memory in found:
            made = self._connection.execute(
                add, (memory.id, memory.seq, memory.at, memory.namespace)
            )
            if made.rowcount:
                self._connection.execute(
                    "INSERT INTO words (rowid, content) VALUES (?, ?)",
                    (made.lastrowid, memory.text),
                )
        self._connection.commit()


class Indexes:
    """The indexes of one process: the stores that were asked last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, StoreIndex] = OrderedDict()

    def of(self, store: Store) -> StoreIndex:
        """The index of a store; the one not asked for the longest makes room."""
        with self._lock:
            found = self._kept.pop(store.tag, None) or StoreIndex(store)
            self._kept[store.tag] = found
            oldest = self._kept.popitem(last=False)[1] if len(self._kept) > INDEXES_KEPT else None
        if oldest is not None:
            oldest.close()
        return found

    def close(self) -> None:
        """Give all of them back."""
        with self._lock:
            found = list(self._kept.values())
            self._kept.clear()
        for index in found:
            index.close()
