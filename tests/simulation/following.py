"""Steps of a walk: answers to turns that asked for input, and where turns are pushed."""

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from app.core import agents, keys
from app.core.errors import IdempotencyConflict, IllegalTransition, QueueFull
from app.core.push import made, remove
from app.core.records import Session
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
    if walk.random.random() < 0.5:
        _named_again(walk)
        return
    turn_id, call = walk.random.choice(walk.followed)
    if walk.stored.turns.get(turn_id, {}).get("follow_call") == digest_of(call):
        assert walk.kernel.follow(turn_id, call, call=call).outcome == "replayed"


def _named_again(walk: "Walk") -> None:
    """A call that its caller named: as before, whatever was said to the turn since."""
    turn_id, call = walk.random.choice(walk.followed)
    remembered = keys.idempotency(walk.kernel.id, "key", "", call)
    if turn_id not in walk.stored.turns or not walk.kernel.data.exists(remembered):
        return
    assert walk.kernel.follow(turn_id, call, idempotency_key=call).outcome == "replayed"
    with pytest.raises(IdempotencyConflict):
        walk.kernel.follow(turn_id, "other words", idempotency_key=call)


def _try(walk: "Walk", turn_id: str, call: str) -> None:
    turn, depth = walk.stored.turns[turn_id], len(waiting(walk.stored))
    config = made("", "https://x.example/h", "1.0", config_id="c")
    given: dict[str, Any] = {"push": config} if walk.random.random() < 0.5 else {}
    if walk.random.random() < 0.5:
        given["idempotency_key"] = call
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


def decline(walk: "Walk") -> None:
    """The agent of some session takes no work now: no attempt is used up."""

    def act(session: Session) -> None:
        kernel, stood = walk.kernel, walk.stored.sessions.get(session.id, {})
        before = walk.stored.turns.get(session.turn_id, {})
        here = (kernel.platform, kernel.id, session.id, session.fence)
        state = agents.decline(*here, "busy", "as told", walk.random.choice([0, 0, 0.05]))
        if "ended_at" not in stood:
            assert state == ("canceled" if stood.get("unwanted") else "queued")
            assert kernel.turn(session.turn_id).losses == before["losses"], "an attempt was used"

    walk.write(act, replays="busy")


STEPS = {"decline": 3, "follow": 3, "follow_again": 1, "push": 2}
ACTS: "Mapping[str, Callable[[Walk], None]]" = {
    "decline": decline,
    "follow": follow,
    "follow_again": follow_again,
    "push": push,
}
