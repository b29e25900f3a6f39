"""Dead letters: turns that were given up. Found by a filter, discarded, forgotten when too old.

Replaying one is ``turns.replay``; many, in phases, ``replay_runs``.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from app.core import keys
from app.core.errors import IllegalTransition, TurnNotFound
from app.core.platform import Platform
from app.core.records import Turn
from app.core.workspaces import all_ids, in_pages

PAGE = 500
AT_ONCE = 100  # letters forgotten in one step


@dataclass(frozen=True)
class Letter:
    """One dead letter and where it lies."""

    workspace_id: str
    turn: Turn


@dataclass(frozen=True)
class Filter:
    """Which dead letters; what is None does not matter. Times are server ms, both inclusive.

    ``reason`` is the mechanism that gave the turn up.
    """

    workspace_id: str | None = None
    reason: str | None = None
    origin: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def takes(self, turn: Turn) -> bool:
        """Whether a dead letter is meant, its age aside."""
        return self.reason in (None, turn.mechanism) and self.origin in (None, turn.origin)


def discard(platform: Platform, workspace_id: str, turn_id: str, reason: str) -> bool:
    """Give a dead letter up. Returns whether it was there to be: a repeat changes nothing.

    Raises:
        TurnNotFound.
        IllegalTransition: it is no dead letter, or was replayed.
    """
    reply = platform.run("discard", workspace_id, turn_id=turn_id, reason=reason)
    return bool(reply[0] == "discarded")


def discard_all(platform: Platform, wanted: Filter, limit: int, reason: str) -> int:
    """Give up those that are meant, at most so many. Returns how many it was."""
    done = 0
    for letter in first(platform, wanted, limit):
        with suppress(TurnNotFound, IllegalTransition):  # somebody was quicker
            done += discard(platform, letter.workspace_id, letter.turn.id, reason)
    return done


def matching(platform: Platform, wanted: Filter) -> Iterator[Letter]:
    """The dead letters that are meant, the oldest of each workspace first."""
    for workspace_id, count in counts(platform, _where(platform, wanted), wanted).items():
        if count:
            yield from _of(platform, workspace_id, wanted)


def first(platform: Platform, wanted: Filter, limit: int) -> list[Letter]:
    """At most so many of them."""
    return list(islice(matching(platform, wanted), limit))


def count(platform: Platform, wanted: Filter) -> int:
    """How many are meant now."""
    if wanted.reason is None and wanted.origin is None:
        return sum(counts(platform, _where(platform, wanted), wanted).values())
    return sum(1 for _ in matching(platform, wanted))


def counts(
    platform: Platform, workspace_ids: Sequence[str], wanted: Filter | None = None
) -> Mapping[str, int]:
    """How many of the wanted age each workspace has; nothing of one that was removed."""
    found: dict[str, int] = {}
    bounds = _bounds(wanted or Filter())
    for page in in_pages(workspace_ids, PAGE):
        pipe = platform.clients.data.pipeline(transaction=False)
        for workspace_id in page:
            own = keys.of(workspace_id)
            pipe.zcount(own["dead"], *bounds)
            pipe.hget(own["workspace"], "status")
        replies = iter(pipe.execute())
        for workspace_id in page:
            number, status = next(replies), next(replies)
            found[workspace_id] = 0 if status in (None, "removed") else number
    return found


def _where(platform: Platform, wanted: Filter) -> list[str]:
    return [wanted.workspace_id] if wanted.workspace_id else list(all_ids(platform))


def _bounds(wanted: Filter) -> tuple[str, str]:
    low = "-inf" if wanted.since_ms is None else str(wanted.since_ms)
    return low, "+inf" if wanted.until_ms is None else str(wanted.until_ms)


def _of(platform: Platform, workspace_id: str, wanted: Filter) -> Iterator[Letter]:
    own, data, bounds = keys.of(workspace_id), platform.clients.data, _bounds(wanted)
    ids: Sequence[str] = data.zrangebyscore(own["dead"], *bounds)  # all: a reader may settle them
    for start in range(0, len(ids), PAGE):
        for text in data.hmget(own["turns"], ids[start : start + PAGE]):
            if text and wanted.takes(turn := Turn.parse(text)):
                yield Letter(workspace_id, turn)


def bury(platform: Platform, workspace_ids: Sequence[str]) -> int:
    """Forget the dead letters beyond their count or age. Returns how many; what limit acted is told
    by the script."""
    settings, now_ms = platform.settings, platform.now_ms()
    age_ms = round(settings.dead_retention_s * 1000)
    pipe = platform.clients.data.pipeline(transaction=False)
    for workspace_id in workspace_ids:
        pipe.zcard(keys.of(workspace_id)["dead"])
        pipe.zrange(keys.of(workspace_id)["dead"], 0, 0, withscores=True)
    replies, forgotten = iter(pipe.execute()), 0
    for workspace_id in workspace_ids:
        total, oldest = next(replies), next(replies)
        is_stale = bool(age_ms and oldest and oldest[0][1] <= now_ms - age_ms)
        while total > settings.dead_kept or is_stale:
            _, gone = platform.run("bury", workspace_id, count=AT_ONCE)
            forgotten, total, is_stale = forgotten + gone, total - gone, gone == AT_ONCE
            if not gone:
                break
    return forgotten
