"""Event streams over SSE: a snapshot first, then events as they are appended."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from flask import Blueprint, Response, current_app, request
from redis.exceptions import RedisError

from app.api import models
from app.api.hub import Follower, News
from app.api.operation import answer, operation, platform, refuse_head, still_allowed, token
from app.api.workspaces import snapshot
from app.core import events, workspaces
from app.core.errors import InvalidInput
from app.core.platform import Platform

blueprint = Blueprint("streams", __name__)
PAGE = 500
RETRY_S = 1.0
# Streams of several workspaces are merged as they come, so one's id may run ahead of another's.
OVERLAP_MS = 2_000
_AGE = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_ID = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)
_ID_LIMIT = 2**64
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
SSE = "text/event-stream"
PING = ": ping\n\n"


def frame(name: str, data: str, event_id: str = "") -> str:
    """One SSE event."""
    return (f"id: {event_id}\n" if event_id else "") + f"event: {name}\ndata: {data}\n\n"


def _since(query: models.StreamQuery) -> str | None:
    """From which event id (exclusive) to replay; None: only what is new."""
    text = request.headers.get("Last-Event-ID") or query.since
    if not text:
        return None
    if _ID.fullmatch(text) and max(events.order(text)) < _ID_LIMIT:
        return text
    age = _AGE.fullmatch(text)
    if age is None:
        raise InvalidInput("since", "an event id, or an age such as 30s, 10m, 2h, 1d")
    return _at(platform().now_ms() - int(age[1]) * _UNIT_S[age[2]] * 1000)


def _at(at_ms: int) -> str:
    return f"{max(0, at_ms)}-0"


@blueprint.get("/workspaces/<workspace_id>/events/stream")
@operation("read", tag="events", query=models.StreamQuery, media_type=SSE)
def stream_events(workspace_id: str, query: models.StreamQuery) -> Response:
    """One workspace's events (SSE). ``Last-Event-ID`` or ``since`` replays what was missed."""
    refuse_head()
    workspaces.require(platform(), workspace_id)
    return _stream([workspace_id], _since(query))


@blueprint.get("/events/stream")
@operation("read", tag="events", query=models.StreamQuery, is_anywhere=True, media_type=SSE)
def stream_all_events(query: models.StreamQuery) -> Response:
    """The events of every workspace that the token reaches now (SSE).

    A resumed one repeats the last two seconds rather than miss one: an event's ``workspace_id``
    and ``id`` name it.
    """
    refuse_head()
    since = _since(query)
    reached = [
        item.id
        for item in workspaces.listing(platform())
        if token().allows("read", item.id, item.stored.get("team"))
    ]
    return _stream(reached, _at(events.order(since)[0] - OVERLAP_MS) if since else None)


@blueprint.get("/workspaces/<workspace_id>/events")
@operation("read", tag="events", query=models.StreamQuery, reply=models.Events)
def list_events(workspace_id: str, query: models.StreamQuery) -> Response:
    """Stored events, oldest first: the first 500 after ``since``, or the newest 500."""
    workspaces.require(platform(), workspace_id)
    since = _since(query)
    found = (
        events.after(platform(), workspace_id, since, PAGE)
        if since
        else events.latest(platform(), workspace_id, PAGE)[::-1]
    )
    return answer({"events": [event.envelope() for event in found]})


@dataclass(frozen=True)
class Stream:
    """One open stream."""

    platform: Platform
    follower: Follower
    opening: list[str]
    since: str | None
    is_allowed: Callable[[], bool]


def _stream(workspace_ids: list[str], since: str | None) -> Response:
    here = current_app.extensions["turnkeeper"]
    with ExitStack() as stack:
        # Entered here, so that a refusal is an answer and not a broken stream.
        follower = stack.enter_context(here.hub.following(workspace_ids, token().id))
        opening = [
            frame(
                "snapshot",
                json.dumps(snapshot(one), ensure_ascii=False),
                "" if since else follower.positions[one],  # none while missed events come first
            )
            for one in workspace_ids
        ]
        held = stack.pop_all()
    stream = Stream(here.platform, follower, opening, since, still_allowed("read", workspace_ids))
    response = Response(_lines(stream), content_type=SSE)
    response.call_on_close(held.close)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _lines(stream: Stream) -> Iterator[str]:
    yield from stream.opening
    if stream.since:
        for workspace_id, position in stream.follower.positions.items():
            yield from _missed(stream.platform, workspace_id, stream.since, position)
    yield from _live(stream)


def _live(stream: Stream) -> Iterator[str]:
    clock, ping_s = stream.platform.clock, stream.platform.settings.stream_ping_s
    spoken_at = asked_at = clock.monotonic()
    while not stream.platform.stopping.is_set():
        left_s = spoken_at + ping_s - clock.monotonic()
        stream.follower.wait_for_news(max(0.0, left_s))
        text = _told(stream.platform, stream.follower.fresh())
        now = clock.monotonic()
        if now - asked_at >= ping_s:
            asked_at = now
            if not _may_go_on(stream):
                yield frame("bye", '{"reason": "the token was revoked or has expired"}')
                return
        if text or now - spoken_at >= ping_s:
            spoken_at = now
            yield text or PING
    yield frame("bye", "{}")


def _may_go_on(stream: Stream) -> bool:
    try:
        return stream.is_allowed()
    except RedisError:
        return True  # asked again soon


def _told(platform: Platform, news: News) -> str:
    frames = [frame(item.name, item.data, item.id) for item in news.items]
    if news.gaps:
        frames.append(
            _gap(
                "stream_buffer",
                platform.settings.stream_buffer_count,
                "TURNKEEPER_STREAM_BUFFER_COUNT",
                news.missed_count,
                news.gaps,
            )
        )
    return "".join(frames)


def _gap(
    mechanism: str, limit: int, setting: str, measured: int, resume_from: dict[str, str]
) -> str:
    """Events are missing here; ``resume_from``: workspace id -> from where to read again."""
    told = {
        "mechanism": mechanism,
        "limit_count": limit,
        "setting": setting,
        "measured_count": measured,
    }
    return frame("gap", json.dumps({**told, "resume_from": resume_from}))


def _cut(platform: Platform, workspace_id: str, since: str, cut: events.Cut) -> str:
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
    return frame("gap", json.dumps(told))


def _missed(platform: Platform, workspace_id: str, since: str, until: str) -> Iterator[str]:
    """The stored events in (since, until]; while Redis is away the reader is kept waiting."""
    is_first = True
    while not platform.stopping.is_set():
        try:
            if is_first and (cut := events.first_after_cut(platform, workspace_id, since)):
                yield _cut(platform, workspace_id, since, cut)
            is_first = False
            page = events.after(platform, workspace_id, since, PAGE)
        except RedisError:
            yield PING
            platform.clock.wait(platform.stopping, RETRY_S)
            continue
        for event in page:
            if events.order(event.id) > events.order(until):
                return
            yield frame(event.event, json.dumps(event.envelope(), ensure_ascii=False), event.id)
        if not page:
            return
        since = page[-1].id
