"""The caller's trace (W3C Trace Context), kept with a turn and passed on to its agent."""

from flask import request

from app.core import trace


def traceparent() -> str | None:
    """What this request says it is part of; None where that must be ignored."""
    return trace.parent(request.headers.get("traceparent"))
