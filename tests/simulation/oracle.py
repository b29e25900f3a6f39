"""What must come of a step, worked out from what stands in the store and nothing of the scripts."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.states import LANES, LIVE, TRANSITIONS
from tests.support.invariants import Stored, order

LEASE_MS, IDLE_MS = 60_000, 900_000


def slots(stored: Stored, beat: Mapping[str, str]) -> int:
    """The smaller of what owner and agent allow; one where neither says."""
    own = stored.hashes["workspace"].get("max_concurrent")
    said = [int(text) for text in (own, beat.get("max_concurrent")) if text is not None]
    return min(said, default=1)


@dataclass
class Expected:
    """The id of the turn that the next claim must give, or why it must give none; and which other
    turns it must end, in which state."""

    answer: str
    ended: dict[str, str] = field(default_factory=dict)


def predict(
    stored: Stored, beat: Mapping[str, str], now: int, last_ends: Mapping[str, tuple[int, int]]
) -> Expected:
    """What the next claim must do; ``last_ends``: schedule id -> when its last run ended, and the
    place of that fire."""
    if "paused_at" in stored.hashes["workspace"]:
        return Expected("paused")
    if int(stored.hashes["workspace"].get("hold_until", 0)) > now:
        return Expected("backing_off")
    if not beat:
        return Expected("heartbeat_expired")
    if slots(stored, beat) - len(stored.sets["live"]) - int(beat.get("foreign", 0)) <= 0:
        return Expected("capacity_full")
    left = waiting(stored)
    later = [turn for turn in left if stored.sets["delayed"].get(turn["id"], 0) > now]
    parked = {place.rpartition("|")[2] for place in stored.sets["parked"]}
    now_left = [turn for turn in left if turn not in later]
    claim = Choice(stored, now, dict(last_ends), now_left, later, parked)
    while claim.left:
        # A fire that stands aside stands before no other; it is looked at last: it may not run.
        standing = [one for one in claim.left if one["id"] not in claim.parked]
        turn = first_of(standing or claim.left, now)
        claim.left.remove(turn)
        ended = set(claim.ended)
        if chosen := claim.decide(turn):
            return Expected(str(chosen["id"]), claim.ended)
        claim.wake(claim.ended.keys() - ended)
    behind = "overlap" if claim.aside else "empty"
    return Expected("backing_off" if claim.later else behind, claim.ended)


@dataclass
class Choice:
    """One claim as it passes over turns. ``left``: may be chosen; ``later``: in their pause;
    ``parked``: those of ``left`` that an earlier claim put aside."""

    stored: Stored
    now: int
    last_ends: dict[str, tuple[int, int]]
    left: list[dict[str, Any]]
    later: list[dict[str, Any]]
    parked: set[str]
    ended: dict[str, str] = field(default_factory=dict)
    aside: list[dict[str, Any]] = field(default_factory=list)

    def decide(self, turn: dict[str, Any]) -> dict[str, Any] | None:
        """The turn that runs now that this one's time has come; None: neither it nor another."""
        if self.has_expired(turn):
            self.ended[turn["id"]] = "expired"
            return None
        if "schedule_id" not in turn:
            return turn
        policy = policy_of(self.stored, turn)
        ends_other = policy in ("cancel_other", "terminate_other")
        group = [one for one in [*self.left, *self.aside, turn] if self.is_rival(one, turn)]
        if turn["attempt"]:
            if ends_other and group:
                self.cancel(turn)
                return None
            return turn
        if policy == "allow_all":
            return turn
        running = self.unfinished(turn)
        if ends_other:
            below = LANES[LANES.index(turn["lane"]) :]  # a backfill's ends no live fire
            lost_ones = [one for one in running if one["state"] == "queued"]
            for lost in [one for one in lost_ones if one["lane"] in below]:
                self.cancel(lost)
            running = self.unfinished(turn)
        if policy == "skip":
            due = turn["nominal_at" if turn["fire_origin"] == "make" else "accepted_at"]
            ended_at, seq = self.last_ends.get(turn["schedule_id"], (0, 0))
            if running or (due < ended_at and seq < turn["seq"]):
                self.ended[turn["id"]] = "skipped"
                return None
            return turn
        if running:
            self.aside.append(turn)
            return None
        return turn if policy == "buffer_all" else self.newest(group)

    def cancel(self, lost: dict[str, Any]) -> None:
        """A lost fire ends, and with it its run."""
        self.ended[lost["id"]] = "canceled"
        if "begun_at" in lost:
            self.last_ends[lost["schedule_id"]] = (self.now, lost["seq"])
        self.left = [one for one in self.left if one is not lost]
        self.later = [one for one in self.later if one is not lost]

    def wake(self, ended: Collection[str]) -> None:
        """Of those behind a fire that ended, the oldest of each kind is looked at again."""
        for schedule_id in {self.stored.turns[key].get("schedule_id", "") for key in ended}:
            behind = [one for one in self.left if one["id"] in self.parked] + self.aside
            kinds: dict[tuple[str, str], dict[str, Any]] = {}
            for one in sorted(behind, key=lambda one: -one["seq"]):
                if one.get("schedule_id") == schedule_id and one["id"] not in self.ended:
                    kinds[one.get("overlap_policy", ""), one["lane"]] = one
            woken = list(kinds.values())
            self.parked -= {one["id"] for one in woken}
            self.aside = [one for one in self.aside if one not in woken]
            self.left += [one for one in woken if one not in self.left]

    def newest(self, group: list[dict[str, Any]]) -> dict[str, Any]:
        """The newest that has not expired; the others end."""
        run = max((one for one in group if not self.has_expired(one)), key=lambda one: one["seq"])
        for one in group:
            if one is not run:
                self.ended[one["id"]] = "expired" if self.has_expired(one) else "coalesced"
        self.left = [one for one in self.left if one not in group]
        return run

    def has_expired(self, turn: Mapping[str, Any]) -> bool:
        return bool(turn.get("expires_at", self.now + 1) <= self.now and "begun_at" not in turn)

    def is_rival(self, one: Mapping[str, Any], turn: Mapping[str, Any]) -> bool:
        """A never claimed fire of the same kind: schedule, lane, policy of its own."""
        same = ("schedule_id", "lane", "overlap_policy")
        return not one["attempt"] and all(one.get(name) == turn.get(name) for name in same)

    def unfinished(self, turn: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            one
            for one in self.stored.turns.values()
            if one.get("schedule_id") == turn["schedule_id"]
            and one["id"] not in self.ended
            and (one["state"] in LIVE or (one["state"] == "queued" and one["attempt"]))
        ]


def policy_of(stored: Stored, turn: Mapping[str, Any]) -> str:
    """The fire's own, or its schedule's as it is now."""
    schedule = json.loads(stored.hashes["schedules"][turn["schedule_id"]])
    return str(turn.get("overlap_policy") or schedule["overlap_policy"])


def first_of(left: list[dict[str, Any]], now: int) -> dict[str, Any]:
    """The oldest of each lane; of these the longest overdue, else that of the highest lane."""
    lanes = [[turn for turn in left if turn["lane"] == lane] for lane in LANES]
    heads = [min(lane, key=lambda turn: turn["seq"]) for lane in lanes if lane]
    overdue = [turn for turn in heads if now - laid_at(turn) > turn["max_wait_ms"]]
    return min(overdue, key=laid_at) if overdue else heads[0]


def laid_at(turn: Mapping[str, Any]) -> int:
    """When it came into its lane, in ms: by the stream, whose time never goes back."""
    return order(turn["entry"])[0]


def outlived(stored: Stored, now: int) -> set[str]:
    """The waiting turns whose time to live has passed; what has once begun has none."""
    return {
        turn["id"]
        for turn in waiting(stored)
        if turn.get("expires_at", now + 1) <= now and "begun_at" not in turn
    }


def may_retry(stored: Stored, turn: Mapping[str, Any], retried: int) -> bool:
    """Whether a fire that ends badly is queued again: not where its caller canceled it."""
    schedule = stored.hashes["schedules"].get(turn.get("schedule_id", ""), "{}")
    session = stored.sessions.get(turn.get("session_id", ""), {})
    return retried < json.loads(schedule).get("retries", 0) and "unwanted" not in session


BAD, GOOD = ("failed", "force_idled", "dead"), ("completed", "yielded")


def failures(count: int, ends: list[str]) -> int:
    """Bad ends in a row, after these ends."""
    for state in ends:
        count = count + 1 if state in BAD else 0 if state in GOOD else count
    return count


@dataclass(frozen=True)
class Clock:
    """What can end a session: it runs out ``limit_ms`` after ``since``."""

    mechanism: str
    limit_ms: int
    since: int

    @property
    def ends_at(self) -> int:
        return self.since + self.limit_ms


def clocks(session: Mapping[str, Any]) -> list[Clock]:
    """The clocks of a stored session, the hardest first; the reaper's own are tested elsewhere."""
    found = []
    if "ceiling_at" in session:
        found.append(Clock("ceiling", session["ceiling_ms"], session["claimed_at"]))
    if "cancel_asked_at" in session:
        grace_ms = session["cancel_by"] - session["cancel_asked_at"]
        found.append(Clock("cancel", grace_ms, session["cancel_asked_at"]))
    if "started_at" not in session:
        found.append(Clock("lease", LEASE_MS, session["claimed_at"]))
    elif session.get("missed", 0) >= 2:
        found.append(Clock("lost", 0, session["seen_at"]))
    else:
        found.append(Clock("idle_timeout", IDLE_MS, session["seen_at"]))
    return found


def waiting(stored: Stored) -> list[dict[str, Any]]:
    return [turn for turn in stored.turns.values() if turn["state"] == "queued"]


def reachable(old: str, new: str) -> bool:
    """In one move, or in two of one script (a finish begins what was not begun)."""
    after = TRANSITIONS[old]
    return new in after or any(new in TRANSITIONS[middle] for middle in after)
