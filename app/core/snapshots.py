"""Reads a workspace, or a part of a big one, as it stood at one moment.

The ids are picked first, then everything about them is read in one transaction: a script cannot
run in its middle, so what it shows stood so. A part is bounded (measured in
docs/adr/0017-invariants-check.md) and the next look takes the next part.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from app.core import keys
from app.core.invariants import RUNNING, SESSION_SETS, TURN_SETS, Record, Snapshot, fire_of
from app.core.platform import Platform
from app.core.redis_clients import holding
from app.core.states import LANES, LIVE

# Members looked at of each set in one look: what may still move, and what has ended.
OPEN_PART, ENDED_PART, LIVE_PART = 300, 100, 1000
PARTS: Mapping[str, int] = {
    **dict.fromkeys(TURN_SETS, OPEN_PART),
    **dict.fromkeys(("live", "inbox", "zombies", "due"), LIVE_PART),
    **dict.fromkeys(("done", "dead", "ended", "fire_index"), ENDED_PART),
}
HASHES = ("turns", "bodies", "sessions", "fires", "schedules")
# What the rules look at in a record without asking whether it is there.
NEEDED: Mapping[str, frozenset[str]] = {
    "turns": frozenset({"state", "lane", "entry"}),
    "sessions": frozenset({"state", "turn_id", "fence", "attempt"}),
    "fires": frozenset({"state"}),
    "schedules": frozenset(),
}
STREAMS = tuple(f"lane_{lane}" for lane in LANES)


@dataclass
class _Ids:
    """What to read in the transaction; ``seen``: turn id -> its record when the ids were picked."""

    turns: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    fires: set[str] = field(default_factory=set)
    schedules: set[str] = field(default_factory=set)
    seen: dict[str, Record] = field(default_factory=dict)

    def records(self) -> dict[str, list[str]]:
        """The records to read, by hash."""
        return {
            "turns": sorted(self.turns),
            "sessions": sorted(self.sessions),
            "fires": sorted(self.fires),
            "schedules": sorted(self.schedules),
        }

    def members_of(self, name: str) -> set[str]:
        """The ids that may be members of a set."""
        if name == "due":
            return self.schedules
        return self.turns if name in TURN_SETS else self.sessions

    def members(self, name: str) -> dict[str, str]:
        """Id -> the member that it would be; of fires that are set aside by schedule and age."""
        ids = sorted(self.members_of(name))
        if name != "parked":
            return dict(zip(ids, ids, strict=True))
        return {
            key: _parked(self.seen[key]) for key in ids if "schedule_id" in self.seen.get(key, ())
        }


def read(
    platform: Platform, workspace_id: str, look: int = 0, parts: Mapping[str, int] = PARTS
) -> Snapshot:
    """A snapshot; ``look`` counts the looks at this workspace, each takes the next part.

    Three or four round trips; only the last one, the transaction, decides.
    """
    own, data, now = keys.of(workspace_id), platform.clients.data, platform.now_ms()
    picked = _pick(data, own, look, parts)
    _follow(data, own, picked)
    transaction = _Transaction(holding(data, own["workspace"]))
    _ask(transaction.ask, own, picked)
    return _snapshot(own, now, picked, transaction.execute())


def _pick(data: Any, own: keys.WorkspaceKeys, look: int, parts: Mapping[str, int]) -> _Ids:
    """The ids of this look's part."""
    pipe = data.pipeline(transaction=False)
    for name in parts:
        pipe.zcard(own[name])
    pipe.hkeys(own["schedules"])
    for name in ("turns", "sessions"):  # some of all: a record that no set names is found here
        pipe.hrandfield(own[name], parts["done"])
    *sizes, schedule_ids, some_turns, some_sessions = pipe.execute()
    for (name, part), size in zip(parts.items(), sizes, strict=True):
        # From the front where what stands in front matters most: the longest overdue.
        start = 0 if name == "due" or size <= part else look * part % size
        pipe.zrange(own[name], start, start + part - 1)
    names = dict(zip(parts, pipe.execute(), strict=True))
    return _Ids(
        turns={*(some_turns or ()), *(_id(key) for name in TURN_SETS for key in names[name])},
        sessions={*(some_sessions or ()), *(key for name in SESSION_SETS for key in names[name])},
        fires=set(names["fire_index"]),
        schedules={*names["due"], *_part(sorted(schedule_ids), look)},
    )


def _id(member: str) -> str:
    """The turn's id: the last part of a member that is more than that."""
    return member.rpartition("|")[2]


def _parked(turn: Record) -> str:
    own = turn.get("overlap_policy", "")
    return f"{turn['schedule_id']}|{own}|{turn['lane']}|{turn['seq']:012}|{turn['id']}"


def _part(names: list[str], look: int) -> list[str]:
    start = look * LIVE_PART % len(names) if len(names) > LIVE_PART else 0
    return names[start : start + LIVE_PART]


def _follow(data: Any, own: keys.WorkspaceKeys, picked: _Ids) -> None:
    """Add what the picked records name: a turn's session and fire, a session's and fire's turn."""
    known: set[str] = set()
    fresh = (picked.turns, picked.sessions, picked.fires)
    while any(fresh):
        turns, sessions, fires = (sorted(part) for part in fresh)
        known |= {*turns, *sessions, *fires}
        pipe = data.pipeline(transaction=False)
        for name, names in (("turns", turns), ("sessions", sessions), ("fires", fires)):
            pipe.hmget(own[name], names or [""])
        turn_texts, session_texts, fire_texts = pipe.execute()
        more = _Ids()
        for key, turn in _parsed("turns", turns, turn_texts):
            picked.seen[key] = turn
            if turn["state"] in LIVE and turn.get("session_id"):
                more.sessions.add(turn["session_id"])
            if row_id := fire_of(turn):
                more.fires.add(row_id)
        for _, session in _parsed("sessions", sessions, session_texts):
            if "ended_at" not in session:
                more.turns.add(session["turn_id"])
        for _, row in _parsed("fires", fires, fire_texts):
            if row.get("turn_id") and row["state"] in RUNNING | {"queued"}:
                more.turns.add(row["turn_id"])
        fresh = (more.turns - known, more.sessions - known, more.fires - known)
        picked.turns |= more.turns
        picked.sessions |= more.sessions
        picked.fires |= more.fires


def _parsed(
    kind: str, names: Iterable[str], texts: Iterable[str | None]
) -> Iterator[tuple[str, Record]]:
    for name, text in zip(names, texts, strict=False):
        with suppress(ValueError):
            record = _record(kind, text)
            if record is not None:
                yield name, record


def _record(kind: str, text: str | None) -> Record | None:
    """A record with all that the rules look at.

    Raises:
        ValueError: it is none.
    """
    if text is None:
        return None
    record = json.loads(text)
    if not isinstance(record, dict) or not NEEDED[kind] <= record.keys():
        raise ValueError(f"no record of {kind}")
    return record


class _Transaction:
    """Commands go in under a name, replies come out by it."""

    def __init__(self, data: Any) -> None:
        self._pipe = data.pipeline(transaction=True)
        self._names: list[tuple[str, str]] = []

    def ask(self, part: str, name: str, command: str, *words: Any) -> None:
        """Ask for one reply of a part."""
        getattr(self._pipe, command)(*words)
        self._names.append((part, name))

    def execute(self) -> dict[str, dict[str, Any]]:
        """Part -> name -> reply."""
        parts: dict[str, dict[str, Any]] = {}
        for (part, name), reply in zip(self._names, self._pipe.execute(), strict=True):
            parts.setdefault(part, {})[name] = reply
        return parts


def _ask(ask: Callable[..., None], own: keys.WorkspaceKeys, picked: _Ids) -> None:
    for name in ("workspace", "capacity", "lanes"):
        ask("hashes", name, "hgetall", own[name])
    for name in HASHES:
        ask("sizes", name, "hlen", own[name])
    for name in PARTS:
        ask("sizes", name, "zcard", own[name])
    for name in STREAMS:
        ask("sizes", name, "xlen", own[name])
    for name, ids in picked.records().items():
        ask("records", name, "hmget", own[name], ids or [""])
    for name in (*TURN_SETS, *SESSION_SETS, "due"):
        ask("sets", name, "zmscore", own[name], list(picked.members(name).values()) or [""])
    for key in picked.turns:
        ask("bodies", key, "hexists", own["bodies"], key)
    for key in picked.sessions:
        ask("bound", key, "hexists", own["bound"], key)
    for key, turn in picked.seen.items():
        ask("entries", key, "xrange", own[f"lane_{turn['lane']}"], turn["entry"], turn["entry"])


def _snapshot(
    own: keys.WorkspaceKeys, now: int, picked: _Ids, parts: Mapping[str, Mapping[str, Any]]
) -> Snapshot:
    unreadable: set[str] = set()
    records: dict[str, dict[str, Record | None]] = {}
    for name, ids in picked.records().items():
        records[name] = {}
        for key, text in zip(ids, parts["records"][name], strict=False):
            try:
                records[name][key] = _record(name, text)
            except ValueError:
                unreadable.add(f"{name} {key}")
    sets = {}
    for name, scores in parts["sets"].items():
        pairs = zip(picked.members(name), scores, strict=False)
        sets[name] = {key: at for key, at in pairs if at is not None}
    found = parts.get("entries", {})
    stands = {
        key: bool(found[key])
        for key, turn in picked.seen.items()
        if (records["turns"].get(key) or {}).get("entry") == turn["entry"]
    }
    return Snapshot(
        workspace_id=own.workspace_id,
        at_ms=now,
        workspace=parts["hashes"]["workspace"],
        capacity=parts["hashes"]["capacity"],
        lanes=parts["hashes"]["lanes"],
        turns=records["turns"],
        sessions=records["sessions"],
        fires=records["fires"],
        schedules=records["schedules"],
        sizes=parts["sizes"],
        due=sets.pop("due"),
        sets=sets,
        bodies=frozenset(key for key, is_there in parts.get("bodies", {}).items() if is_there),
        bound=frozenset(key for key, is_there in parts.get("bound", {}).items() if is_there),
        entries=stands,
        unreadable=frozenset(unreadable),
    )
