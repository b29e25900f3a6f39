"""Steps of a walk: answers to turns that asked for input, and where turns are pushed."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.core.errors import IllegalTransition, QueueFull
from app.core.push import made, remove
from tests.simulation.oracle import waiting

if TYPE_CHECKING:
    from tests.simulation.walk import Walk


def digest_of(call: str) -> str:
    """How a call of nobody's is named in the store, worked out once more."""
    return hashlib.sha256(f"\0{call}".encode()).hexdigest()[:32]


def follow(walk: "Walk") -> None:
    """An answer to some turn, mostly to one that asked."""
    asking = [key for key, turn in walk.stored.turns.items() if turn["state"] == "input_required"]
    known = asking if asking and walk.random.random() < 0.8 else list(walk.stored.turns)
    if known:
        _try(walk, walk.random.choice(known), f"call_{walk.count:06}")


def follow_again(walk: "Walk") -> None:
    """The same call once more, however far the turn has come."""
    if not walk.followed:
        return
    turn_id, call = walk.random.choice(walk.followed)
    if walk.stored.turns.get(turn_id, {}).get("follow_call") == digest_of(call):
        assert walk.kernel.follow(turn_id, call, call=call).outcome == "replayed"


def _try(walk: "Walk", turn_id: str, call: str) -> None:
    turn, depth = walk.stored.turns[turn_id], len(waiting(walk.stored))
    config = made("", "https://x.example/h", "1.0", config_id="c")
    given = {"push": config} if walk.random.random() < 0.5 else {}
    try:
        answer = walk.kernel.follow(turn_id, call, call=call, **given)
    except IllegalTransition:
        assert turn["state"] != "input_required"
    except QueueFull:
        assert turn["state"] == "input_required"
        assert depth >= walk.kernel.platform.settings.queue_depth_max
    else:
        assert turn["state"] == "input_required"
        assert (answer.outcome, answer.turn_id) == ("accepted", turn_id)
        assert depth < walk.kernel.platform.settings.queue_depth_max, "over the bound"
        assert answer.depth == depth + 1
        walk.followed = [*walk.followed, (turn_id, call)][-5:]
        again = walk.kernel.turn(turn_id)
        assert (again.state, again.seq) == ("queued", turn["seq"]), "it keeps its place"


def push(walk: "Walk") -> None:
    """A configuration of some turn, ended or not, is written or taken away."""
    if not walk.stored.turns:
        return
    turn_id, config_id = walk.random.choice(list(walk.stored.turns)), walk.random.choice("ab")
    if walk.random.random() < 0.7:
        walk.kernel.put_push(turn_id, config_id)
    else:
        was_there = f"{turn_id}:{config_id}" in walk.stored.hashes["push"]
        assert remove(walk.kernel.platform, walk.kernel.id, turn_id, config_id) == was_there


STEPS = {"follow": 3, "follow_again": 1, "push": 2}
ACTS: "dict[str, Callable[[Walk], None]]" = {
    "follow": follow,
    "follow_again": follow_again,
    "push": push,
}
