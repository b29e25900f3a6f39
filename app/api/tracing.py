"""The caller's trace (W3C Trace Context), kept with a turn and passed on to its agent."""

from flask import request

MAX = 128


def traceparent() -> str | None:
    """What this request says it is part of."""
    given = request.headers.get("traceparent")
    return given[:MAX] if given else None
