"""A day of the whole fleet's figures, one sample a minute: what the charts show.

Kept on the control side: it is a picture, not the truth, and a new control server begins it anew.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app.core import fleet, keys, timings, workspaces
from app.core.platform import Platform

KEPT = 1440
EVERY_MS = 60_000
PAGE = 500
# Ends of fires that are charted, with the events that count them.
FIRE_EVENTS = ("CRON_QUEUED", "CRON_EXECUTED", "CRON_SKIPPED", "CRON_MISSED", "TURN_COALESCED")


@dataclass(frozen=True)
class Sample:
    """The fleet at one time. ``at``: ms. ``events`` and ``timings`` only ever grow: what
    happened between two samples is their difference."""

    at: int
    waiting: dict[str, int] = field(default_factory=dict)
    running: int = 0
    slots: int = 0
    oldest_wait_ms: int = 0
    events: dict[str, int] = field(default_factory=dict)
    timings: dict[str, list[int]] = field(default_factory=dict)


def take(platform: Platform, between: Callable[[], object] = lambda: None) -> Sample:
    """Look at every workspace, keep the sample, forget what is older than a day.

    ``between``: called after each page, for the reaper's tick waits behind this.
    """
    now = platform.now_ms()
    waiting, events, spent = Counter[str](), Counter[str](), Counter[str]()
    running = slots = oldest = 0
    for page in workspaces.pages(platform, PAGE):
        for row in fleet.read(platform, page, now):
            waiting.update(row.waiting_by_lane)
            running += row.workspace.live_count
            slots += row.workspace.slots if row.workspace.capacity else 0
            oldest = max(oldest, row.oldest_wait_ms)
        events += workspaces.sums(platform, page, "stats")
        spent += workspaces.sums(platform, page, "timings")
        between()
    fires = {name: events[name] for name in FIRE_EVENTS}
    told = timings.of(spent).as_json()
    sample = Sample(now, dict(waiting), running, slots, oldest, fires, told)
    control = platform.clients.control
    control.rpush(keys.HISTORY, json.dumps(asdict(sample), separators=(",", ":")))
    control.ltrim(keys.HISTORY, -KEPT, -1)
    return sample


def read(platform: Platform, count: int = KEPT) -> list[Sample]:
    """The newest samples, oldest first."""
    return [_parse(text) for text in platform.clients.control.lrange(keys.HISTORY, -count, -1)]


def _parse(text: str) -> Sample:
    stored: dict[str, Any] = json.loads(text)
    return Sample(**{name: stored[name] for name in Sample.__dataclass_fields__ if name in stored})


def growth(samples: Sequence[Sample], event: str) -> list[int]:
    """How often an event came between each sample and the one before; the first has none."""
    counts = [sample.events.get(event, 0) for sample in samples]
    return [max(0, new - old) for old, new in zip(counts, counts[1:], strict=False)]


def timing_growth(samples: Sequence[Sample], name: str) -> list[list[int]]:
    """The same of a histogram, bucket by bucket."""
    grown = []
    for old, new in zip(samples, samples[1:], strict=False):
        before, after = old.timings.get(name, []), new.timings.get(name, [])
        before = before or [0] * len(after)
        grown.append([max(0, b - a) for a, b in zip(before, after, strict=False)])
    return grown
