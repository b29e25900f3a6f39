"""When to report: output in batches, and a keepalive after silence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Due:
    """``what`` is ``news``, ``keepalive`` or nothing yet; then look again in ``wait_s``."""

    what: str
    wait_s: float


def due(now_s: float, sent_at_s: float, has_news: bool, batch_s: float, keepalive_s: float) -> Due:
    """Decide from monotonic times; ``sent_at_s`` is the last report of any kind."""
    since_s = now_s - sent_at_s
    if has_news:
        return Due("news", 0.0) if since_s >= batch_s else Due("", batch_s - since_s)
    if since_s >= keepalive_s:
        return Due("keepalive", 0.0)
    return Due("", keepalive_s - since_s)
