"""What the fleet page, ``top`` and the alerts show of every workspace, read in a few round trips.

A row is what stands in Redis at one time; nothing here is written.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.core import keys, policy, workspaces
from app.core.platform import Platform
from app.core.policy import Freshness
from app.core.records import Session, Turn
from app.core.workspaces import Workspace

SESSIONS_SHOWN = 5
# Waiting turns stand behind those that run; further back a person sees an age that is too small.
LOOKED_AT = 20


@dataclass(frozen=True)
class Row:
    """One workspace. Times are ms since the epoch.

    ``waiting_fires`` is the streak: fires that wait behind what runs. ``next_fire_at`` is None
    where no schedule is active.
    """

    workspace: Workspace
    sessions: list[Session] = field(default_factory=list)
    oldest_waiting: Turn | None = None
    oldest_wait_ms: int = 0
    waiting_fires: int = 0
    dead_letters: int = 0
    next_fire_at: int | None = None
    schedule_names: Mapping[str, str] = field(default_factory=dict)
    freshness: list[Freshness] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As the owner calls it."""
        return self.workspace.stored.get("name") or self.workspace.id

    @property
    def waiting_by_lane(self) -> dict[str, int]:
        """Lanes that hold something, and what is returned or parked."""
        found = {lane: count for lane, count in self.workspace.waiting.items() if count > 0}
        found |= (
            {"returned": self.workspace.returned_count} if self.workspace.returned_count else {}
        )
        return found | (
            {"parked": self.workspace.parked_count} if self.workspace.parked_count else {}
        )

    @property
    def stalest(self) -> Freshness | None:
        """The session whose policy is behind the longest, if any is."""
        found = policy.worst(self.freshness)
        return found if found and found.stale_since is not None else None


def read(platform: Platform, workspace_ids: Sequence[str], now_ms: int) -> list[Row]:
    """The rows of these workspaces, in this order; removed ones left out.

    A page at a time: a web process answers others in between, and so does Redis.
    """
    pages = workspaces.in_pages(workspace_ids)
    return [row for page in pages for row in _read(platform, page, now_ms)]


def _read(platform: Platform, workspace_ids: Sequence[str], now_ms: int) -> list[Row]:
    read = workspaces.read_many(platform, list(workspace_ids))
    found = [one for one in read if one and one.stored["status"] != "removed"]
    if not found:
        return []
    fresh = policy.read_many(platform, found)
    facts = _facts(platform, found)
    records = _records(platform, found, facts)
    return [
        _row(one, fact, record, fresh.get(one.id, []), now_ms)
        for one, fact, record in zip(found, facts, records, strict=True)
    ]


def stirring(platform: Platform, workspace_ids: Sequence[str]) -> list[str]:
    """Those of these workspaces that have an open turn or a dead letter, in this order.

    Nothing runs, waits or asks for a person in the others: most, most of the time, and a seventh
    of the work of reading their rows.
    """
    pipe = platform.clients.data.pipeline(transaction=False)
    for workspace_id in workspace_ids:
        own = keys.of(workspace_id)
        pipe.zcard(own["open"])
        pipe.zcard(own["dead"])
    counts = pipe.execute()
    return [
        workspace_id
        for workspace_id, opened, dead in zip(workspace_ids, counts[::2], counts[1::2], strict=True)
        if opened or dead
    ]


@dataclass(frozen=True)
class _Facts:
    live: list[str]
    open: list[str]
    fires: int
    dead: int
    due: list[tuple[str, float]]


@dataclass(frozen=True)
class _Records:
    sessions: list[Session]
    waiting: Turn | None
    names: dict[str, str]


def _facts(platform: Platform, found: Sequence[Workspace]) -> list[_Facts]:
    pipe = platform.clients.data.pipeline(transaction=False)
    for one in found:
        own = keys.of(one.id)
        pipe.zrange(own["live"], 0, SESSIONS_SHOWN - 1)
        pipe.zrange(own["open"], 0, LOOKED_AT + one.live_count if one.depth else 0)
        pipe.zcard(own["fires_waiting"])
        pipe.zcard(own["dead"])
        pipe.zrange(own["due"], 0, 0, withscores=True)
    rows = pipe.execute()
    return [_Facts(*rows[start : start + 5]) for start in range(0, len(rows), 5)]


def _records(
    platform: Platform, found: Sequence[Workspace], facts: Sequence[_Facts]
) -> list[_Records]:
    pipe = platform.clients.data.pipeline(transaction=False)
    for one, fact in zip(found, facts, strict=True):
        own = keys.of(one.id)
        if fact.live:
            pipe.hmget(own["sessions"], fact.live)
        if one.depth and fact.open:
            pipe.hmget(own["turns"], fact.open)
    rows = iter(pipe.execute())
    held: list[tuple[list[Session], Turn | None]] = []
    for one, fact in zip(found, facts, strict=True):
        sessions = [Session.parse(text) for text in (next(rows) if fact.live else ()) if text]
        waiting = next(rows) if one.depth and fact.open else ()
        turns = [Turn.parse(text) for text in waiting if text]
        held.append((sessions, next((turn for turn in turns if turn.state == "queued"), None)))
    names = _names(platform, found, facts, held)
    return [_Records(*pair, name) for pair, name in zip(held, names, strict=True)]


def _names(
    platform: Platform,
    found: Sequence[Workspace],
    facts: Sequence[_Facts],
    held: Sequence[tuple[list[Session], Turn | None]],
) -> list[dict[str, str]]:
    wanted = []
    for fact, (sessions, waiting) in zip(facts, held, strict=True):
        some = {one.schedule_id for one in sessions} | {schedule for schedule, _ in fact.due}
        some |= {waiting.schedule_id} if waiting else set()
        wanted.append(sorted(one for one in some if one))
    pipe = platform.clients.data.pipeline(transaction=False)
    for one, ids in zip(found, wanted, strict=True):
        if ids:
            pipe.hmget(keys.of(one.id)["schedules"], ids)
    rows = iter(pipe.execute())
    return [
        {one: json.loads(text)["name"] for one, text in zip(ids, next(rows), strict=True) if text}
        if ids
        else {}
        for ids in wanted
    ]


def _row(
    found: Workspace, fact: _Facts, record: _Records, fresh: list[Freshness], now_ms: int
) -> Row:
    waited = now_ms - record.waiting.accepted_at if record.waiting else 0
    return Row(
        workspace=found,
        sessions=record.sessions,
        oldest_waiting=record.waiting,
        oldest_wait_ms=max(0, waited),
        waiting_fires=fact.fires,
        dead_letters=fact.dead,
        next_fire_at=int(fact.due[0][1]) if fact.due else None,
        schedule_names=record.names,
        freshness=fresh,
    )
