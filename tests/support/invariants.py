"""What holds of a workspace between any two steps, whatever they were.

``check`` reads the workspace once and raises AssertionError naming what is broken.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.core import states
from tests.support import near_reading
from tests.support.kernel import Kernel

HASHES = ("workspace", "turns", "sessions", "lanes", "fires", "bodies", "bound")
HASHES += ("policy", "memories", "memory_texts", "memory_names")
SETS = ("open", "done", "dead", "live", "ended", "returned", "delayed", "inbox", "fire_index")
SETS += ("memory_order", "memory_gone")
SETS += ("expiring", "due")
HASHES += ("schedules", "tallies", "backfills")
HASHES += ("results", "push")
SETS += ("changed",)
HASHES += ("fires_unfinished", "last_runs", "notes")
SETS += ("fires_waiting", "parked")
GROUP = "turnkeeper"
FLOAT = re.compile(r"[:\[ ]-?\d+(\.\d+|(\.\d+)?[eE][+-]?\d+)[,}\]]")


@dataclass(frozen=True)
class Stored:
    """A workspace as it stands, read in one round trip."""

    hashes: dict[str, dict[str, str]]
    sets: dict[str, dict[str, float]]
    lanes: dict[str, list[str]]
    turns: dict[str, dict[str, Any]]
    sessions: dict[str, dict[str, Any]]

    def unclaimed(self, lane: str) -> list[str]:
        """Entries of a lane that were never claimed."""
        last = order(self.hashes["lanes"].get(f"last:{lane}", "0-0"))
        return [entry for entry in self.lanes[lane] if order(entry) > last]


def order(entry: str) -> tuple[int, int]:
    at_ms, _, number = entry.partition("-")
    return int(at_ms), int(number)


def read(kernel: Kernel) -> Stored:
    """As it stands now; a record that is written as before is parsed once."""
    wanted = [("hash", kernel.keys[name]) for name in HASHES]
    wanted += [("zset", kernel.keys[name]) for name in SETS]
    wanted += [("stream", kernel.keys[f"lane_{lane}"]) for lane in states.LANES]
    rows = iter(_rows(kernel, wanted))
    hashes = {name: next(rows) for name in HASHES}
    sets = {name: dict(next(rows)) for name in SETS}
    lanes = {lane: next(rows) for lane in states.LANES}
    turns = {key: _parsed(text) for key, text in hashes["turns"].items()}
    sessions = {key: _parsed(text) for key, text in hashes["sessions"].items()}
    return Stored(hashes, sets, lanes, turns, sessions)


def _rows(kernel: Kernel, wanted: list[tuple[str, str]]) -> list[Any]:
    if (database := near_reading.of_fake(kernel.data)) is not None:
        return near_reading.read(database, wanted)
    return by_protocol(kernel, wanted)


def by_protocol(kernel: Kernel, wanted: list[tuple[str, str]]) -> list[Any]:
    """The same from any server, in one transaction."""
    pipe = kernel.data.pipeline(transaction=True)
    for kind, key in wanted:
        if kind == "hash":
            pipe.hgetall(key)
        elif kind == "zset":
            pipe.zrange(key, 0, -1, withscores=True)
        else:
            pipe.xrange(key)
    rows = zip(wanted, pipe.execute(), strict=True)
    return [[entry for entry, _ in row] if kind == "stream" else row for (kind, _), row in rows]


@lru_cache(maxsize=8192)
def _parsed(text: str) -> dict[str, Any]:
    """A record; nobody changes it."""
    return json.loads(text)  # type: ignore[no-any-return]


@lru_cache(maxsize=8192)
def _carries_float(text: str) -> bool:
    return bool(FLOAT.search(text))


def check(kernel: Kernel) -> Stored:
    """All of it; returns what was read."""
    stored = read(kernel)
    places(stored)
    lanes(stored)
    slots(stored)
    ledger(stored)
    kept(stored)
    counted(stored)
    lives(stored)
    remembered(stored)
    fires(stored)
    pushed(stored)
    lines_of(kernel)
    for name in ("turns", "sessions", "fires", "memories"):
        for key, text in stored.hashes[name].items():
            assert not _carries_float(text), f"{key} carries a float: {text}"
    return stored


def pushed(stored: Stored) -> None:
    """Only the agent of a session whose message left is told of a secret, and may push."""
    for key, session in stored.sessions.items():
        assert "push_digest" not in session or "sent_at" in session, key
        assert "pushes" not in session or "push_digest" in session, key


def places(stored: Stored) -> None:
    """Each turn is in one state and in the one place of that state."""
    waits = {(lane, entry) for lane in states.LANES for entry in stored.unclaimed(lane)}
    aside = {place.rsplit("|", 1)[1] for place in stored.sets["parked"]}
    of_session = {stored.sessions[item]["turn_id"]: item for item in stored.sets["live"]}
    assert len(of_session) == len(stored.sets["live"]), "one turn in two live sessions"
    for key, turn in stored.turns.items():
        found = [
            name for name in ("returned", "delayed", "done", "dead") if key in stored.sets[name]
        ]
        if key in aside:
            found.append("parked")
        if (turn["lane"], turn["entry"]) in waits:
            found.append(f"lane {turn['lane']}")
        if key in of_session:
            found.append("live")
        assert found == place_of(turn, found), f"{key} is {turn['state']} and in {found}"
        is_open = turn["state"] not in states.TERMINAL
        assert (key in stored.sets["open"]) == is_open, f"open holds {key}, which is {turn}"
        assert ("ended_at" in turn) == (not is_open), turn
        assert key in stored.hashes["bodies"], f"{key} has lost its body"
    known = set(stored.turns)
    for name in ("open", "done", "dead", "returned", "delayed"):
        assert set(stored.sets[name]) <= known, f"{name} names a turn that is not there"
    assert set(stored.hashes["bodies"]) == known


def place_of(turn: dict[str, Any], found: list[str]) -> list[str]:
    state = turn["state"]
    if state in states.LIVE:
        return ["live"]
    if state == "queued":
        waiting = ("returned", "delayed", "parked", f"lane {turn['lane']}")
        return found if len(found) == 1 and found[0] in waiting else ["one of", *waiting]
    if state == "dead" and not {"replayed_as", "discarded_at"} & turn.keys():
        return ["dead"]
    return [] if state == "input_required" else ["done"]


def lanes(stored: Stored) -> None:
    """A stream holds the open turns of its lane; the counter is what was never claimed."""
    for lane in states.LANES:
        here = {
            turn["entry"]
            for key, turn in stored.turns.items()
            if turn["lane"] == lane and key in stored.sets["open"]
        }
        assert set(stored.lanes[lane]) == here, (
            f"lane {lane} holds {stored.lanes[lane]}, not {here}"
        )
        counted = int(stored.hashes["lanes"].get(lane, 0))
        assert counted == len(stored.unclaimed(lane)), f"{lane}: {counted} counted"


def slots(stored: Stored) -> None:
    """A live session holds its turn, a clock and a fence of its own; an ended one is accounted."""
    live = stored.sets["live"]
    epoch = int(stored.hashes["workspace"].get("epoch", 0))
    fences = [session["fence"] for session in stored.sessions.values()]
    assert len(fences) == len(set(fences)), "two sessions with one fence"
    assert all(0 < fence <= epoch for fence in fences)
    for key, session in stored.sessions.items():
        assert (key in live) != (key in stored.sets["ended"]), session
        assert ("ended_at" in session) == (key not in live), session
        if key in live:
            turn = stored.turns[session["turn_id"]]
            assert turn["session_id"] == key
            assert turn["state"] == session["state"], (turn, session)
            assert turn["attempt"] == session["attempt"]
            has_ceiling = "ceiling_at" in session
            assert has_ceiling == (session["ceiling_ms"] > 0)
    assert set(stored.sets["ended"]) | set(live) == set(stored.sessions)
    assert set(stored.hashes["bound"]) <= set(stored.sessions)
    for key in stored.sets["inbox"]:
        assert key in live, f"the inbox offers {key}, which has ended"
        assert "started_at" not in stored.sessions[key], f"the inbox offers {key}, which has begun"
        assert key in stored.hashes["bound"]


def in_ledger(state: str) -> str:
    """The ledger's word for a turn's state: what is neither waiting nor ended is running."""
    return state if state == "queued" or state in states.TERMINAL else "running"


def row_of(turn: dict[str, Any]) -> str:
    """The key of a fire's row in the ledger."""
    return f"{turn['schedule_id']}:{turn['nominal_at']}"


def ledger(stored: Stored) -> None:
    """Each fire of a turn that is still known has the turn's state; each end names its reason."""
    for key, turn in stored.turns.items():
        if "schedule_id" in turn:
            text = stored.hashes["fires"].get(row_of(turn))
            if text is None:  # the ledger is trimmed of ended rows only
                assert turn["state"] in states.TERMINAL, turn
                continue
            assert _parsed(text)["state"] == in_ledger(turn["state"]), (text, turn)
            assert _parsed(text)["turn_id"] == key
    for name, text in stored.hashes["fires"].items():
        row = _parsed(text)
        ended = row["state"] in states.TERMINAL | {"missed"}
        assert ended == ("ended_at" in row), (name, row)
        assert not ended or row["reason"], f"{name} ended for no reason: {row}"
        if row["state"] in ("missed", "skipped", "expired"):
            assert row["setting"], f"{name} does not name its limit: {row}"
            assert "limit_ms" in row or "limit_count" in row, row
            assert "measured_ms" in row or "measured_count" in row, row
    assert set(stored.sets["fire_index"]) == set(stored.hashes["fires"])


def lines_of(kernel: Kernel) -> None:
    """Open lines, and only these, bound the trimming, by the time of what they have settled."""
    wanted = [("hash", kernel.keys["lines"]), ("zset", kernel.keys["owed"])]
    records_of_lines, owed_rows = _rows(kernel, wanted)
    records = {key: _parsed(text) for key, text in records_of_lines.items()}
    opened = {
        key: float(order(one.get("only") or one["cursor"])[0])
        for key, one in records.items()
        if "closed_at" not in one and "done_at" not in one
    }
    owed = dict(owed_rows)
    assert owed == opened, (owed, opened)
    for key, one in records.items():
        assert ("lease" in one) == ("lease_until" in one), (key, one)
        assert key in opened or "lease" not in one, f"{key} is held though it is closed"
        assert not one.get("next_at") or one["attempts"] > 0, (key, one)


def kept(stored: Stored) -> None:
    """What hangs on a turn goes with it: its place by last change, its pushes, its answer."""
    at = {key: turn["state_at"] for key, turn in stored.turns.items()}
    assert stored.sets["changed"] == at, "the order by last change is another"
    pushed = {f"{key}:{one}" for key, turn in stored.turns.items() for one in turn.get("push", ())}
    assert set(stored.hashes["push"]) == pushed
    assert set(stored.hashes["results"]) <= set(stored.turns)
    answered = [key for key in stored.hashes["results"] if stored.turns[key]["state"] == "queued"]
    assert not answered, f"{answered} wait with an answer of before"


def remembered(stored: Stored) -> None:
    """Each memory is there or gone, and its text with it, under a number of its own."""
    records = {key: json.loads(text) for key, text in stored.hashes["memories"].items()}
    live = {key for key, record in records.items() if not record.get("gone")}
    assert set(stored.sets["memory_order"]) == live == set(stored.hashes["memory_texts"])
    assert set(stored.sets["memory_gone"]) == set(records) - live
    places = stored.sets["memory_order"] | stored.sets["memory_gone"]
    assert {key: record["seq"] for key, record in records.items()} == places
    assert len(set(places.values())) == len(places), "two memories with one number"
    assert max(places.values(), default=0) <= int(stored.hashes["policy"].get("seq", 0))
    bytes_kept = sum(len(text.encode()) for text in stored.hashes["memory_texts"].values())
    assert bytes_kept == int(stored.hashes["policy"].get("bytes", 0))
    named = {
        f"{record['namespace']}\n{record['key']}": key
        for key, record in records.items()
        if "key" in record
    }
    assert named == stored.hashes["memory_names"]
    for key, record in records.items():
        assert record["created_seq"] <= record["seq"], key
        assert record["version"] >= 1


def counted(stored: Stored) -> None:
    """What is counted of the ledger is what stands in it."""
    rows = {name: _parsed(text) for name, text in stored.hashes["fires"].items()}
    waiting = Counter(name.rpartition(":")[0] for name in rows if rows[name]["state"] == "queued")
    tallies = stored.hashes["tallies"]
    told = {name.removesuffix(":waiting"): int(tallies[name]) for name in tallies if ":w" in name}
    assert told == waiting, f"waiting fires: {told} counted, {dict(waiting)} there"


def lives(stored: Stored) -> None:
    """A time to live runs for each turn that waits and has never begun, and for no other."""
    running = {
        key: turn["expires_at"]
        for key, turn in stored.turns.items()
        if turn["state"] == "queued" and "expires_at" in turn and "begun_at" not in turn
    }
    assert stored.sets["expiring"] == running


def fires(stored: Stored) -> None:
    """The indexes of the fires say what the turns say, and no fire is parked for nothing."""
    waiting, unfinished, active = set(), {}, set()
    for key, turn in stored.turns.items():
        if "schedule_id" not in turn:
            continue
        was_claimed = turn["attempt"] > 0
        if turn["state"] == "queued" and not was_claimed:
            own = turn.get("overlap_policy", "")
            place = f"{turn['schedule_id']}|{own}|{turn['lane']}|{turn['seq']:012}|{key}"
            waiting.add(place)
            if place not in stored.sets["parked"]:
                active.add(turn["schedule_id"])
        elif turn["state"] in states.LIVE or turn["state"] == "queued":
            unfinished[key] = turn["schedule_id"]
    assert set(stored.sets["fires_waiting"]) == waiting
    assert stored.hashes["fires_unfinished"] == unfinished
    parked = stored.sets["parked"]
    assert int(stored.hashes["lanes"].get("parked", 0)) == len(parked), parked
    for place in parked:
        schedule_id, own, lane, seq, key = place.split("|")
        turn = stored.turns[key]
        assert (schedule_id, lane, int(seq)) == (turn["schedule_id"], turn["lane"], turn["seq"])
        assert turn["state"] == "queued", turn
        assert turn["attempt"] == 0, turn
        assert turn.get("overlap_policy", "") == own, turn
        wakers = active | set(unfinished.values())
        assert schedule_id in wakers, f"{key} is parked, and nobody will wake it"


def pending(kernel: Kernel, lane: str) -> set[str]:
    """Entries of a lane that the group holds as delivered and not acknowledged."""
    key = kernel.keys[f"lane_{lane}"]
    if not kernel.data.exists(key):
        return set()
    rows = kernel.data.xpending_range(key, GROUP, "-", "+", 10_000)
    return {row["message_id"] for row in rows}


def check_pending(kernel: Kernel) -> None:
    """Pending are just the open turns that were claimed once; nothing is left behind."""
    stored = read(kernel)
    for lane in states.LANES:
        claimed = set(stored.lanes[lane]) - set(stored.unclaimed(lane))
        assert pending(kernel, lane) == claimed, f"lane {lane}"


def check_empty(kernel: Kernel) -> None:
    """Nothing open: every lane is empty, nothing is pending, no counter is left."""
    stored = check(kernel)
    assert not stored.sets["open"]
    assert not any(stored.lanes.values())
    assert not any(pending(kernel, lane) for lane in states.LANES)
    assert not any(int(stored.hashes["lanes"].get(lane, 0)) for lane in states.LANES)
