"""Random interleavings of writers, removals, deaths, sessions and recalls, beside a plain model.

The model keeps what was accepted in lists and works out from them what each session must have been
given and what it has not seen; nothing of the scripts is used. A failure prints its seed and step.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import fakeredis
import pytest
import time_machine

from app.core import keys, memories, policy, sessions, telling, turns, workspaces
from app.core.errors import TurnkeeperError
from app.core.memories import Draft, Memory
from app.core.memory_index import Indexes
from app.core.memory_stores import SCOPES, store_of
from app.core.recall import Question, recall
from app.core.sessions import Claim
from tests.support import invariants
from tests.support.kernel import Kernel, platform_on
from workers.binding import bind

START = 1_800_000_000.0
SEEDS = range(6)
STEPS = 150
NAMES = ("one", "two", "three")  # the first two are a team
WORDS = ("red", "green", "blue")
BUDGET = 60

CONTROLS = {
    "no sequence": (
        "memory_put",
        "redis.call('HINCRBY', K.policy, 'seq', 1)",
        "(number(redis.call('HGET', K.policy, 'seq')) or redis.call('HINCRBY', K.policy, 'seq', 1))",  # noqa: E501
    ),
    "old place kept": (
        "memory_put",
        "redis.call('ZADD', K.memory_order, given.seq, id)",
        "redis.call('ZADD', K.memory_order, 'NX', given.seq, id)",
    ),
    "text kept": ("memory_delete", "redis.call('HDEL', K.memory_texts, memory.id)", ""),
    "no tombstone": (
        "memory_delete",
        "redis.call('ZADD', K.memory_gone, memory.seq, memory.id)",
        "",
    ),
    "told again": ("memory_tell", "if told >= tonumber(A.memory_seq) then", "if nil then"),
    "told, not kept": ("memory_tell", "redis.call('HSET', K.policy, field, A.memory_seq)", ""),
    "never seen": ("memory_seen", "before[scope], news[scope], is_new = seq, seq, true", ""),
    "repeat written": ("memory_put", "if put == A.put_id .. ' ' .. A.digest then", "if nil then"),
    "oldest first": ("memory_read", "'ZREVRANGEBYSCORE', K.memory_order, top, '-inf'",
                     "'ZRANGEBYSCORE', K.memory_order, '-inf', '+inf'"),
}  # fmt: skip


@dataclass
class Kept:
    """A store of the model: what was done to it, in order; (name, text or None, by whom)."""

    done: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def live(self) -> list[str]:
        """The texts that are there, newest first."""
        newest: dict[str, str | None] = {}
        for name, text, _ in self.done:
            newest.pop(name, None)
            newest[name] = text
        return [text for text in reversed(newest.values()) if text is not None]

    def news(self, seen: int, own: str) -> int:
        """How many memories have changed after ``seen`` changes, and not by ``own``."""
        newest = {name: (at, text, by) for at, (name, text, by) in enumerate(self.done)}
        known = {name for name, text, _ in self.done[:seen] if text is not None}
        return sum(
            at >= seen and by != own and (text is not None or self._was_there(name, seen, known))
            for name, (at, text, by) in newest.items()
        )

    def _was_there(self, name: str, seen: int, known: set[str]) -> bool:
        """A removal is news to who saw the memory as it then was: in its present life."""
        lives = [at for at, (one, text, _) in enumerate(self.done) if one == name and text]
        begun = [
            at
            for at in lives
            if not any(one == name and text for one, text, _ in self.done[:at][-1:])
            and self._before(name, at) is None
        ]
        return bool(known) and bool(begun) and begun[-1] < seen

    def _before(self, name: str, at: int) -> str | None:
        """What a memory said before a change."""
        return next((text for one, text, _ in reversed(self.done[:at]) if one == name), None)


class MemoryWalk:
    """One walk; ``step`` does one thing and checks everything."""

    def __init__(
        self, kernels: dict[str, Kernel], traveller: time_machine.Traveller, seed: int
    ) -> None:
        self.kernels, self.traveller = kernels, traveller
        self.random = random.Random(seed)
        self.stores = {"team": Kept(), "global": Kept(), **{name: Kept() for name in NAMES}}
        self.ids: dict[str, str] = {}
        self.puts: list[tuple[str, Draft]] = []
        self.open: dict[str, tuple[str, Any]] = {}
        self.seen: dict[tuple[str, str], int] = {}
        self.indexes = Indexes()
        self.count, self.done = 0, Counter[str]()

    STEPS = (
        *("write",) * 8, *("rewrite",) * 4, *("remove",) * 5, *("again",) * 2, *("begin",) * 4,
        *("end",) * 3, *("ask",) * 3, *("search",) * 2, *("die",) * 2, *("sweep",) * 2,
    )  # fmt: skip

    def step(self) -> None:
        self.traveller.shift(self.random.choice([0, 0.001, 1]))
        name = self.random.choice(self.STEPS)
        act: Callable[[], None] = getattr(self, name)
        try:
            act()
            self.check()
        except Exception as fault:
            fault.add_note(f"at step {self.count}: {name}")
            raise
        self.done[name] += 1
        self.count += 1

    def kept(self, name: str, scope: str) -> Kept:
        return self.stores[{"TEAM": "team", "GLOBAL": "global"}.get(scope, name)]

    def place(self) -> tuple[str, str]:
        name = self.random.choice(NAMES)
        scopes = SCOPES if name != "three" else ("LOCAL", "GLOBAL")
        return name, self.random.choice(scopes)

    def author(self, name: str) -> str | None:
        """Often one of the sessions that run there."""
        own = [session for session, (at, _) in self.open.items() if at == name]
        return self.random.choice([*own, None])

    # Writing.

    def write(self, key: str | None = None) -> None:
        name, scope = self.place()
        self.put(name, scope, key)

    def put(self, name: str, scope: str, key: str | None) -> None:
        text = f"{self.random.choice(WORDS)} {self.count}"
        put_id = f"mem_{self.count}"
        draft = Draft(text, scope, key=key, session_id=self.author(name), put_id=put_id)
        memory, is_new = memories.commit(self.kernels[name].platform, name, draft)
        assert is_new
        known = f"{scope}:{memory.id}" + (f":{name}" if scope == "LOCAL" else "")
        self.ids[known] = memory.id
        self.kept(name, scope).done.append((memory.id, text, draft.session_id))
        self.puts = [*self.puts, (name, draft)][-6:]

    def rewrite(self) -> None:
        self.write(self.random.choice("ab"))

    def again(self) -> None:
        """The reply of a write was lost, and it is made again."""
        if self.puts:
            name, draft = self.random.choice(self.puts)
            _, is_new = memories.commit(self.kernels[name].platform, name, draft)
            assert not is_new, "written twice"

    def remove(self) -> None:
        name, scope = self.place()
        kept = self.kept(name, scope)
        there = list(dict.fromkeys(name for name, *_ in kept.done))
        if there:
            memory_id, author = self.random.choice(there), self.author(name)
            was_there = kept._before(memory_id, len(kept.done)) is not None
            memories.delete(self.kernels[name].platform, name, memory_id, author)
            if was_there:
                kept.done.append((memory_id, None, author))

    def die(self) -> None:
        """A write of the team whose writer dies before it tells anybody."""
        kernel = self.kernels["one"]
        store = store_of(kernel.platform, "one", "TEAM")
        put_id, text = f"mem_{self.count}", f"red {self.count}"
        Kernel(kernel.platform, store.tag).run(
            "memory_put", put_id=put_id, digest="d", record='{"namespace":"","scope":"TEAM"}',
            text=text, bytes=len(text), count_max=10_000, scope="TEAM", team=store.team,
        )  # fmt: skip
        self.stores["team"].done.append((put_id, text, None))

    def sweep(self) -> None:
        here = self.kernels["one"].platform
        found = [one for one in workspaces.read_many(here, list(NAMES)) if one]
        if self.random.random() < 0.5:
            self.another_tells()
        telling.repair(here, found)
        self.another_tells()
        last = len(self.stores["team"].done)
        for name in NAMES:
            seqs = [row["payload"]["memory_seq"] for row in self.told(name, "TEAM")]
            if name != "three" and last:
                assert seqs[-1] == last, "not told of the newest"
            assert seqs == sorted(set(seqs)), "told twice"

    def another_tells(self) -> None:
        """Another teller, who had read who is behind before anybody wrote."""
        last = len(self.stores["team"].done)
        facts = {"store": keys.team_tag("red"), "scope": "TEAM", "team": "red", "payload": "{}"}
        for name in NAMES[:2] if last else ():
            self.kernels[name].run("memory_tell", memory_seq=last, **facts)

    def told(self, name: str, scope: str) -> list[dict[str, Any]]:
        rows = self.kernels[name].events("POLICY_CHANGED")
        return [row for row in rows if row["payload"]["scope"] == scope]

    # Sessions.

    def begin(self) -> None:
        name = self.random.choice(NAMES)
        kernel = self.kernels[name]
        kernel.beat(max_concurrent=2)
        turns.submit(kernel.platform, name, turns.Request(body={"text": "go"}))
        claim = kernel.claim()
        if not isinstance(claim, Claim):
            return
        readings = memories.at_claim(kernel.platform, name, BUDGET)
        bound = bind(claim, readings, BUDGET)
        sessions.bind(kernel.platform, name, claim.session, bound, inbox=False)
        self.open[claim.session.id] = (name, claim.session)
        for scope in self.scopes(name):
            kept = self.kept(name, scope)
            self.seen[claim.session.id, scope] = len(kept.done)
            shown = [text for text in kept.live() if f'"{text}"' in bound["prompt"]]
            assert shown == kept.live()[: len(shown)], "given the newest of each store"
        assert bound["memories_total"] == sum(
            len(self.kept(name, s).live()) for s in self.scopes(name)
        )
        is_cut = len(bound["memories"]) < bound["memories_total"]
        assert is_cut == bool(bound.get("limits"))

    def scopes(self, name: str) -> tuple[str, ...]:
        return SCOPES if name != "three" else ("LOCAL", "GLOBAL")

    def end(self) -> None:
        if self.open:
            session_id = self.random.choice(sorted(self.open))
            name, session = self.open.pop(session_id)
            self.kernels[name].finish(session)

    # Recalling.

    def ask(self) -> None:
        if self.open:
            session_id = self.random.choice(sorted(self.open))
            name, _ = self.open[session_id]
            scopes = self.random.choice([self.scopes(name), ("LOCAL",)])
            self.recalled(name, Question(scopes=scopes, limit=7, session_id=session_id), scopes)
            for scope in scopes:
                self.seen[session_id, scope] = len(self.kept(name, scope).done)

    def search(self) -> None:
        name, word = self.random.choice(NAMES), self.random.choice(WORDS)
        found = recall(self.kernels[name].platform, self.indexes, name, Question(word, limit=1000))
        wanted = [
            text
            for scope in self.scopes(name)
            for text in self.kept(name, scope).live()
            if text.startswith(word)
        ]
        assert sorted(one.text for one in found.memories) == sorted(wanted)

    def recalled(self, name: str, asked: Question, scopes: tuple[str, ...]) -> None:
        found: list[Memory] = []
        answer = recall(self.kernels[name].platform, self.indexes, name, asked)
        found += answer.memories
        while answer.next:
            more = Question(scopes=scopes, limit=7, cursor=answer.next)
            answer = recall(self.kernels[name].platform, self.indexes, name, more)
            found += answer.memories
        for scope in scopes:
            mine = [one.text for one in found if one.scope == scope]
            assert mine == self.kept(name, scope).live(), scope
        assert len(found) == answer.total

    # What must hold after each step.

    def check(self) -> None:
        here = self.kernels["one"].platform
        found = [one for one in workspaces.read_many(here, list(NAMES)) if one]
        rows = {
            row.session_id: row for part in policy.read_many(here, found).values() for row in part
        }
        assert rows.keys() == self.open.keys()
        for session_id, (name, _) in self.open.items():
            wanted = sum(
                self.kept(name, scope).news(self.seen[session_id, scope], session_id)
                for scope in self.scopes(name)
            )
            assert rows[session_id].unseen_memories == wanted, (session_id, rows[session_id])
            assert (rows[session_id].stale_since is None) == (not wanted)
        if self.count % 5:
            return
        for kernel in self.kernels.values():
            invariants.check(kernel)
        for tag in (keys.team_tag("red"), keys.GLOBAL_TAG):
            stored = invariants.read(Kernel(here, tag))
            invariants.remembered(stored)


def walked(seed: int, control: tuple[str, str, str] | None = None) -> MemoryWalk:
    """A walk; its seed is printed."""
    print(f"seed {seed}")
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2, decode_responses=True)
    with client, time_machine.travel(START, tick=False) as traveller:
        platform = platform_on(client)
        kernels = {name: Kernel(platform, name).create() for name in NAMES}
        for name in NAMES[:2]:
            workspaces.change(platform, name, {"team": "red"})
        if control:
            broken = kernels["one"].altered(*control).platform
            kernels = {name: Kernel(broken, name) for name in NAMES}
        walk = MemoryWalk(kernels, traveller, seed)
        try:
            for _ in range(STEPS):
                walk.step()
        finally:
            walk.indexes.close()
    return walk


@pytest.mark.parametrize("seed", SEEDS)
def test_every_interleaving_gives_and_shows_what_was_accepted(seed: int) -> None:
    walk = walked(seed)
    print(walk.done)
    assert min(walk.done[name] for name in set(MemoryWalk.STEPS)) > 0, "too tame"


@pytest.mark.parametrize("name", CONTROLS)
def test_control_a_walk_finds_the_missing_mechanism(name: str) -> None:
    with pytest.raises((AssertionError, TurnkeeperError)) as fault:
        for seed in range(3):
            walked(seed, CONTROLS[name])
    print(repr(fault.value)[:200], fault.value.__notes__)
