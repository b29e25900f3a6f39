"""Event streams over SSE: a snapshot first, then events as they are appended."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack

from flask import Blueprint, Response, current_app, request

from app.api import models
from app.api.hub import Waiter
from app.api.operation import answer, operation, platform, token
from app.api.workspaces import snapshot
from app.core import events, workspaces
from app.core.errors import InvalidInput
from app.core.platform import Platform

blueprint = Blueprint("streams", __name__)
PAGE = 500
_AGE = re.compile(r"(\d+)(s|m|h|d)")
_ID = re.compile(r"\d+-\d+")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def frame(name: str, data: str, event_id: str = "") -> str:
    """One SSE event."""
    return (f"id: {event_id}\n" if event_id else "") + f"event: {name}\ndata: {data}\n\n"


def _since(query: models.StreamQuery) -> str | None:
    """From which event id (exclusive) to replay; None: only what is new."""
    text = request.headers.get("Last-Event-ID") or query.since
    if not text:
        return None
    if _ID.fullmatch(text):
        return text
    age = _AGE.fullmatch(text)
    if age is None:
        raise InvalidInput("since", "an event id, or an age such as 30s, 10m, 2h, 1d")
    return f"{platform().now_ms() - int(age[1]) * _UNIT_S[age[2]] * 1000}-0"


@blueprint.get("/workspaces/<workspace_id>/events/stream")
@operation("read", tag="events", query=models.StreamQuery)
def stream_events(workspace_id: str, query: models.StreamQuery) -> Response:
    """One workspace's events (SSE). ``Last-Event-ID`` or ``since`` replays what was missed."""
    workspaces.require(platform(), workspace_id)
    return _stream([workspace_id], _since(query))


@blueprint.get("/events/stream")
@operation("read", tag="events", query=models.StreamQuery, is_anywhere=True)
def stream_all_events(query: models.StreamQuery) -> Response:
    """The events of every workspace that the token reaches now (SSE)."""
    reached = [
        item.id for item in workspaces.listing(platform()) if token().allows("read", item.id)
    ]
    return _stream(reached, _since(query))


@blueprint.get("/workspaces/<workspace_id>/events")
@operation("read", tag="events", query=models.StreamQuery)
def list_events(workspace_id: str, query: models.StreamQuery) -> Response:
    """Stored events, oldest first: after ``since``, or the newest 500."""
    workspaces.require(platform(), workspace_id)
    since = _since(query)
    found = (
        events.after(platform(), workspace_id, since, PAGE)
        if since
        else events.latest(platform(), workspace_id, PAGE)[::-1]
    )
    return answer({"events": [event.envelope() for event in found]})


def _stream(workspace_ids: list[str], since: str | None) -> Response:
    here, settings = current_app.extensions["turnkeeper"], platform().settings
    with ExitStack() as stack:
        # Entered here, so that a refusal is an answer and not a broken stream.
        waiter = stack.enter_context(here.hub.waiting(workspace_ids, settings.streams_max))
        opening = [
            frame(
                "snapshot", json.dumps(snapshot(one), ensure_ascii=False), _at(waiter, one, since)
            )
            for one in workspace_ids
        ]
        held = stack.pop_all()
    response = Response(
        _lines(here.platform, waiter, opening, since), content_type="text/event-stream"
    )
    response.call_on_close(held.close)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _at(waiter: Waiter, workspace_id: str, since: str | None) -> str:
    """The snapshot's id: none while missed events are still to come."""
    return "" if since else waiter.positions[workspace_id]


def _lines(
    platform: Platform, waiter: Waiter, opening: list[str], since: str | None
) -> Iterator[str]:
    yield from opening
    if since:
        for workspace_id, position in waiter.positions.items():
            yield from _missed(platform, workspace_id, since, position)
    while not platform.stopping.is_set():
        woken = waiter.wait(platform.settings.stream_ping_s)
        items = waiter.fresh(look=not woken)
        if items is None:
            yield from _gap(platform, waiter)
        elif items:
            yield "".join(frame(item.name, item.data, item.id) for item in items)
        elif not woken:
            yield ": ping\n\n"
    yield frame("bye", "{}")


def _missed(platform: Platform, workspace_id: str, since: str, until: str) -> Iterator[str]:
    """The stored events in (since, until]."""
    while page := events.after(platform, workspace_id, since, PAGE):
        for event in page:
            if events.order(event.id) > events.order(until):
                return
            yield frame(event.event, json.dumps(event.envelope(), ensure_ascii=False), event.id)
        since = page[-1].id


def _gap(platform: Platform, waiter: Waiter) -> Iterator[str]:
    """A reader too slow for the buffer is told from where to read again."""
    limit = platform.settings.stream_buffer_count
    told = {
        "mechanism": "stream_buffer",
        "limit_count": limit,
        "setting": "TURNKEEPER_STREAM_BUFFER_COUNT",
        "resume_from": waiter.sent,
    }
    yield frame("gap", json.dumps(told))
