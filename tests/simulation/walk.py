"""A seeded random walk through one workspace: any step after any other, with an oracle beside it.

The oracle predicts every claim from what stands in the store before it, remembers what may never
change, and reads after each step what must hold between any two (``tests.support.invariants``).
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import time_machine

from app.core import redis_clients, workspaces
from app.core.errors import QueueFull, SessionNotFound, StaleFence, StartedElsewhere
from app.core.platform import Platform
from app.core.records import Session
from app.core.sessions import OUTCOMES, Claim, NoClaim
from app.core.states import LANES, LIVE, TERMINAL
from tests.simulation import faults, fires, following, handing, letters, speaking, watching
from tests.simulation.oracle import clocks, outlived, predict, reachable, slots, waiting
from tests.simulation.ticks import Ticks
from tests.simulation.unsteady import Unsteady
from tests.support import invariants
from tests.support.invariants import Stored
from tests.support.kernel import Kernel

DEPTH_MAX = 12
SETTINGS = {"queue_depth_max": DEPTH_MAX, "turns_kept": 15, "events_kept": 100, "fires_kept": 100}
# How far time jumps, and how often: back, as a clock that is set right does or a replica's that is
# behind, and past the pauses, the lease, the heartbeat, idle, the ceiling.
JUMPS_MS = {-600_000: 1, -2_000: 1, -30: 2, 1: 6, 50: 4, 1_000: 6, 4_000: 5}
JUMPS_MS |= {20_000: 4, 61_000: 2, 190_000: 1, 1_900_000: 1}
STEPS: dict[str, int] = {
    "submit": 14,
    "repeat": 3,
    **following.STEPS,
    **letters.STEPS,
    **speaking.STEPS,
    **faults.STEPS,
    **watching.STEPS,
    **handing.STEPS,
    "beat": 12,
    "claim": 18,
    "claim_again": 2,
    "bind": 5,
    "take": 6,
    "start": 8,
    "progress": 4,
    "finish": 11,
    "finish_again": 2,
    "release": 4,
    "ask": 2,
    "cancel": 2,
    "operator": 1,
    "reap": 8,
    "pause": 1,
    "resume": 6,
    "owner": 2,
    "fire": 6,
    "backfill": 2,
    "policy": 2,
    "overlap": 3,
    "fire_again": 2,
    "expire": 4,
    "switch_on": 1,
    "jump": 12,
}
OTHERS = (following, handing, letters, speaking, fires, faults, watching)
ACTS = {name: act for other in OTHERS for name, act in other.ACTS.items()}


class Step(NamedTuple):
    """What is done, and the place in the walk, from which its own chance comes: it chooses alike
    though steps before it are left out."""

    at: int
    name: str


def planned(seed: int, kinds: Mapping[str, int] = STEPS) -> Iterator[Step]:
    """The steps of a seed, without end."""
    chance = random.Random(f"plan {seed}")
    names, weights = list(kinds), list(kinds.values())
    for at in itertools.count():
        yield Step(at, chance.choices(names, weights)[0])


class Walk:
    """One walk; ``step`` does one thing and checks everything."""

    def __init__(
        self,
        kernel: Kernel,
        traveller: time_machine.Traveller,
        seed: int,
        steps: Mapping[str, int] = STEPS,
    ) -> None:
        self.line = Unsteady(kernel.data, lambda: invariants.read(kernel))
        clients = redis_clients.shared(self.line)
        self.kernel = Kernel(Platform(kernel.platform.settings, clients), kernel.id)
        self.traveller = traveller
        self.seed, self.random = seed, random.Random(f"{seed}:begin")
        self.plan = planned(seed, steps)
        self.hasty = self.kernel.tuned(lane_max_wait_s=5)
        self.held: list[Session] = []
        self.claims: list[Claim] = []
        self.finished: list[tuple[Session, str]] = []
        self.followed: list[tuple[str, str]] = []
        self.named: dict[str, str] = {}
        self.naming: dict[str, str] = {}
        self.faults: Counter[str] = Counter()
        self.excused: set[str] = set()
        self.made: list[tuple[str, int]] = []
        self.terminal: dict[str, str] = {}
        self.seq, self.count, self.last_event = 0, 0, "0-0"
        self.done: dict[str, int] = dict.fromkeys(STEPS, 0)
        self.ticks = Ticks(self.kernel)
        self.answers: Counter[str] = Counter()
        self.depth_max = DEPTH_MAX
        self.started: set[str] = set()
        self.last_ends: dict[str, tuple[int, int]] = {}
        self.notes: dict[str, dict[str, str]] = {}
        self.overlapped: Counter[str] = Counter()
        self.stored = invariants.check(self.kernel)
        self.beat()
        self.stored = invariants.check(self.kernel)

    def step(self, chosen: Step | None = None) -> None:
        """Do this one, or the next of the seed's."""
        at, name = chosen or next(self.plan)
        self.count, self.random = at, random.Random(f"{self.seed}:{at}")
        act, before = self.act_of(name), self.stored
        try:
            act()
            self.stored = invariants.check(self.kernel)
            self.check_changes(before, self.stored)
            watching.check(self, self.stored, name if name in faults.STEPS else "")
        except Exception as fault:
            fault.add_note(f"at step {at}: {name}")
            fault.at_step = at  # type: ignore[attr-defined]
            raise
        self.done[name] += 1

    def act_of(self, name: str) -> Callable[[], object]:
        return getattr(self, name, None) or partial(ACTS[name], self)

    # What must hold of a step whatever it was.

    def check_changes(self, before: Stored, after: Stored) -> None:
        rows = self.kernel.data.xrange(self.kernel.keys["events"], f"({self.last_event}", "+")
        told = {fields.get("turn_id") for _, fields in rows}
        self.last_event = rows[-1][0] if rows else self.last_event
        self.started |= {f["turn_id"] for _, f in rows if f["event"] == "SESSION_STARTED"}
        for key, turn in after.turns.items():
            old = before.turns.get(key, {"state": None})["state"]
            if old != turn["state"]:
                assert key in told, f"{key} went from {old} to {turn['state']} without an event"
                assert old is None or reachable(old, turn["state"]), (old, turn)
                is_over = turn["state"] in TERMINAL or turn["state"] == "input_required"
                # A question that is given up ends no run: that one ended when it asked.
                is_over = is_over and old != "input_required"
                if is_over and key in self.started and "schedule_id" in turn:
                    self.last_ends[turn["schedule_id"]] = (turn["state_at"], turn["seq"])
            ended = (
                self.terminal.setdefault(key, turn["state"]) if turn["state"] in TERMINAL else None
            )
            assert ended in (None, turn["state"])
            assert key not in self.terminal or turn["state"] in TERMINAL, f"{key} rose again"
        self.ticks.check(before, after)
        speaking.check(self, after)
        gone = before.turns.keys() - after.turns.keys() - told
        assert all(before.turns[key]["state"] in TERMINAL for key in gone), "an open turn is gone"
        rows_made = [f"{schedule}:{nominal}" for schedule, nominal in self.made]
        assert set(rows_made) <= set(after.hashes["fires"]), "a fire is not in the ledger"

    # Submitting.

    def submit(self) -> None:
        life = self.random.choice([0, 3, 100])
        extras: list[dict[str, Any]] = [{}, {}, {}, {"redeliver": "never"}, {"expires_in_s": life}]
        self.try_submit(lane=self.random.choice(LANES), **self.random.choice(extras))

    def repeat(self) -> None:
        key = self.random.choice("abc")
        first = self.stored.turns.get(self.named.get(key, ""))
        self.naming[f"trn_{self.count:06}"] = key
        answer = self.try_submit(repeat_key=key)
        if answer is not None:
            is_open = first is not None and first["state"] not in TERMINAL | {"input_required"}
            assert answer.outcome == ("coalesced" if is_open else "accepted")
            assert (answer.turn_id == self.named.get(key)) == is_open
            self.named[key] = answer.turn_id

    def try_submit(self, **fields: Any) -> Any:
        depth = len(waiting(self.stored))
        try:
            turn_id = f"trn_{self.count:06}"
            answer = self.random.choice([self.kernel, self.hasty]).submit(turn_id=turn_id, **fields)
        except QueueFull:
            assert depth >= DEPTH_MAX
            return None
        assert depth < DEPTH_MAX or answer.outcome != "accepted", "over the bound"
        assert answer.depth == depth + (answer.outcome == "accepted")
        return answer

    # The agent's side.

    def beat(self) -> None:
        self.seq += 1
        fields: dict[str, Any] = {"seq": self.seq, "instance": "i"}
        if self.random.random() < 0.2:
            fields["max_concurrent"] = self.random.choice([0, 1, 2, 3, 3, 4, 4])
        kind = self.random.choice(["ids", "ids", "count", "partial", "stale"])
        if kind == "stale":
            fields["seq"] = self.seq = self.seq - 1
            self.kernel.beat(**fields, active_tasks=99)
        elif kind == "partial":
            self.kernel.beat(**fields, current_task="thinking")
        elif kind == "count":
            self.kernel.beat(
                **fields,
                active_tasks=max(
                    0, len(self.stored.sets["live"]) + self.random.choice([-1, 0, 0, 0, 1])
                ),
            )
        else:
            self.beat_by_ids(fields)

    def beat_by_ids(self, fields: dict[str, Any]) -> None:
        known = [session.id for session in self.held if self.is_known(session)]
        named = [key for key in known if self.random.random() < 0.8]
        foreign = [f"theirs{n}" for n in range(self.random.choice([0] * 8 + [1, 2]))]
        answer = self.kernel.beat(**fields, sessions=named + foreign)
        if answer.accepted:
            said = self.kernel.data.hget(self.kernel.keys["capacity"], "foreign")
            assert said == str(len(foreign)), (said, foreign)
            assert set(self.kernel.zombies()) == {
                key
                for key in named
                if self.stored.sessions[key].get("mechanism", "finish") != "finish"
            }

    def claim(self) -> None:
        beat = self.kernel.data.hgetall(self.kernel.keys["capacity"])
        expected = predict(self.stored, beat, self.kernel.now_ms(), self.last_ends)
        found = watching.claimed(self)
        self.answers[found.reason if isinstance(found, NoClaim) else "claimed"] += 1
        fires.check_claim(self, expected, found)
        if isinstance(found, NoClaim):
            assert expected.answer == found.reason
            return
        assert expected.answer == found.turn.id, f"claimed {found.turn}"
        self.claims = [*self.claims, found][-5:]
        self.held = [*self.held, found.session][-10:]
        live = self.kernel.data.zcard(self.kernel.keys["live"])
        assert live + int(beat.get("foreign", 0)) <= slots(self.stored, beat)

    def claim_again(self) -> None:
        if self.claims:
            first = self.random.choice(self.claims)
            if self.is_known(first.session) and first.turn.id in self.stored.turns:
                again = self.kernel.claimed(first.session.id)
                assert (again.turn.id, again.session.fence) == (first.turn.id, first.session.fence)

    def bind(self) -> None:
        self.write(self.kernel.bind)

    def take(self) -> None:
        found = self.kernel.take(secret=f"secret {self.count}").handover
        if found:
            assert self.stored.sessions[found.session.id]["state"] in ("claimed", "delivered")

    def start(self) -> None:
        with suppress(StartedElsewhere):
            self.write(lambda session: self.kernel.start(session, self.random.choice("iiij")))

    def progress(self) -> None:
        kind = self.random.choice(["output", "keepalive"])
        self.write(lambda session: self.kernel.progress(session, kind))

    def finish(self) -> None:
        outcome = self.random.choice(OUTCOMES)

        def act(session: Session) -> None:
            stood = self.stored.sessions.get(session.id, {})
            state = self.kernel.finish(session, outcome)
            wanted = speaking.ends_as(stood, outcome)
            if "ended_at" not in stood and wanted in ("failed", "force_idled"):
                wanted = self.ticks.unless_retried(self.stored, stood["turn_id"], wanted)
            assert state == stood.get("turn_state", wanted)
            self.finished = [*self.finished, (session, state)][-5:]
            speaking.settle(self, stood, wanted)

        self.write(act, replays="finish")

    def finish_again(self) -> None:
        if self.finished:
            session, state = self.random.choice(self.finished)
            if self.is_known(session):
                assert self.kernel.finish(session, "failed") == state

    def release(self) -> None:
        counts, holds = self.random.random() < 0.6, self.random.random() < 0.2
        self.write(lambda session: self.kernel.release(session, counts, holds), replays="release")

    def write(self, act: Callable[[Session], object], replays: str = "") -> None:
        """Some holder, often one whose fence has moved, writes: taken just while it is live."""
        if not self.held:
            return
        session = self.holder()
        stood = self.stored.sessions.get(session.id)
        try:
            act(session)
        except SessionNotFound:
            assert stood is None
        except StaleFence:
            assert session.id not in self.stored.sets["live"], "a live holder was refused"
        else:
            assert stood is not None
            was_replay = replays == stood.get("mechanism") or stood.get("released", False)
            assert session.id in self.stored.sets["live"] or was_replay, "a stale holder wrote"

    def holder(self) -> Session:
        """Mostly one that is live, at times one of before."""
        live = [session for session in self.held if session.id in self.stored.sets["live"]]
        return self.random.choice(live if live and self.random.random() < 0.8 else self.held)

    # Everyone else.

    def ask(self) -> None:
        kind = self.random.choice(["checkpoint", "cancel"])
        self.write(lambda session: self.kernel.ask(session, kind, "ceiling"))

    def cancel(self) -> None:
        if self.stored.turns:
            key = self.random.choice(sorted(self.stored.turns))
            state, answer = self.stored.turns[key]["state"], self.kernel.cancel(key)
            is_fetched = state in LIVE and state != "claimed"
            open_answer = "canceling" if is_fetched else "canceled"
            assert answer == (state if state in TERMINAL else open_answer)

    def operator(self) -> None:
        if self.held:
            session = self.holder()
            is_live = session.id in self.stored.sets["live"]
            assert self.kernel.reap(session, "operator") == is_live

    def reap(self) -> None:
        """As the reaper does: the hardest clock that has run out; carried out just once."""
        now = self.kernel.now_ms()
        for key in self.stored.sets["live"]:
            over = [clock for clock in clocks(self.stored.sessions[key]) if clock.ends_at <= now]
            session = Session.parse(self.stored.hashes["sessions"][key])
            wanted = ""
            if over and over[0].mechanism == "ceiling":
                wanted = self.ticks.unless_retried(self.stored, session.turn_id, "force_idled")
            for clock, ends in zip(over[:1] * 2, (True, False), strict=False):
                ended = self.kernel.reap(session, clock.mechanism, clock.limit_ms)
                assert ended == ends, f"{clock} on {session}"
            if wanted:
                assert self.kernel.turn(session.turn_id).state == wanted, session

    def pause(self) -> None:
        workspaces.pause(self.kernel.platform, self.kernel.id, "by hand")

    def resume(self) -> None:
        workspaces.resume(self.kernel.platform, self.kernel.id)

    def owner(self) -> None:
        changes = {
            "max_concurrent": self.random.choice([None, 2, 3, 4]),
            "ceiling_s": self.random.choice([None, 0, 100]),
        }
        workspaces.change(self.kernel.platform, self.kernel.id, changes)

    def expire(self) -> None:
        over = outlived(self.stored, self.kernel.now_ms())
        self.kernel.expire()
        for key in over:
            assert self.kernel.turn(key).state == "expired", f"{key} outlived its time"

    def switch_on(self) -> None:
        self.ticks.switch_on()

    def remember(self, schedule_id: str, nominal: int) -> None:
        self.made = [*self.made, (schedule_id, nominal)][-40:]

    def jump(self) -> None:
        step_ms = self.random.choices(list(JUMPS_MS), JUMPS_MS.values())[0]
        self.traveller.shift(step_ms / 1000)
        self.excused |= {"ring"} if step_ms < 0 else set()

    def is_known(self, session: Session) -> bool:
        return session.id in self.stored.sessions
