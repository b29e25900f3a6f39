"""Workspaces: configuration, status, and the figures shown for them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from app.core import agents, doorbell, ids, keys, turns
from app.core.errors import InvalidInput, WorkspaceNotFound
from app.core.platform import Platform
from app.core.states import LANES

# Configuration field -> (stored field, milliseconds?)
FIELDS: Mapping[str, tuple[str, bool]] = {
    "name": ("name", False),
    "description": ("description", False),
    "max_concurrent": ("max_concurrent", False),
    "ceiling_s": ("ceiling_ms", True),
    "idle_timeout_s": ("idle_ms", True),
    "stall_after_s": ("stall_ms", True),
    "agent_url": ("agent_url", False),
    "agent_card": ("agent_card", False),
    "adapter": ("adapter", False),
    "agent_checkpoint": ("agent_checkpoint", False),
    "team": ("team", False),
    "redeliver": ("redeliver", False),
    "legacy_card": ("legacy_card", False),
}
# Written, never shown: neither in an answer nor in an event, a log or a backup.
SECRETS = frozenset({"agent_auth"})
# What a worker that talks to agents must hear of at once.
REACHES = frozenset({"agent_url", "agent_card", "adapter", "agent_auth"})
# What the reaper must hear of at once: limits of running sessions, and what preempts them.
LIMITS = frozenset({"idle_ms", "stall_ms", "paused_at"})


@dataclass(frozen=True)
class Workspace:
    """A workspace's configuration and state; ``stored`` is the hash as it is in Redis."""

    id: str
    stored: Mapping[str, str]
    live_count: int
    waiting: Mapping[str, int]
    returned_count: int
    parked_count: int
    zombie_count: int
    capacity: Mapping[str, str]

    @property
    def status(self) -> str:
        """online, degraded, offline, paused or removed."""
        if self.stored["status"] != "removed" and "paused_at" in self.stored:
            return "paused"
        return self.stored["status"]

    @property
    def depth(self) -> int:
        """Turns that wait, returned and parked ones included."""
        return sum(self.waiting.values()) + self.returned_count + self.parked_count

    @property
    def slots(self) -> int:
        """How many sessions it may hold at once: the smaller of what owner and agent say."""
        said = [
            int(text)
            for text in (self.stored.get("max_concurrent"), self.capacity.get("max_concurrent"))
            if text
        ]
        return min(said, default=1)

    @property
    def has_room(self) -> bool:
        """Whether a claim may succeed: it beats, is not paused, and a slot is free."""
        taken = self.live_count + int(self.capacity.get("foreign", 0))
        return bool(self.capacity) and "paused_at" not in self.stored and taken < self.slots

    def limit_ms(self, field: str, default_s: float) -> int:
        """An own limit (``idle_ms``, ``stall_ms``, ``ceiling_ms``) or the default, in ms."""
        own = self.stored.get(field)
        return int(float(own)) if own else round(default_s * 1000)

    def idle_ms(self, default_s: float) -> tuple[int, str]:
        """The idle limit in force and the setting it comes from: owner's, agent's, default."""
        if self.stored.get("idle_ms"):
            return int(float(self.stored["idle_ms"])), "workspace.idle_timeout_s"
        if self.stored.get("beat_idle_ms"):
            return int(float(self.stored["beat_idle_ms"])), "heartbeat.idle_timeout_seconds"
        return round(default_s * 1000), "TURNKEEPER_IDLE_TIMEOUT_S"


def _stored(changes: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in changes.items():
        stored, is_ms = (name, False) if name in SECRETS else FIELDS[name]
        if value is None:
            fields[stored] = ""
        elif isinstance(value, bool):
            fields[stored] = int(value)
        elif isinstance(value, dict):
            fields[stored] = json.dumps(value, ensure_ascii=False)
        else:
            fields[stored] = round(value * 1000) if is_ms else value
    if "agent_url" in fields:  # another agent, maybe one that does not beat by itself
        fields["own_beat_at"] = ""
    return fields


def _put(
    platform: Platform, workspace_id: str, mode: str, fields: Mapping[str, Any], mechanism: str = ""
) -> str:
    if mode != "change":  # first: a workspace that is not in the list would never be swept
        platform.clients.control.zadd(keys.WORKSPACES, {workspace_id: platform.now_ms()}, nx=True)
    if fields.get("team"):  # first: who is in a team and not in the hint would hear of nothing
        platform.clients.control.sadd(keys.team_members(fields["team"]), workspace_id)
    outcome, runnable = platform.run(
        "workspace_put",
        workspace_id,
        mode=mode,
        fields=json.dumps(fields, ensure_ascii=False),
        event="WORKSPACE_CHANGED",
        mechanism=mechanism,
    )
    if REACHES & fields.keys():
        agents.watch(platform, workspace_id, 0)
    if runnable:
        doorbell.ring(platform, workspace_id)
    if mode == "change" or LIMITS & fields.keys():  # a shorter one may have run out already
        doorbell.watch(platform, workspace_id, 0)
    return str(outcome)


def create(platform: Platform, workspace_id: str | None, changes: Mapping[str, Any]) -> Workspace:
    """Create a workspace; without an id it gets one (``ws_…``).

    Raises:
        AlreadyExists, InvalidInput.
    """
    workspace_id = ids.check_workspace(workspace_id or ids.new("ws"))
    _put(platform, workspace_id, "create", _stored(_bound(changes, None)))
    return get(platform, workspace_id)


def register(platform: Platform, workspace_id: str, changes: Mapping[str, Any]) -> str:
    """An agent's own registration: creates the workspace where it is absent."""
    return _put(platform, ids.check_workspace(workspace_id), "register", _stored(changes))


def change(platform: Platform, workspace_id: str, changes: Mapping[str, Any]) -> Workspace:
    """Change some fields; None clears one."""
    _put(platform, workspace_id, "change", _stored(_bound(changes, (platform, workspace_id))))
    return get(platform, workspace_id)


def _bound(changes: Mapping[str, Any], known: tuple[Platform, str] | None) -> Mapping[str, Any]:
    """Credentials belong to the host that they were given for: an agent that registers itself
    elsewhere does not get them.

    Raises:
        InvalidInput.
    """
    given = changes.get("agent_auth")
    if not given:
        return changes
    url = changes.get("agent_url")
    if url is None and known:
        platform, workspace_id = known
        url = platform.clients.data.hget(keys.of(workspace_id)["workspace"], "agent_url")
    if not url:
        raise InvalidInput("agent_auth", "needs agent_url: it is for that host only")
    return {**changes, "agent_auth": {**given, "origin": agents.origin_of(url)}}


def pause(platform: Platform, workspace_id: str, reason: str) -> Workspace:
    """No new claims until resumed; running work and accepted turns are left alone."""
    _put(platform, workspace_id, "change", {"paused_at": "now", "paused_reason": reason}, "paused")
    return get(platform, workspace_id)


def resume(platform: Platform, workspace_id: str) -> Workspace:
    """Undo a pause; what waits is served at once."""
    _put(platform, workspace_id, "change", {"paused_at": "", "paused_reason": ""})
    return get(platform, workspace_id)


def remove(platform: Platform, workspace_id: str) -> None:
    """Remove a workspace: no more work, no more heartbeats; every open turn is canceled."""
    _put(platform, workspace_id, "change", {"status": "removed"}, "removed")
    cancel_open(platform, workspace_id)


def cancel_open(platform: Platform, workspace_id: str) -> None:
    """Cancel whatever a removed workspace still holds; the sweep repeats it until all is gone."""
    own, data = keys.of(workspace_id), platform.clients.data
    for turn_id in data.zrange(own["open"], 0, -1):
        turns.cancel(platform, workspace_id, turn_id, "workspace removed")
    for schedule_id in data.hkeys(own["schedules"]):
        platform.run("schedule_remove", workspace_id, schedule_id=schedule_id)


def get(platform: Platform, workspace_id: str) -> Workspace:
    """One workspace.

    Raises:
        WorkspaceNotFound: also after its removal.
    """
    found = read_many(platform, [workspace_id])[0]
    if found is None or found.stored["status"] == "removed":
        raise WorkspaceNotFound(workspace_id=workspace_id)
    return found


def read_many(platform: Platform, workspace_ids: list[str]) -> list[Workspace | None]:
    """Several workspaces in one round trip; None where there is none."""
    pipe = platform.clients.data.pipeline(transaction=False)
    for workspace_id in workspace_ids:
        own = keys.of(workspace_id)
        pipe.hgetall(own["workspace"])
        pipe.hgetall(own["lanes"])
        pipe.hgetall(own["capacity"])
        for name in ("live", "returned", "delayed", "zombies"):
            pipe.zcard(own[name])
    rows = iter(pipe.execute())
    found: list[Workspace | None] = []
    for workspace_id in workspace_ids:
        stored, lanes, beat, live, returned, delayed, zombies = (next(rows) for _ in range(7))
        waiting = {lane: int(lanes[lane]) for lane in LANES if lane in lanes}
        counts = (returned + delayed, int(lanes.get("parked", 0)), zombies)
        found.append(
            Workspace(workspace_id, stored, live, waiting, *counts, beat) if stored else None
        )
    return found


def listing(platform: Platform) -> list[Workspace]:
    """Every workspace that is not removed, oldest first."""
    found = read_many(platform, list(all_ids(platform)))
    return [item for item in found if item and item.stored["status"] != "removed"]


def pages(platform: Platform, count: int = 1000) -> Iterator[list[str]]:
    """The ids of all workspaces, so many at a time, from the control side's list."""
    start = 0
    while page := platform.clients.control.zrange(keys.WORKSPACES, start, start + count - 1):
        yield page
        start += count


def in_pages(workspace_ids: Sequence[str], count: int = 100) -> Iterator[Sequence[str]]:
    """So many at a time: what one pipeline may ask without holding up Redis and its process."""
    return (workspace_ids[at : at + count] for at in range(0, len(workspace_ids), count))


def sums(platform: Platform, workspace_ids: Sequence[str], hash_name: str) -> Counter[str]:
    """A hash of counters, added up over workspaces."""
    totals: Counter[str] = Counter()
    for page in in_pages(workspace_ids):
        pipe = platform.clients.data.pipeline(transaction=False)
        for workspace_id in page:
            pipe.hgetall(keys.of(workspace_id)[hash_name])
        for row in pipe.execute():
            for name, count in row.items():
                totals[name] += int(count)
    return totals


def all_ids(platform: Platform) -> Iterator[str]:
    """The ids of all workspaces."""
    return chain.from_iterable(pages(platform))


def members_of(platform: Platform, team: str) -> list[str]:
    """The workspaces that are in a team now: read from each, for the hint may be behind."""
    found = []
    for page in pages(platform):
        pipe = platform.clients.data.pipeline(transaction=False)
        for workspace_id in page:
            pipe.hmget(keys.of(workspace_id)["workspace"], "team", "status")
        rows = zip(page, pipe.execute(), strict=True)
        found += [one for one, (own, status) in rows if own == team and status != "removed"]
    return found


def require(platform: Platform, workspace_id: str) -> None:
    """Raises WorkspaceNotFound unless the workspace exists and is not removed."""
    status = platform.clients.data.hget(keys.of(workspace_id)["workspace"], "status")
    if status is None or status == "removed":
        raise WorkspaceNotFound(workspace_id=workspace_id)
