"""Server-sent events: how they are written, and how a client that takes none is let go."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress

import structlog
from flask import Response, request

from app.api.operation import platform
from app.core.settings import env_name

SSE = "text/event-stream"
PING = ": ping\n\n"
log = structlog.get_logger(__name__)


def frame(name: str, data: str, event_id: str = "") -> str:
    """One event."""
    return (f"id: {event_id}\n" if event_id else "") + f"event: {name}\ndata: {data}\n\n"


def streamed(lines: Iterator[str], held: ExitStack) -> Response:
    """The answer that tells these lines; ``held`` is let go when it ends, however it does.

    A client that takes nothing holds its greenlet no longer than
    ``TURNKEEPER_STREAM_WRITE_TIMEOUT_S``; then its connection is cut, and the log names it.
    """
    _bound_writes(held)
    limit_s, clock = platform().settings.stream_write_timeout_s, platform().clock

    def watched() -> Iterator[str]:
        given_at = clock.monotonic()
        try:
            for line in lines:
                given_at = clock.monotonic()
                yield line
        except GeneratorExit:
            taken_s = clock.monotonic() - given_at
            if taken_s >= limit_s:
                setting = env_name("stream_write_timeout_s")
                facts = {"limit_s": limit_s, "measured_s": round(taken_s, 3), "setting": setting}
                log.warning("LIMIT_HIT", mechanism="stream_write", **facts)
            raise

    response = Response(watched(), content_type=SSE)
    response.call_on_close(held.close)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _bound_writes(held: ExitStack) -> None:
    connection = request.environ.get("gunicorn.socket")
    if connection is None:  # no real server
        return
    before = connection.gettimeout()
    connection.settimeout(platform().settings.stream_write_timeout_s)

    def undo() -> None:
        with suppress(OSError):
            connection.settimeout(before)

    held.callback(undo)
