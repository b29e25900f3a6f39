"""Waiting for events: one Redis subscription feeds every waiting request of a web process.

Publish/subscribe only wakes; what is stored decides, and every waiter looks again by itself now
and then, so a lost wake-up costs time, never an event.
"""

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import structlog
from redis.exceptions import RedisError

from app.core import events, keys
from app.core.clock import rfc3339
from app.core.errors import Overloaded
from app.core.platform import Platform

PAGE = 500
SUBSCRIBE_S = 1.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Item:
    """An event as it is sent: its place in the feed, its stream id (empty: transient), its JSON."""

    number: int
    id: str
    name: str
    data: str


@dataclass
class Feed:
    """The newest events of one workspace, read once for all who wait for them."""

    workspace_id: str
    last_id: str
    size: int
    number: int = 0
    items: deque[Item] = field(default_factory=deque)
    is_behind: bool = True
    waiters: set[threading.Event] = field(default_factory=set)
    subscribed: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, event_id: str, name: str, data: str) -> None:
        """Put an event at the end; the oldest leaves."""
        self.number += 1
        self.items.append(Item(self.number, event_id, name, data))
        while len(self.items) > self.size:
            self.items.popleft()

    def wake(self) -> None:
        """Wake everybody who waits."""
        for waiter in list(self.waiters):
            waiter.set()


class Hub:
    """The feeds of one web process; ``start`` after the worker has forked."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._feeds: dict[str, Feed] = {}
        self._lock = threading.Lock()
        self._waiting = 0
        self._pubsub: Any = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def waiting(self, workspace_ids: list[str], limit: int) -> Iterator["Waiter"]:
        """Wait on some workspaces' feeds.

        Raises:
            Overloaded: as many requests as ``limit`` wait in this process already.
        """
        with self._lock:
            if self._waiting >= limit:
                raise Overloaded(limit_count=limit, measured_count=self._waiting)
            self._waiting += 1
        woken = threading.Event()
        feeds = []
        try:
            feeds = [self._join(workspace_id, woken) for workspace_id in workspace_ids]
            yield Waiter(self._platform, feeds, woken)
        finally:
            with self._lock:
                self._waiting -= 1
            for feed in feeds:
                self._leave(feed, woken)

    def stop(self) -> None:
        """Wake everybody, so that streams and polls end."""
        with self._lock:
            feeds = list(self._feeds.values())
        for feed in feeds:
            feed.wake()

    def _join(self, workspace_id: str, woken: threading.Event) -> Feed:
        with self._lock:
            feed = self._feeds.get(workspace_id)
            if feed is None:
                size = self._platform.settings.stream_buffer_count
                feed = Feed(workspace_id, "", size)
                self._feeds[workspace_id] = feed
                self._subscribe(workspace_id)
            was_alone = not feed.waiters
            feed.waiters.add(woken)
        feed.subscribed.wait(SUBSCRIBE_S)
        with feed.lock:
            if was_alone:  # nobody kept it up to date
                feed.items.clear()
                feed.last_id = events.last_id(self._platform, workspace_id)
        return feed

    def _leave(self, feed: Feed, woken: threading.Event) -> None:
        with self._lock:
            feed.waiters.discard(woken)
            if not feed.waiters and len(self._feeds) > 2 * PAGE:
                del self._feeds[feed.workspace_id]
                try:
                    self._pubsub.unsubscribe(keys.of(feed.workspace_id)["wake"])
                except RedisError as error:
                    log.debug("unsubscribe failed", error=str(error))

    def _subscribe(self, workspace_id: str) -> None:
        """Ask for a workspace's channel; without Redis the waiters fall back to looking."""
        if self._pubsub is None:
            self._pubsub = self._platform.clients.reader.pubsub(ignore_subscribe_messages=False)
        try:
            self._pubsub.subscribe(keys.of(workspace_id)["wake"])
        except RedisError as error:
            log.warning("subscribe failed; looking instead", error=str(error))
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name="hub", daemon=True)
            self._thread.start()

    def _read(self) -> None:
        stopping = self._platform.stopping
        while not stopping.is_set():
            try:
                message = self._pubsub.get_message(timeout=1.0)
            except (RedisError, OSError, ValueError) as error:
                log.warning("the hub lost Redis; trying again", error=str(error))
                self._platform.clock.wait(stopping, 0.5)
                self._wake_all()
                continue
            if message is not None:
                self._take(message["type"], str(message["channel"]), message["data"])
        self._pubsub.close()

    def _wake_all(self) -> None:
        with self._lock:
            feeds = list(self._feeds.values())
        for feed in feeds:
            feed.wake()

    def _take(self, kind: str, channel: str, data: Any) -> None:
        workspace_id = channel[len("tk:{") : -len("}:wake")]
        with self._lock:
            feed = self._feeds.get(workspace_id)
        if feed is None:
            return
        if kind == "subscribe":
            feed.subscribed.set()
        elif kind == "message" and str(data).startswith("{"):
            self._transient(feed, json.loads(data))
        elif kind == "message":
            feed.is_behind = True
        feed.wake()

    def _transient(self, feed: Feed, told: dict[str, Any]) -> None:
        event = events.Event("", told["event"], feed.workspace_id, told["payload"])
        envelope = event.envelope() | {"timestamp": rfc3339(told["at"])}
        with feed.lock:
            feed.add("", event.event, json.dumps(envelope, ensure_ascii=False))


class Waiter:
    """One waiting request's view of its feeds."""

    def __init__(self, platform: Platform, feeds: list[Feed], woken: threading.Event) -> None:
        self._platform = platform
        self._feeds = feeds
        self._woken = woken
        self._seen: dict[str, int] = {}
        self.positions: dict[str, str] = {}
        self.sent: dict[str, str] = {}
        for feed in feeds:
            with feed.lock:
                self._pump(feed)
                self._seen[feed.workspace_id] = feed.number
                self.positions[feed.workspace_id] = feed.last_id
        self.sent.update(self.positions)

    def wait(self, seconds: float) -> bool:
        """Until something may have changed, or the seconds have passed. Clears the wake-up."""
        woken = self._platform.clock.wait(self._woken, seconds)
        self._woken.clear()
        return woken

    def fresh(self, look: bool = False) -> list[Item] | None:
        """What has come since the last call, oldest first; None: more than the feed holds.

        ``look``: read the stream even if no wake-up said so.
        """
        found: list[Item] = []
        for feed in self._feeds:
            with feed.lock:
                if look or feed.is_behind:
                    self._pump(feed)
                count = feed.number - self._seen[feed.workspace_id]
                self._seen[feed.workspace_id] = feed.number
                if count > len(feed.items):
                    return None
                found += reversed(list(islice(reversed(feed.items), count)))
                self.sent[feed.workspace_id] = feed.last_id
        return found

    def _pump(self, feed: Feed) -> None:
        feed.is_behind = False
        while True:
            page = events.after(self._platform, feed.workspace_id, feed.last_id, PAGE)
            for event in page:
                feed.add(event.id, event.event, json.dumps(event.envelope(), ensure_ascii=False))
            if page:
                feed.last_id = page[-1].id
            if len(page) < PAGE:
                return
