"""Waiting for events: one Redis connection wakes every waiting request of a web process.

Publish/subscribe only wakes; what is stored decides, and every waiter looks again by itself now
and then, so a lost wake-up costs time, never an event.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import structlog
from redis.exceptions import RedisError

from app.api.feed import Feed, Item
from app.api.listener import Listener
from app.core import keys
from app.core.errors import Overloaded
from app.core.platform import Platform
from app.core.settings import env_name

FEEDS_KEPT = 1_000
SUBSCRIBE_S = 1.0
RETRY_S = 1.0
LOG_EVERY_S = 60.0
log = structlog.get_logger(__name__)


def everything(event: str, turn_id: str) -> bool:
    """Any event may be what is waited for."""
    return True


class Waiter:
    """A waiting request; it looks for itself at what it waits for.

    ``wants``: whether an event (of a turn, or of none: "") is worth such a look. What comes
    without a name always is.
    """

    def __init__(self, platform: Platform, wants: Callable[[str, str], bool] = everything) -> None:
        self._platform = platform
        self._woken = threading.Event()
        self.wants = wants

    def wake(self) -> None:
        """End its wait: there is something to look at."""
        self._woken.set()

    def wait(self, seconds: float) -> bool:
        """Until something may have changed, or the seconds have passed. Clears the wake-up."""
        woken = self._platform.clock.wait(self._woken, seconds)
        self._woken.clear()
        return woken


@dataclass(frozen=True)
class News:
    """What came since the last look; ``gaps``: workspace id -> last id sent before the gap.

    ``missed_count``: how many events came in those workspaces.
    """

    items: list[Item] = field(default_factory=list)
    gaps: dict[str, str] = field(default_factory=dict)
    missed_count: int = 0


class Follower(Waiter):
    """One stream's view of its feeds; ``positions``: where each stood when it entered."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self._feeds: Sequence[Feed] = ()
        self._seen: dict[str, int] = {}
        self.positions: dict[str, str] = {}

    def enter(self, feeds: Sequence[Feed], stack: ExitStack) -> None:
        """Take a place in every feed; ``stack`` gives them back."""
        self._feeds = feeds
        for feed in feeds:
            place = feed.enter()
            stack.callback(feed.leave)
            self._seen[feed.workspace_id], self.positions[feed.workspace_id] = place
        self._sent = dict(self.positions)

    def wait_for_news(self, seconds: float) -> bool:
        """``wait``, but not for long while a feed could not be read."""
        is_behind = any(feed.is_behind for feed in self._feeds)
        return self.wait(min(seconds, RETRY_S) if is_behind else seconds)

    def fresh(self) -> News:
        """What has come since the last call, oldest first in each feed."""
        news, missed_count = News(), 0
        for feed in self._feeds:
            own = feed.workspace_id
            seen = self._seen[own]
            try:
                items, self._seen[own], last_id = feed.after(seen)
            except RedisError as error:  # it stays behind, and is read again
                log.debug("feed not read", workspace_id=own, error=str(error))
                continue
            if items is None:
                news.gaps[own] = self._sent[own]
                missed_count += self._seen[own] - seen
            else:
                news.items.extend(items)
            self._sent[own] = last_id
        return replace(news, missed_count=missed_count)


class Hub:
    """The feeds of one web process, and the bounds on how many requests wait in it."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._feeds: dict[str, Feed] = {}  # by channel
        self._lock = threading.Lock()
        # By bound, and by bound and token.
        self._counts: Counter[tuple[str, str]] = Counter()
        self._logged_at: dict[str, float] = {}
        self._listener = Listener(platform, self._hear, self._renewed)

    @property
    def waiting_count(self) -> int:
        """Requests that wait now, streams not counted."""
        return self._counts["waiters_max", ""]

    @contextmanager
    def waiting(
        self, workspace_id: str, token_id: str = "", wants: Callable[[str, str], bool] = everything
    ) -> Iterator[Waiter]:
        """Be woken by a workspace's events, those that are wanted.

        Raises:
            Overloaded: ``waiters_max`` requests wait in this process already, or too many of
                this token's.
        """
        waiter = Waiter(self._platform, wants)
        with ExitStack() as stack:
            stack.enter_context(self._admitted("waiters_max", "waiters_per_token_max", token_id))
            self._join([workspace_id], waiter, stack)
            yield waiter

    @contextmanager
    def following(self, workspace_ids: Sequence[str], token_id: str = "") -> Iterator[Follower]:
        """Read some workspaces' events from now on.

        Raises:
            Overloaded: ``streams_max`` streams are open in this process already, or too many of
                this token's.
        """
        follower = Follower(self._platform)
        with ExitStack() as stack:
            stack.enter_context(self._admitted("streams_max", "streams_per_token_max", token_id))
            follower.enter(self._join(workspace_ids, follower, stack), stack)
            yield follower

    def stop(self) -> None:
        """Wake everybody, so that streams and polls end, and stop listening."""
        for feed in self._every_feed():
            feed.subscribed.set()  # who has just joined waits for it, and no answer comes any more
        self._wake_all()
        self._listener.stop()

    @contextmanager
    def _admitted(self, bound: str, bound_of_one: str, token_id: str) -> Iterator[None]:
        """A place among all, and among those of one token: none may take them all."""
        places = [(bound, "")] + ([(bound_of_one, token_id)] if token_id else [])
        with self._lock:
            for name, whose in places:
                self._refuse_over(name, whose)
            self._counts.update(places)
        try:
            yield
        finally:
            with self._lock:
                self._counts.subtract(places)
                for place in places:
                    if not self._counts[place]:
                        del self._counts[place]

    def _refuse_over(self, bound: str, token_id: str) -> None:
        limit, count = getattr(self._platform.settings, bound), self._counts[bound, token_id]
        if count < limit:
            return
        told = {"mechanism": bound, "limit_count": limit, "measured_count": count}
        now = self._platform.clock.monotonic()
        if now - self._logged_at.get(bound, float("-inf")) >= LOG_EVERY_S:
            self._logged_at[bound] = now  # who is refused asks again, and the log is for reading
            log.warning("LIMIT_HIT", setting=env_name(bound), token_id=token_id, **told)
        raise Overloaded(setting=env_name(bound), **told)

    def _join(self, workspace_ids: Sequence[str], waiter: Waiter, stack: ExitStack) -> list[Feed]:
        feeds = []
        for workspace_id in workspace_ids:
            with self._lock:
                channel = keys.of(workspace_id)["wake"]
                feed = self._feeds.get(channel)
                if feed is None:
                    feed = self._feeds[channel] = Feed(self._platform, workspace_id)
                    self._listener.add(channel)
                feed.waiters.add(waiter)
            stack.callback(self._leave, feed, waiter)
            feeds.append(feed)
        end = self._platform.clock.monotonic() + SUBSCRIBE_S
        for feed in feeds:  # without Redis nothing is heard: then they look for themselves
            if self._platform.stopping.is_set():
                break
            feed.subscribed.wait(max(0.0, end - self._platform.clock.monotonic()))
        return feeds

    def _leave(self, feed: Feed, waiter: Waiter) -> None:
        with self._lock:
            feed.waiters.discard(waiter)
            if not feed.waiters and len(self._feeds) > FEEDS_KEPT:
                channel = keys.of(feed.workspace_id)["wake"]
                del self._feeds[channel]
                self._listener.remove(channel)

    def _every_feed(self) -> list[Feed]:
        with self._lock:
            return list(self._feeds.values())

    def _wake_all(self) -> None:
        for feed in self._every_feed():
            feed.wake()

    def _renewed(self) -> None:
        for feed in self._every_feed():
            feed.note_stored()
            feed.wake()

    def _hear(self, kind: str, channel: str, data: str) -> None:
        with self._lock:
            feed = self._feeds.get(channel)
        if feed is None:
            return
        event = turn_id = ""
        if kind == "subscribe":
            feed.subscribed.set()
            feed.note_stored()  # appended before the channel was heard
        elif data.startswith("{"):
            told = json.loads(data)
            event = str(told["event"])
            feed.note_told(told)
        else:  # "<id> <event> <turn id>", as event.lua publishes it; or one word: look
            _, event, turn_id = (*data.split(" "), "", "")[:3]
            feed.note_stored()
        feed.wake(event, turn_id)
