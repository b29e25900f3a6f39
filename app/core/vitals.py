"""Reads whether the platform's own processes live: what they left of themselves."""

from app.core import keys
from app.core.attention import Vitals
from app.core.platform import Platform


def read(platform: Platform, waiting: int, now: int) -> Vitals:
    """``waiting``: turns that wait anywhere, which makes missing dispatch workers matter."""
    ticks = platform.clients.control.hgetall(keys.TICKS)
    return Vitals(
        now=now,
        ticks={job: int(at) for job, at in ticks.items()},
        dispatchers=int(platform.run_control("dispatcher", slice_id="", ttl_ms=0)[1]),
        waiting=waiting,
    )
