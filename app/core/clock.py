"""Waiting. What time it *is* comes from Redis, inside the scripts."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Clock:
    """A process's own clock: only for how long to wait, never compared with server time."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Sleep until the event is set (then True) or the seconds have passed."""
        return event.wait(seconds)


def rfc3339(at_ms: float | int | None) -> str | None:
    """Milliseconds since the epoch as HTTP shows them: UTC with ``Z``, to the millisecond."""
    if at_ms is None:
        return None
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
