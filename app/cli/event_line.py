"""One event as one line: time, event, turn, short text."""

from typing import Any

import click

from app.cli.plain_text import clock_time, plain, shorten

TEXT_WIDTH = 140
TEXT_KEYS = ("text", "message", "detail", "summary", "reason", "sentence", "prompt")
BAD = ("FAILED", "DEAD", "EXPIRED", "FORCE", "MISSED", "FENCED", "LIMIT", "STALLED", "OFFLINE")
GOOD = ("COMPLETE", "AGENT_MESSAGE", "ONLINE")


def event_line(name: str, data: dict[str, Any], with_workspace: bool = False) -> str:
    """The line; every part of it is safe for a terminal."""
    event = str(data.get("event") or name)
    where = f"{plain(str(data.get('workspace_id', '-')))[:20]:<20}  " if with_workspace else ""
    turn = plain(str(data.get("turn_id") or data.get("session_id") or "-"))
    text = plain(shorten(event_text(data), TEXT_WIDTH))
    padded = f"{plain(event):<26}"
    time = clock_time(data.get("timestamp"))
    return f"{time}  {where}{_coloured(event, padded)}  {turn:<30}  {text}"


def event_text(data: dict[str, Any]) -> str:
    """The words of an event: its own text when it has one, else its fields, then the mechanism."""
    payload = data.get("payload")
    words = _words(payload if isinstance(payload, dict) else {"text": payload or ""})
    mechanism = data.get("mechanism")
    return f"{words} [mechanism={mechanism}]".strip() if mechanism else words


def _words(payload: dict[str, Any]) -> str:
    for key in TEXT_KEYS:
        if isinstance(payload.get(key), str) and payload[key]:
            return str(payload[key])
    result = payload.get("result")
    if isinstance(result, dict) and isinstance(result.get("text"), str):
        return str(result["text"])
    return " ".join(
        f"{key}={value}"
        for key, value in payload.items()
        if isinstance(value, (str, int, float)) and value != ""
    )


def _coloured(event: str, padded: str) -> str:
    if any(part in event for part in BAD):
        return click.style(padded, fg="red")
    if any(part in event for part in GOOD):
        return click.style(padded, fg="green")
    return click.style(padded, fg="cyan")
