"""Turns by their last change, newest first, a page at a time and at a bounded cost."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.core import keys
from app.core.platform import Platform
from app.core.records import Turn

PAGE = 250
LOOKED_AT_MAX = 2_000


@dataclass(frozen=True)
class Place:
    """Where a page ends: a turn, and when it had changed."""

    at_ms: int
    turn_id: str


@dataclass(frozen=True)
class Page:
    """Some turns; ``after`` is from where the next page goes on, None where there is none.

    A page may be short and yet have a next one: a call looks at LOOKED_AT_MAX turns at most.
    """

    turns: list[Turn]
    after: Place | None


def page(
    platform: Platform,
    workspace_id: str,
    limit: int,
    *,
    after: Place | None = None,
    since_ms: int | None = None,
    wanted: Callable[[Turn], bool] = lambda _: True,
) -> Page:
    """The ``limit`` turns that changed last, of those wanted, after a place."""
    found: list[Turn] = []
    last: Place | None = None
    rows = _newest_first(platform, workspace_id, after, since_ms)
    for looked_at, (place, turn) in enumerate(rows, 1):
        if wanted(turn):
            if len(found) == limit:
                return Page(found, last)
            found.append(turn)
            last = place
        if looked_at == LOOKED_AT_MAX:
            return Page(found, place)
    return Page(found, None)


def count(
    platform: Platform,
    workspace_id: str,
    since_ms: int | None = None,
    wanted: Callable[[Turn], bool] | None = None,
) -> int:
    """How many turns are wanted; of those with a condition, among the newest LOOKED_AT_MAX."""
    key = keys.of(workspace_id)["changed"]
    least = "-inf" if since_ms is None else since_ms
    if wanted is None:
        return int(platform.clients.data.zcount(key, least, "+inf"))
    total = 0
    rows = _newest_first(platform, workspace_id, None, since_ms)
    for looked_at, (_, turn) in enumerate(rows, 1):
        total += wanted(turn)
        if looked_at == LOOKED_AT_MAX:
            break
    return total


def _newest_first(
    platform: Platform, workspace_id: str, after: Place | None, since_ms: int | None
) -> Iterator[tuple[Place, Turn]]:
    """Every turn from a place on, and where it was; of one moment the greater id comes first."""
    own, data = keys.of(workspace_id), platform.clients.data
    newest, least = after.at_ms if after else "+inf", "-inf" if since_ms is None else since_ms
    start, seen = 0, set[str]()
    while True:
        rows = data.zrevrangebyscore(
            own["changed"], newest, least, start=start, num=PAGE, withscores=True
        )
        if not rows:
            return
        texts = data.hmget(own["turns"], [turn_id for turn_id, _ in rows])
        for (turn_id, at_ms), text in zip(rows, texts, strict=True):
            if text is None or turn_id in seen:  # gone, or changed while we read on
                continue
            seen.add(turn_id)
            place = Place(int(at_ms), turn_id)
            if after is None or (place.at_ms, turn_id) < (after.at_ms, after.turn_id):
                yield place, Turn.parse(text)
        # On from where this ended, not by a count: what changes meanwhile leaves its place, and
        # those behind it move up.
        ended = rows[-1][1]
        start = sum(at_ms == ended for _, at_ms in rows) + (start if newest == ended else 0)
        newest = ended
