"""What a running session works under, and what has changed since: the prompt and the memories.

Everything is read from what is stored; nothing here is written. What a session wrote itself is
never news to it, and a recall counts as seen.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.core import keys
from app.core.memories import Memory
from app.core.memory_stores import Store, stores, team_of
from app.core.platform import Platform
from app.core.records import Session
from app.core.workspaces import Workspace


@dataclass(frozen=True)
class Freshness:
    """How far a live session's policy is behind. ``stale_since``: ms, None while it is not."""

    session_id: str
    schedule_id: str | None
    running_prompt_version: int | None
    current_prompt_version: int | None
    unseen_memories: int
    stale_since: int | None
    on_policy_change: str = "off"

    def shown(self, now_ms: int) -> dict[str, object]:
        """As the API shows it."""
        stale_ms = None if self.stale_since is None else max(0, now_ms - self.stale_since)
        return {
            "running_prompt_version": self.running_prompt_version,
            "current_prompt_version": self.current_prompt_version,
            "unseen_memories": self.unseen_memories,
            "stale_for_s": None if stale_ms is None else stale_ms / 1000,
            "session_id": self.session_id,
        }

    @property
    def sentence(self) -> str:
        """What has changed, in a few words; empty while nothing has."""
        parts = []
        if self.running_prompt_version != self.current_prompt_version:
            parts.append(f"prompt {self.running_prompt_version} → {self.current_prompt_version}")
        if self.unseen_memories:
            noun = "memory" if self.unseen_memories == 1 else "memories"
            parts.append(f"{self.unseen_memories} {noun} unseen")
        return ", ".join(parts)


@dataclass(frozen=True)
class Rule:
    """What a session's schedule says now."""

    prompt_version: int
    prompt_at: int
    on_policy_change: str


@dataclass
class Facts:
    """What was read of one workspace with live sessions."""

    sessions: list[Session]
    team: str
    rules: dict[str, Rule] = field(default_factory=dict)
    changes: dict[str, list[Memory]] = field(default_factory=dict)


def freshness(session: Session, rule: Rule | None, unseen: Sequence[Memory]) -> Freshness:
    """The verdict on one session. Pure.

    Args:
        rule: its schedule's; None for a chat, or where the schedule was removed.
        unseen: what was written or removed after it last looked.
    """
    current = rule.prompt_version if rule else session.prompt_version
    since = [memory.at for memory in unseen]
    if rule and current != session.prompt_version:
        since.append(session.prompt_stale_at or rule.prompt_at)
    return Freshness(
        session_id=session.id,
        schedule_id=session.schedule_id,
        running_prompt_version=session.prompt_version,
        current_prompt_version=current,
        unseen_memories=len(unseen),
        stale_since=min(since, default=None),
        on_policy_change=rule.on_policy_change if rule else "off",
    )


def unseen(session: Session, team: str, changes: Mapping[str, Sequence[Memory]]) -> list[Memory]:
    """The changes, by scope, that are news to a session. Pure.

    Not its own; and not the removal of what it never saw. One that has not been bound yet is
    going to be given everything.
    """
    if session.memory_seq is None:
        return []
    found = []
    for scope, memories in changes.items():
        known = seen_seq(session, scope, team)
        for memory in memories:
            is_news = memory.seq > known and memory.session_id != session.id
            found += (
                [memory] if is_news and (not memory.gone or memory.created_seq <= known) else []
            )
    return found


def seen_seq(session: Session, scope: str, team: str) -> int:
    """Up to which change of a store a session has seen; of a team it was not in: none."""
    if scope == "TEAM" and (session.memory_team or "") != team:
        return 0
    return (session.memory_seq or {}).get(scope, 0)


def worst(found: Iterable[Freshness]) -> Freshness | None:
    """Of a workspace's sessions the one that has been stale the longest, else the oldest."""
    rows = list(found)
    stale = [row for row in rows if row.stale_since is not None]
    return min(stale, key=lambda row: row.stale_since or 0) if stale else next(iter(rows), None)


def read_many(platform: Platform, found: Sequence[Workspace]) -> dict[str, list[Freshness]]:
    """The freshness of every live session of these workspaces, in a few round trips for all."""
    busy = [one for one in found if one.live_count]
    if not busy:
        return {}
    facts = _sessions(platform, busy)
    _rules(platform, facts)
    _changes(platform, facts)
    return {
        workspace_id: [
            freshness(
                session,
                known.rules.get(session.schedule_id or ""),
                unseen(session, known.team, known.changes),
            )
            for session in known.sessions
        ]
        for workspace_id, known in facts.items()
    }


def read(platform: Platform, found: Workspace) -> list[Freshness]:
    """The freshness of a workspace's live sessions, oldest first."""
    return read_many(platform, [found]).get(found.id, [])


def of_session(platform: Platform, workspace_id: str, session: Session) -> Freshness:
    """The freshness of one session that is still live."""
    known = Facts([session], team_of(platform, workspace_id))
    _rules(platform, {workspace_id: known})
    _changes(platform, {workspace_id: known})
    rule = known.rules.get(session.schedule_id or "")
    return freshness(session, rule, unseen(session, known.team, known.changes))


def version(platform: Platform, workspace_id: str, prompt_version: int | None) -> str:
    """What the policy is now, as a short text that is another one after every change.

    ``prompt3.local12.team0.global4``: the prompt's version, then the sequence of each store.
    """
    found = stores(workspace_id, team_of(platform, workspace_id))
    pipe = platform.clients.data.pipeline(transaction=False)
    for store in found:
        pipe.hget(keys.of(store.tag)["policy"], "seq")
    parts = [f"prompt{prompt_version}"] if prompt_version is not None else []
    parts += [
        f"{store.scope.lower()}{seq or 0}" for store, seq in zip(found, pipe.execute(), strict=True)
    ]
    return ".".join(parts)


def _sessions(platform: Platform, busy: Sequence[Workspace]) -> dict[str, Facts]:
    pipe = platform.clients.data.pipeline(transaction=False)
    for one in busy:
        pipe.zrange(keys.of(one.id)["live"], 0, -1)
    live = dict(zip((one.id for one in busy), pipe.execute(), strict=True))
    pipe = platform.clients.data.pipeline(transaction=False)
    some = {workspace_id: names for workspace_id, names in live.items() if names}
    for workspace_id, names in some.items():
        pipe.hmget(keys.of(workspace_id)["sessions"], names)
    teams = {one.id: one.stored.get("team", "") for one in busy}
    return {
        workspace_id: Facts([Session.parse(text) for text in texts if text], teams[workspace_id])
        for workspace_id, texts in zip(some, pipe.execute(), strict=True)
    }


def _rules(platform: Platform, facts: Mapping[str, Facts]) -> None:
    wanted = {
        workspace_id: sorted({one.schedule_id for one in known.sessions if one.schedule_id})
        for workspace_id, known in facts.items()
    }
    wanted = {workspace_id: names for workspace_id, names in wanted.items() if names}
    pipe = platform.clients.data.pipeline(transaction=False)
    for workspace_id, names in wanted.items():
        pipe.hmget(keys.of(workspace_id)["schedules"], names)
    for (workspace_id, names), texts in zip(wanted.items(), pipe.execute(), strict=True):
        for name, text in zip(names, texts, strict=True):
            if text:
                row = json.loads(text)
                facts[workspace_id].rules[name] = Rule(
                    row["prompt_version"], row["updated_at"], row.get("on_policy_change", "off")
                )


def _changes(platform: Platform, facts: Mapping[str, Facts]) -> None:
    """What came after the oldest look of any session at each store; a shared store is read once."""
    since: dict[Store, int] = {}
    shown: dict[str, list[Store]] = {}
    for workspace_id, known in facts.items():
        bound = [one for one in known.sessions if one.memory_seq is not None]
        shown[workspace_id] = stores(workspace_id, known.team) if bound else []
        for store in shown[workspace_id]:
            seen = min(seen_seq(one, store.scope, known.team) for one in bound)
            since[store] = min(seen, since.get(store, seen))
    changed = _after(platform, since)
    for workspace_id, known in facts.items():
        known.changes = {one.scope: changed[one] for one in shown[workspace_id] if one in changed}


def _after(platform: Platform, since: Mapping[Store, int]) -> dict[Store, list[Memory]]:
    data = platform.clients.data
    pipe = data.pipeline(transaction=False)
    for store, seq in since.items():
        own = keys.of(store.tag)
        pipe.zrangebyscore(own["memory_order"], f"({seq}", "+inf")
        pipe.zrangebyscore(own["memory_gone"], f"({seq}", "+inf")
    rows = iter(pipe.execute())
    names = {store: [*next(rows), *next(rows)] for store in since}
    names = {store: found for store, found in names.items() if found}
    pipe = data.pipeline(transaction=False)
    for store, found in names.items():
        pipe.hmget(keys.of(store.tag)["memories"], found)
    return {
        store: [Memory.parse(text) for text in texts if text]
        for store, texts in zip(names, pipe.execute(), strict=True)
    }
