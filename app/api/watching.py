"""One open stream of events, whatever carries it: snapshots, what was missed, then what comes.

Server-sent events and WebSockets are two ways to write what is told here.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from flask import current_app, request
from redis.exceptions import RedisError

from app.api.hub import Follower, News
from app.api.operation import platform, still_allowed, token
from app.api.workspaces import snapshot
from app.core import events, workspaces
from app.core.clock import rfc3339
from app.core.platform import Platform

PAGE = 500
RETRY_S = 1.0
# Streams of several workspaces are merged as they come, so one's id may run ahead of another's.
OVERLAP_MS = 2_000


@dataclass(frozen=True)
class Message:
    """What is told at once; ``data`` is JSON.

    ``is_event``: the data is an event's whole envelope. A snapshot, a gap and a bye are none: of
    them the data is what would be an event's payload.
    """

    name: str
    data: str
    id: str = ""
    is_event: bool = False
    workspace_id: str | None = None
    timestamp: str | None = None


STOPS = Message("bye", "{}")
REVOKED = Message("bye", '{"reason": "the token was revoked or has expired"}')


@dataclass(frozen=True)
class Stream:
    """One open stream; ``held`` gives back its place in the hub."""

    platform: Platform
    follower: Follower
    opening: list[Message]
    since: str | None
    is_allowed: Callable[[], bool]
    held: ExitStack


def at(at_ms: int) -> str:
    """The event id that stands for a moment."""
    return f"{max(0, at_ms)}-0"


def opened(workspace_ids: list[str], since: str | None) -> Stream:
    """A stream of some workspaces, for this request's token.

    Raises:
        Overloaded: as many streams are open in this process as may be.
    """
    here = current_app.extensions["turnkeeper"]
    with ExitStack() as stack:
        follower = stack.enter_context(here.hub.following(workspace_ids, token().owner))
        opening = [
            Message(
                "snapshot",
                json.dumps(snapshot(one), ensure_ascii=False),
                "" if since else follower.positions[one],  # none while missed events come first
                workspace_id=one,
                timestamp=rfc3339(here.platform.now_ms()),
            )
            for one in workspace_ids
        ]
        allowed = still_allowed("read", workspace_ids)
        return Stream(here.platform, follower, opening, since, allowed, stack.pop_all())
    raise AssertionError("an exit stack swallows nothing")


def opened_everywhere(since: str | None) -> Stream:
    """A stream of every workspace that the token reaches now.

    A resumed one repeats the last two seconds rather than miss one.

    Raises:
        Overloaded.
    """
    reached = [
        item.id
        for item in workspaces.listing(platform())
        if token().allows("read", item.id, item.stored.get("team"))
    ]
    return opened(reached, at(events.order(since)[0] - OVERLAP_MS) if since else None)


def last_seen(given: str | None) -> str | None:
    """Where the client says it was: by the header of server-sent events, else by the query."""
    return request.headers.get("Last-Event-ID") or given


def tell(stream: Stream, has_gone: Callable[[], bool] = lambda: False) -> Iterator[list[Message]]:
    """What the stream says, in batches; an empty one where nothing was said for a while.

    Ends with a bye, or without one where the client ``has_gone``.
    """
    for message in stream.opening:
        yield [message]
    if stream.since:
        for workspace_id, position in stream.follower.positions.items():
            for missed in _missed(stream.platform, workspace_id, stream.since, position):
                yield missed
                if has_gone():
                    return
    yield from _live(stream, has_gone)


def _live(stream: Stream, has_gone: Callable[[], bool]) -> Iterator[list[Message]]:
    clock, ping_s = stream.platform.clock, stream.platform.settings.stream_ping_s
    spoken_at = asked_at = clock.monotonic()
    while not stream.platform.stopping.is_set():
        left_s = spoken_at + ping_s - clock.monotonic()
        stream.follower.wait_for_news(max(0.0, left_s))
        if has_gone():
            return
        batch = _told(stream.platform, stream.follower.fresh())
        now = clock.monotonic()
        if now - asked_at >= ping_s:
            asked_at = now
            if not _may_go_on(stream):
                yield [REVOKED]
                return
        if batch or now - spoken_at >= ping_s:
            spoken_at = now
            yield batch
    yield [STOPS]


def _may_go_on(stream: Stream) -> bool:
    try:
        return stream.is_allowed()
    except RedisError:
        return True  # asked again soon


def _told(platform: Platform, news: News) -> list[Message]:
    batch = [Message(item.name, item.data, item.id, is_event=True) for item in news.items]
    if news.gaps:
        batch.append(
            _gap(
                "stream_buffer",
                platform.settings.stream_buffer_count,
                "TURNKEEPER_STREAM_BUFFER_COUNT",
                news.missed_count,
                news.gaps,
            )
        )
    return batch


def _gap(
    mechanism: str, limit: int, setting: str, measured: int, resume_from: dict[str, str]
) -> Message:
    """Events are missing here; ``resume_from``: workspace id -> from where to read again."""
    told = {
        "mechanism": mechanism,
        "limit_count": limit,
        "setting": setting,
        "measured_count": measured,
    }
    return Message("gap", json.dumps({**told, "resume_from": resume_from}))


def _cut(platform: Platform, workspace_id: str, since: str, cut: events.Cut) -> Message:
    """Events were trimmed, by age where they never were too many."""
    settings, resume_from = platform.settings, {workspace_id: cut.first_id}
    age_s = (platform.now_ms() - events.order(since)[0]) / 1000
    if cut.appended_count > settings.events_kept or age_s <= settings.events_kept_s:
        kept, setting = settings.events_kept, "TURNKEEPER_EVENTS_KEPT"
        return _gap("events_kept", kept, setting, cut.appended_count, resume_from)
    told = {
        "mechanism": "events_kept_age",
        "limit_s": settings.events_kept_s,
        "setting": "TURNKEEPER_EVENTS_KEPT_S",
        "measured_s": age_s,
        "resume_from": resume_from,
    }
    return Message("gap", json.dumps(told))


def _missed(
    platform: Platform, workspace_id: str, since: str, until: str
) -> Iterator[list[Message]]:
    """The stored events in (since, until]; while Redis is away the reader is kept waiting."""
    is_first = True
    while not platform.stopping.is_set():
        try:
            if is_first and (cut := events.first_after_cut(platform, workspace_id, since)):
                yield [_cut(platform, workspace_id, since, cut)]
            is_first = False
            page = events.after(platform, workspace_id, since, PAGE)
        except RedisError:
            yield []
            platform.clock.wait(platform.stopping, RETRY_S)
            continue
        for event in page:
            if events.order(event.id) > events.order(until):
                return
            data = json.dumps(event.envelope(), ensure_ascii=False)
            yield [Message(event.event, data, event.id, is_event=True)]
        if not page:
            return
        since = page[-1].id
