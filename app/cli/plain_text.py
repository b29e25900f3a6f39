"""Text from elsewhere made safe and short for a terminal, and numbers made readable."""

import json
from datetime import datetime
from typing import Any


def plain(text: str, keep_lines: bool = False) -> str:
    """Show control characters as escapes: a message must not drive the reader's terminal."""
    return "".join(
        character
        if character.isprintable() or (keep_lines and character in "\n\t")
        else character.encode("unicode_escape").decode()
        for character in text
    )


def shorten(text: str, width: int) -> str:
    """One line of at most ``width`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def duration(seconds: float) -> str:
    """``8130`` as ``2 h 15 min``: the two largest units."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.3g} s"
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    rest = whole % 60
    return f"{whole // 60} min" + (f" {rest} s" if rest else "")


def clock_time(timestamp: Any) -> str:
    """An RFC 3339 timestamp as the local time of day; anything else as it is."""
    try:
        return datetime.fromisoformat(str(timestamp)).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return str(timestamp or "--:--:--")


def cell(key: str, value: Any) -> str:
    """One value of a table; ``key`` tells the unit (``_s`` = seconds)."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) and key.endswith("_s"):
        return duration(value)
    if isinstance(value, (dict, list)):
        return plain(json.dumps(value, ensure_ascii=False))
    return plain(str(value), keep_lines=True)
