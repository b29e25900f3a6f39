"""Random interleavings of events, senders, deaths, trims and operators around two lines.

The model beside it is a list of what was told and how far each line is; nothing of the scripts.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import fakeredis
import pytest
import time_machine

from app.core import events, lines
from app.core.lines import Attempt, Later, Settlement, Taken
from tests.support import invariants
from tests.support.kernel import Kernel, platform_on

START, STEPS_MADE, SEEDS = 1_800_000_000.0, 300, range(5)
LEASE_S, DELAY_S = 20.0, 10.0
KEPT = 100
SENDERS = ("a", "b", "c")
STEPS = {
    "tell": 10,
    "burst": 2,
    "take": 14,
    "deliver": 20,
    "fail": 5,
    "again": 3,
    "die": 3,
    "pass_by": 3,
    "close": 1,
    "open": 3,
    "trim": 5,
    "jump": 8,
}
CONTROLS = {
    "emit trims": ("append", "if redis.call('EXISTS', K.owed) == 1 then", "if false then"),
    "trim looks at nothing": (
        "trim",
        "local owed_ms = oldest and tonumber(oldest)",
        "local owed_ms = nil",
    ),
    "no lease": ("line_take", "(state.lease_until or 0) > NOW", "false"),
    "no pause": ("line_take", "(state.next_at or 0) > NOW", "false"),
    "no holder": ("line_settle", "if state.lease ~= A.token then return {'stale'} end", ""),
    "cursor goes back": ("line_settle", "if is_settled() then return {'repeated'} end", ""),
}


@dataclass
class Model:
    """One line as it must be."""

    at: int  # index of the next event it owes
    is_open: bool = True
    holder: str = ""
    held_until: float = 0.0
    later: float = 0.0


@dataclass
class Held:
    """What a sender believes to hold."""

    line: str
    sender: str
    pending: list[str]
    last: tuple[str, str] | None = None


@dataclass
class Walk:
    """One walk."""

    kernel: Kernel
    traveller: time_machine.Traveller
    random: random.Random
    told: list[str] = field(default_factory=list)
    models: dict[str, Model] = field(default_factory=dict)
    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    number: int = 0
    checked: tuple[int, int] = (0, 0)

    def step(self) -> None:
        (name,) = self.random.choices(list(STEPS), list(STEPS.values()))
        act: Callable[[], object] = getattr(self, name)
        if act() is not False:
            self.done[name] += 1
        self.check()

    @property
    def now(self) -> float:
        return self.kernel.now_ms() / 1000

    def tell(self) -> None:
        self.told.append(
            events.append(self.kernel.platform, self.kernel.id, "ACTIVITY_LOGGED", {"x": "y" * 50})
        )

    def burst(self) -> None:
        for _ in range(60):
            self.tell()

    def a_line(self) -> str:
        return self.random.choice(list(self.models))

    def take(self) -> None:
        line, sender = self.a_line(), self.random.choice(SENDERS)
        model = self.models[line]
        found = lines.take(self.kernel.platform, self.kernel.id, line, sender, LEASE_S)
        is_held = model.holder not in ("", sender) and model.held_until > self.now
        is_later = model.later > self.now
        if not model.is_open:
            assert found is None
        elif is_held or is_later:
            assert isinstance(found, Later), (line, sender, model, found)
        elif model.at == len(self.told):
            assert found is None
            model.holder = ""
        else:
            assert isinstance(found, Taken)
            ids = [event.id for event in found.events]
            assert ids == self.told[model.at : model.at + len(ids)], "in order, none left out"
            model.holder, model.held_until = sender, self.now + LEASE_S
            self.held[line, sender] = Held(line, sender, ids)

    def a_held(self) -> Held | None:
        usable = [held for held in self.held.values() if held.pending]
        return self.random.choice(usable) if usable else None

    def settle(self, held: Held, event_id: str, outcome: str, delay_s: float = 0) -> str:
        self.number += 1
        attempt = Attempt(outcome, self.number, "http://h", "ACTIVITY_LOGGED")
        what = Settlement(
            event_id,
            outcome,
            None if outcome == "passed" else attempt,
            delay_s,
            LEASE_S,
        )
        return lines.settle(self.kernel.platform, self.kernel.id, held.line, held.sender, what)

    def is_holder(self, held: Held) -> bool:
        """Until another has taken the line, also past the end of the lease."""
        model = self.models[held.line]
        return model.is_open and model.holder == held.sender

    def deliver(self) -> bool | None:
        return self._move(lambda held: held.pending.pop(0), "acked")

    def pass_by(self) -> bool | None:
        def all_of(held: Held) -> str:
            last = held.pending[-1]
            held.pending.clear()
            return last

        return self._move(all_of, "passed")

    def _move(self, choose: Callable[[Held], str], outcome: str) -> bool | None:
        held = self.a_held()
        if held is None:
            return False
        event_id, is_ours = choose(held), self.is_holder(held)
        answer = self.settle(held, event_id, outcome)
        held.last = (event_id, outcome)
        model = self.models[held.line]
        is_new = self.told.index(event_id) >= model.at
        if is_ours and is_new:
            assert answer == "ok"
            model.at, model.later = self.told.index(event_id) + 1, 0.0
            model.held_until = self.now + LEASE_S
        else:
            assert answer in ("stale", "repeated"), (held, model, answer)
        return None

    def fail(self) -> bool | None:
        held = self.a_held()
        if held is None:
            return False
        event_id, is_ours = held.pending[0], self.is_holder(held)
        answer = self.settle(held, event_id, "retry", DELAY_S)
        model = self.models[held.line]
        if is_ours and self.told.index(event_id) >= model.at:
            assert answer == "ok"
            model.later, model.holder = self.now + DELAY_S, held.sender
            model.held_until = self.now + LEASE_S
        else:
            assert answer in ("stale", "repeated")
        return None

    def again(self) -> bool | None:
        """The same settlement once more: its reply was lost."""
        repeated = [held for held in self.held.values() if held.last]
        if not repeated:
            return False
        held = self.random.choice(repeated)
        assert held.last is not None
        answer = self.settle(held, *held.last)
        assert answer in ("repeated", "stale")
        return None

    def die(self) -> bool | None:
        if not self.held:
            return False
        del self.held[self.random.choice(list(self.held))]
        return None

    def close(self) -> None:
        line = self.a_line()
        model = self.models[line]
        owed = len(self.told) - model.at if model.is_open else 0
        platform = self.kernel.platform
        given_up = lines.close(platform, self.kernel.id, line, "webhook_disabled")
        assert given_up == min(owed, lines.COUNTED_MOST)
        if owed:
            self.told.append(events.last_id(platform, self.kernel.id))
        if model.is_open:
            model.is_open, model.holder = False, ""

    def open(self) -> bool | None:
        closed = [line for line, model in self.models.items() if not model.is_open]
        if not closed:
            return False
        line = self.random.choice(closed)
        outcome = lines.open_one(self.kernel.platform, self.kernel.id, line, "0-0")
        assert outcome == "resumed"
        model = self.models[line]
        model.is_open, model.later = True, 0.0
        stream = self.stream()
        while model.at < len(self.told) and self.told[model.at] not in stream:
            model.at += 1  # trimmed while nobody was owed it
        return None

    def trim(self) -> None:
        self.kernel.run("trim", page_count=lines.COUNTED_MOST)

    def jump(self) -> None:
        self.traveller.shift(self.random.choice((0.001, 0.1, 1, 5, 11, 21)))

    def stream(self) -> set[str]:
        return {entry for entry, _ in self.kernel.data.xrange(self.kernel.keys["events"])}

    def check(self) -> None:
        """What an open line owes is kept."""
        invariants.lines_of(self.kernel)
        if self.checked == (now := (len(self.told), self.done["trim"])):
            return
        self.checked = now
        stream = self.stream()
        for line, model in self.models.items():
            missing = [one for one in self.told[model.at :] if one not in stream]
            assert not (model.is_open and missing), f"{line} is owed {len(missing)} that are gone"


def walked(seed: int, control: tuple[str, str, str] | None = None) -> Walk:
    print(f"seed {seed}")
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2, decode_responses=True)
    with client, time_machine.travel(START, tick=False) as traveller:
        kernel = Kernel(platform_on(client, events_kept=KEPT)).create()
        kernel = kernel.altered(*control) if control else kernel
        walk = Walk(kernel, traveller, random.Random(seed))
        for line in ("wh_1", "wh_2"):
            cursor = events.last_id(kernel.platform, kernel.id)
            lines.open_one(kernel.platform, kernel.id, line, cursor)
            walk.models[line] = Model(0)
        for _ in range(STEPS_MADE):
            walk.step()
    return walk


@pytest.mark.parametrize("seed", SEEDS)
def test_every_interleaving_delivers_in_order_and_loses_nothing_owed(seed: int) -> None:
    walk = walked(seed)
    print(walk.done)
    assert all(walk.done[name] for name in STEPS), "too tame"
    assert walk.done["deliver"] > 25, "too tame"


@pytest.mark.parametrize("name", CONTROLS)
def test_control_a_walk_finds_the_missing_mechanism(name: str) -> None:
    with pytest.raises(AssertionError) as fault:
        for seed in range(6):
            walked(seed, CONTROLS[name])
    print(repr(fault.value)[:200])
