"""The beat itself: one loop, used by the supervisor's thread and by the heartbeat process."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from runtime import backoff
from runtime.client import Platform, PlatformError, Unreachable

log = structlog.get_logger(__name__)

RETRY_FIRST_S = 1.0

Body = Callable[[], dict[str, Any]]
Wait = Callable[[float], bool]
OnReply = Callable[[dict[str, Any]], None]


def sequence() -> Iterator[int]:
    """Rising numbers; a process started later begins higher (milliseconds of the wall clock)."""
    return itertools.count(int(time.time() * 1000))


def beat_until(
    platform: Platform, instance: str, body: Body, interval_s: float, wait: Wait, on_reply: OnReply
) -> None:
    """Beat every ``interval_s`` until ``wait(seconds)`` says True. Failures are retried sooner.

    Beats keep their rhythm: the time a beat took is taken off the next wait.
    """
    numbers = sequence()
    started_at = time.monotonic()
    failures = 0
    while True:
        began_at = time.monotonic()
        beat = {"seq": next(numbers), "instance": instance, **body()}
        beat["uptime_seconds"] = int(began_at - started_at)
        try:
            reply = platform.heartbeat(beat)
        except PlatformError as error:
            failures += 1
            retry_after_s = error.retry_after_s if isinstance(error, Unreachable) else 0.0
            delay_s = max(retry_after_s, backoff.delay_s(failures, RETRY_FIRST_S, interval_s))
            pause_s = min(interval_s, delay_s)
            log.warning("heartbeat_failed", error=str(error), failures=failures, retry_s=pause_s)
        else:
            if failures:
                log.info("heartbeat_recovered", failures=failures)
            failures = 0
            on_reply(reply)
            pause_s = max(0.0, interval_s - (time.monotonic() - began_at))
        if wait(pause_s):
            return
