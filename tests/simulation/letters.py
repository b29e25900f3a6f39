"""Steps of a walk: dead letters are replayed, discarded and forgotten."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.core import dead_letters
from app.core.errors import IllegalTransition, QueueFull
from app.core.states import TERMINAL
from tests.simulation.oracle import waiting
from tests.support import invariants

if TYPE_CHECKING:
    from tests.simulation.walk import Walk

KEPT = 3  # dead letters


def is_letter(turn: dict[str, Any]) -> bool:
    """A dead letter that nobody has looked after."""
    return turn["state"] == "dead" and not {"replayed_as", "discarded_at"} & turn.keys()


def chosen(walk: "Walk") -> dict[str, Any] | None:
    """Some turn, mostly a dead letter."""
    known = list(walk.stored.turns.values())
    dead = [turn for turn in known if is_letter(turn)]
    if dead and walk.random.random() < 0.7:
        return walk.random.choice(dead)
    return walk.random.choice(known) if known else None


def replay(walk: "Walk") -> None:
    """A turn's work once more: once, however often it is asked, unless again is said."""
    old = chosen(walk)
    if old is None:
        return
    again, depth = walk.random.random() < 0.2, len(waiting(walk.stored))
    new_id, before = f"trn_r{walk.count:06}", old.get("replayed_as")
    try:
        answer = walk.kernel.replay(old["id"], again=again, new_id=new_id)
    except IllegalTransition:
        assert old["state"] not in TERMINAL
        return
    except QueueFull:
        assert old["state"] in TERMINAL
        assert depth >= walk.depth_max
        return
    assert old["state"] in TERMINAL
    if before is not None and not again:
        assert (answer.outcome, answer.turn_id) == ("replayed", before)
        return
    assert (answer.outcome, answer.turn_id, answer.depth) == ("accepted", new_id, depth + 1)
    assert depth < walk.depth_max, "over the bound"
    check_replayed(walk, old, new_id)
    assert walk.kernel.replay(old["id"], again=again, new_id=new_id).outcome == "replayed"


def check_replayed(walk: "Walk", old: dict[str, Any], new_id: str) -> None:
    """The new turn has what the old one had; a fire is one of its own beside the old one."""
    after = invariants.read(walk.kernel)
    turn = after.turns[new_id]
    same = ("lane", "origin", "max_wait_ms", "context_id", "redeliver", "schedule_id")
    same += ("overlap_policy",)
    assert {name: turn.get(name) for name in same} == {name: old.get(name) for name in same}
    assert (turn["state"], turn["replay_of"], turn["attempt"]) == ("queued", old["id"], 0)
    assert after.hashes["bodies"][new_id] == walk.stored.hashes["bodies"][old["id"]]
    now = after.turns.get(old["id"])
    assert now is None or (now["state"], now["replayed_as"]) == (old["state"], new_id)
    if "schedule_id" in turn:
        row = invariants.row_of(turn)
        assert row not in walk.stored.hashes["fires"], "it took another fire's place"
        walk.remember(turn["schedule_id"], turn["nominal_at"])


def wear_out(walk: "Walk") -> None:
    """A session is lost where that is the last its turn may lose: a dead letter."""
    strict = walk.kernel.tuned(max_attempts=1)
    walk.write(lambda session: strict.release(session, counts=True), replays="release")


def discard(walk: "Walk") -> None:
    old = chosen(walk)
    if old is None:
        return
    try:
        was_there = walk.kernel.discard(old["id"])
    except IllegalTransition:
        assert not is_letter(old)
        assert "discarded_at" not in old
    else:
        assert was_there == is_letter(old)
        assert was_there or "discarded_at" in old


def bury(walk: "Walk") -> None:
    """The oldest beyond the count go, no other."""
    dead = sorted(walk.stored.sets["dead"].items(), key=lambda pair: (pair[1], pair[0]))
    over = [key for key, _ in dead[: max(0, len(dead) - KEPT)]]
    small = walk.kernel.tuned(dead_kept=KEPT)
    assert dead_letters.bury(small.platform, [walk.kernel.id]) == len(over)
    left = invariants.read(walk.kernel).turns
    assert not set(over) & set(left)
    assert {key for key, _ in dead} - set(over) <= set(left)


STEPS = {"replay": 4, "wear_out": 4, "discard": 1, "bury": 1}
ACTS: "dict[str, Callable[[Walk], None]]" = {
    "replay": replay,
    "wear_out": wear_out,
    "discard": discard,
    "bury": bury,
}
