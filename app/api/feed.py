"""A workspace's newest events, read once for all streams of a process that follow it."""

import json
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from app.core import events
from app.core.clock import rfc3339
from app.core.platform import Platform

PAGE = 500


@dataclass(frozen=True)
class Item:
    """An event as it is sent: its place in the feed, its stream id (empty: transient), its JSON."""

    number: int
    id: str
    name: str
    data: str


class Waiter(Protocol):
    """Who waits for what comes."""

    def wants(self, event: str, turn_id: str, /) -> bool:
        """Whether an event is worth a look."""

    def wake(self) -> None:
        """Look now."""


class Feed:
    """The newest events of one workspace; what is stored decides, a wake-up only hurries.

    Any number of streams read it, each with a place of its own. All but ``note_*`` block on Redis.
    """

    def __init__(self, platform: Platform, workspace_id: str) -> None:
        self.workspace_id = workspace_id
        self.subscribed = threading.Event()
        self.waiters: set[Waiter] = set()
        self.last_id = ""
        self.number = 0
        self._platform = platform
        self._lock = threading.Lock()
        self._recheck_s = platform.settings.stream_ping_s
        size = platform.settings.stream_buffer_count
        self._items: deque[Item] = deque(maxlen=size)
        self._told: deque[dict[str, Any]] = deque(maxlen=size)
        self._readers = 0
        self._is_behind = False
        self._looked_at = 0.0

    @property
    def is_behind(self) -> bool:
        """Whether something was stored that is not read yet."""
        return self._is_behind

    def note_stored(self) -> None:
        """Something was, or may have been, appended to the workspace's stream."""
        self._is_behind = True

    def note_told(self, told: dict[str, Any]) -> None:
        """An event came that is published only, never stored."""
        if self._readers:
            self._told.append(told)

    def wake(self, event: str = "", turn_id: str = "") -> None:
        """Wake everybody who waits for such an event; without its name, everybody."""
        for waiter in list(self.waiters):
            if not event or waiter.wants(event, turn_id):
                waiter.wake()

    def enter(self) -> tuple[int, str]:
        """A new reader's place: the number of the last item, and the id of the last stored one."""
        with self._lock:
            if self._readers:
                self._catch_up()
            else:  # nobody kept it up to date
                self._items.clear()
                self._told.clear()
                self.last_id = events.last_id(self._platform, self.workspace_id)
                self._looked_at = self._platform.clock.monotonic()
            self._readers += 1
            return self.number, self.last_id

    def leave(self) -> None:
        """A reader has gone."""
        with self._lock:
            self._readers -= 1

    def after(self, number: int) -> tuple[list[Item] | None, int, str]:
        """The items after a place (None: more than the feed holds), and the new place."""
        with self._lock:
            self._catch_up()
            count = self.number - number
            if count > len(self._items):
                return None, self.number, self.last_id
            items = list(self._items)[-count:] if count else []
            return items, self.number, self.last_id

    def _catch_up(self) -> None:
        now = self._platform.clock.monotonic()
        if self._is_behind or now - self._looked_at >= self._recheck_s:
            self._is_behind = False
            try:
                self._read_stored()
            except BaseException:
                self._is_behind = True
                raise
            self._looked_at = now
        while self._told:
            told = self._told.popleft()
            event = events.Event("", told["event"], self.workspace_id, told["payload"])
            self._add("", event.event, event.envelope() | {"timestamp": rfc3339(told["at"])})

    def _read_stored(self) -> None:
        while True:
            page = events.after(self._platform, self.workspace_id, self.last_id, PAGE)
            for event in page:
                self._add(event.id, event.event, event.envelope())
                self.last_id = event.id
            if len(page) < PAGE:
                return

    def _add(self, event_id: str, name: str, envelope: dict[str, Any]) -> None:
        self.number += 1
        data = json.dumps(envelope, ensure_ascii=False)
        self._items.append(Item(self.number, event_id, name, data))
