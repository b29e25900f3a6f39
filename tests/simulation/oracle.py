"""What must come of a step, worked out from what stands in the store and nothing of the scripts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.states import LANES, TRANSITIONS
from tests.support.invariants import Stored

LEASE_MS, IDLE_MS = 60_000, 900_000


def slots(stored: Stored, beat: Mapping[str, str]) -> int:
    """The smaller of what owner and agent allow; one where neither says."""
    own = stored.hashes["workspace"].get("max_concurrent")
    said = [int(text) for text in (own, beat.get("max_concurrent")) if text is not None]
    return min(said, default=1)


def predict(stored: Stored, beat: Mapping[str, str], now: int) -> str:
    """The id of the turn that the next claim must give, or why it must give none."""
    if "paused_at" in stored.hashes["workspace"]:
        return "paused"
    if int(stored.hashes["workspace"].get("hold_until", 0)) > now:
        return "backing_off"
    if not beat:
        return "heartbeat_expired"
    if slots(stored, beat) - len(stored.sets["live"]) - int(beat.get("foreign", 0)) <= 0:
        return "capacity_full"
    left = waiting(stored)
    later = [turn for turn in left if stored.sets["delayed"].get(turn["id"], 0) > now]
    left = [turn for turn in left if turn not in later]
    while left:
        turn = first_of(left, now)
        if turn["id"] not in outlived(stored, now):
            return str(turn["id"])
        left.remove(turn)
    return "backing_off" if later else "empty"


def first_of(left: list[dict[str, Any]], now: int) -> dict[str, Any]:
    """The oldest of each lane; of these the longest overdue, else that of the highest lane."""
    lanes = [[turn for turn in left if turn["lane"] == lane] for lane in LANES]
    heads = [min(lane, key=lambda turn: turn["seq"]) for lane in lanes if lane]
    overdue = [turn for turn in heads if now - turn["accepted_at"] > turn["max_wait_ms"]]
    return min(overdue, key=lambda turn: turn["accepted_at"]) if overdue else heads[0]


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
