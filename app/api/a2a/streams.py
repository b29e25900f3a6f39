"""Tasks over SSE: the task first, then what changes, told from the workspace's stored events.

Every subscriber of a task gets the same events in the same order, whichever process it asks,
since each is made from one stored event. One that reads too slowly is dropped, not buffered for;
it subscribes again and gets the task as it then is.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from flask import Response, request
from redis.exceptions import RedisError

from app.api import ownership
from app.api.a2a import sending
from app.api.a2a.faults import Fault
from app.api.a2a.telling import Teller
from app.api.hub import Follower
from app.api.operation import platform, still_allowed, token
from app.api.server_sent import PING, streamed
from app.api.watching import RETRY_S
from app.core import events, turns
from app.core.a2a import shapes
from app.core.platform import Platform
from app.core.records import Turn
from app.core.settings import env_name
from app.core.states import TERMINAL

PAGE = 500
log = structlog.get_logger(__name__)
# An event of a stream, and whether it is the last, as one line of data.
Encode = Callable[[Mapping[str, Any], bool], str]
EncodeFault = Callable[[Fault], str]


@dataclass(frozen=True)
class Form:
    """How a binding writes what is streamed."""

    event: Encode
    fault: EncodeFault


@dataclass
class Stream:
    """One open stream. ``ends_on_question``: a message's stream does, a subscription does not.

    ``starts_at``: what is told begins with this turn's next MESSAGE_QUEUED: what the opening shows
    is how the turn was then.
    """

    platform: Platform
    follower: Follower
    workspace_id: str
    opening: dict[str, Any]
    teller: Teller
    form: Form
    is_allowed: Callable[[], bool]
    ends_on_question: bool
    starts_at: str = ""
    since: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def send(workspace_id: str, wanted: sending.Send, form: Form) -> Response:
    """Accept a message and stream what comes of it."""
    with ExitStack() as stack:
        follower = stack.enter_context(sending.hub().following([workspace_id], token().owner))
        taken = sending.accept(workspace_id, wanted)
        turn, body, result = turns.read_whole(platform(), workspace_id, taken.turn_id)
        starts_at = ""
        if taken.outcome == "accepted":  # it may have run on since: all of that is told
            starts_at, result = "MESSAGE_QUEUED", None
            turn = replace(
                turn, state="queued", state_at=turn.accepted_at, mechanism=None, attempt=0
            )
        length = wanted.history_length
        opening = shapes.task(turn, body, result, history_length=length)
        return _response(workspace_id, turn, opening, form, stack, follower, starts_at, True)


def subscribe(workspace_id: str, turn_id: str, form: Form) -> Response:
    """Stream a task from now on.

    Raises:
        Fault: -32004, it has ended.
    """
    with ExitStack() as stack:
        follower = stack.enter_context(sending.hub().following([workspace_id], token().owner))
        turn = ownership.turn_of(workspace_id, turn_id)
        if turn.state in TERMINAL:
            raise Fault("UNSUPPORTED_OPERATION", f"the task has ended: {turn.state}")
        body, result = turns.read_parts(platform(), workspace_id, turn_id)
        opening = shapes.task(turn, body, result)
        return _response(workspace_id, turn, opening, form, stack, follower, "", False)


def _response(
    workspace_id: str,
    turn: Turn,
    opening: dict[str, Any],
    form: Form,
    stack: ExitStack,
    follower: Follower,
    starts_at: str,
    ends_on_question: bool,
) -> Response:
    stream = Stream(
        platform(),
        follower,
        workspace_id,
        opening,
        Teller(turn),
        form,
        still_allowed("send", [workspace_id]),
        ends_on_question,
        starts_at,
        request.headers.get("Last-Event-ID"),
    )
    return streamed(_lines(stream), stack.pop_all())


def _lines(stream: Stream) -> Iterator[str]:
    is_over = _is_over(stream, stream.opening["status"]["state"])
    position = stream.follower.positions[stream.workspace_id]
    yield _frame(stream, {"task": stream.opening}, is_over, "" if stream.since else position)
    if is_over:
        return
    if stream.since and not stream.starts_at:
        yield from _missed(stream, stream.since, position)
    yield from _live(stream)


def _is_over(stream: Stream, state: str) -> bool:
    return state in shapes.ENDED or (stream.ends_on_question and state in shapes.INTERRUPTED)


def _frame(stream: Stream, event: Mapping[str, Any], is_last: bool, event_id: str) -> str:
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}data: {stream.form.event(event, is_last)}\n\n"


def _live(stream: Stream) -> Iterator[str]:
    clock, settings = stream.platform.clock, stream.platform.settings
    spoken_at = asked_at = clock.monotonic()
    while not stream.platform.stopping.is_set():
        left_s = spoken_at + settings.a2a_ping_s - clock.monotonic()
        stream.follower.wait_for_news(max(0.0, left_s))
        news = stream.follower.fresh()
        if news.gaps:
            yield _gap(stream, news.missed_count)
            return
        for item in news.items:
            if stream.teller.turn.id not in item.data:  # most are of other turns
                continue
            for frame, is_last in _told(stream, json.loads(item.data)):
                yield frame
                spoken_at = clock.monotonic()
                if is_last:
                    return
        now = clock.monotonic()
        if now - asked_at >= settings.stream_ping_s:
            asked_at = now
            if not _may_go_on(stream):
                return
        if now - spoken_at >= settings.a2a_ping_s:
            spoken_at = now
            yield PING


def _told(stream: Stream, envelope: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The frames of one stored event, and of each whether it is the last of the stream."""
    if envelope.get("turn_id") != stream.teller.turn.id or not envelope.get("id"):
        return
    if stream.starts_at:
        if envelope["event"] == stream.starts_at:
            stream.starts_at = ""
        return
    for told in _patiently(stream, envelope):
        update = told.get("statusUpdate")
        is_last = update is not None and _is_over(stream, update["status"]["state"])
        yield _frame(stream, told, is_last, envelope["id"]), is_last
        if is_last:
            return


def _patiently(stream: Stream, envelope: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an event is told as; what has to be read for it is waited for while Redis is away."""
    while True:
        try:
            return stream.teller.told(stream.platform, stream.workspace_id, envelope)
        except RedisError as error:
            log.debug("event not told yet", error=str(error))
            if stream.platform.clock.wait(stream.platform.stopping, RETRY_S):
                return []


def _may_go_on(stream: Stream) -> bool:
    try:
        return stream.is_allowed()
    except RedisError:
        return True  # asked again soon


def _gap(stream: Stream, missed_count: int) -> str:
    setting = "stream_buffer_count"
    facts = {
        "mechanism": "stream_buffer",
        "limit_count": stream.platform.settings.stream_buffer_count,
        "measured_count": missed_count,
        "setting": env_name(setting),
    }
    log.warning("LIMIT_HIT", workspace_id=stream.workspace_id, **facts)
    message = "events are missing here: subscribe again"
    fault = Fault("INTERNAL_ERROR", message, own_code="stream_gap", facts=facts)
    return f"data: {stream.form.fault(fault)}\n\n"


def _missed(stream: Stream, since: str, until: str) -> Iterator[str]:
    """The stored events of the turn in (since, until]; those that are gone are left out."""
    try:
        events.order(since)
    except ValueError:
        return
    while not stream.platform.stopping.is_set():
        try:
            page = events.after(stream.platform, stream.workspace_id, since, PAGE)
        except RedisError:
            return  # the opening has told how the task stands
        for event in page:
            if events.order(event.id) > events.order(until):
                return
            if event.turn_id == stream.teller.turn.id:
                for frame, _ in _told(stream, event.envelope()):
                    yield frame
        if len(page) < PAGE:
            return
        since = page[-1].id
