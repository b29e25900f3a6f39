"""Event streams: by server-sent events and, with the same content and bounds, by WebSocket."""

import re
from collections.abc import Iterator, Sequence

from flask import Blueprint, Response, request

from app.api import models, upgrade, watching
from app.api.operation import answer, operation, platform, refuse_head, require
from app.api.watching import PAGE, Message, Stream
from app.api.websocket import Upgraded
from app.core import events, workspaces
from app.core.admission import Pace
from app.core.errors import InvalidInput

blueprint = Blueprint("streams", __name__)
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
    text = watching.last_seen(query.since)
    if not text:
        return None
    if _ID.fullmatch(text) and max(events.order(text)) < _ID_LIMIT:
        return text
    age = _AGE.fullmatch(text)
    if age is None:
        raise InvalidInput("since", "an event id, or an age such as 30s, 10m, 2h, 1d")
    return watching.at(platform().now_ms() - int(age[1]) * _UNIT_S[age[2]] * 1000)


@blueprint.get("/workspaces/<workspace_id>/events/stream")
@operation("read", tag="events", query=models.StreamQuery, media_type=SSE)
def stream_events(workspace_id: str, query: models.StreamQuery) -> Response:
    """One workspace's events (SSE). ``Last-Event-ID`` or ``since`` replays what was missed."""
    refuse_head()
    workspaces.require(platform(), workspace_id)
    return _response(watching.opened([workspace_id], _since(query)))


@blueprint.get("/events/stream")
@operation("read", tag="events", query=models.StreamQuery, is_anywhere=True, media_type=SSE)
def stream_all_events(query: models.StreamQuery) -> Response:
    """The events of every workspace that the token reaches now (SSE).

    A resumed one repeats the last two seconds rather than miss one: an event's ``workspace_id``
    and ``id`` name it.
    """
    refuse_head()
    return _response(watching.opened_everywhere(_since(query)))


@blueprint.get("/ws", websocket=True)
@blueprint.get("/ws")  # so that who does not ask for a WebSocket is told to
@operation(
    "read",
    tag="events",
    query=models.SocketQuery,
    is_anywhere=True,
    status=101,
    refusals=(404, 426),
    pace=Pace.STREAM,
)
def stream_by_websocket(query: models.SocketQuery) -> Response:
    """The same events by WebSocket: of one workspace, or of every one that the token reaches.

    A browser, which cannot set ``Authorization``, offers the subprotocols ``bearer`` and its token.
    """
    refuse_head()
    asked = upgrade.asked(request)
    since = _since(query)
    if query.workspace is None:
        return Upgraded(watching.opened_everywhere(since), asked)
    require("read", query.workspace)
    workspaces.require(platform(), query.workspace)
    return Upgraded(watching.opened([query.workspace], since), asked)


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


def _response(stream: Stream) -> Response:
    response = Response(_lines(stream), content_type=SSE)
    response.call_on_close(stream.held.close)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _lines(stream: Stream) -> Iterator[str]:
    for batch in watching.tell(stream):
        yield _frames(batch) or PING


def _frames(batch: Sequence[Message]) -> str:
    return "".join(frame(one.name, one.data, one.id) for one in batch)
