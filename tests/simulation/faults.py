"""Steps of a walk: processes die before and after a script, and messages are lost, late or doubled.

A script is done whole or not at all, so what a cut step leaves is what one of its scripts leaves;
the caller then sends the same once more, or never comes back.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as Disconnected

from app.core.records import Session
from tests.simulation import speaking
from tests.simulation.unsteady import FAULTS, REACHED, Death, Message
from tests.support import invariants
from tests.support.invariants import Stored

if TYPE_CHECKING:
    from tests.simulation.walk import Walk

# What may be cut: every step that sends something.
CUT = (
    *(
        "submit",
        "repeat",
        "beat",
        "claim",
        "bind",
        "hand_over",
        "take",
        "start",
        "progress",
        "finish",
    ),
    *("release", "ask", "cancel", "operator", "reap", "fire", "fire_again", "backfill", "expire"),
    *("follow", "push", "decline", "replay", "wear_out", "discard", "note", "say"),
    *("claim", "finish", "submit", "release", "start"),
)
# A poll sent again is another poll: it hands out the next session.
POLLS = ("take",)
NTH = (1, 1, 1, 2, 3)


def cut(walk: "Walk") -> None:
    """Another step meets a fault; then its caller sends the cut message again, or is gone."""
    line, name = walk.line, walk.random.choice(CUT)
    fault, nth = walk.random.choice(FAULTS), walk.random.choice(NTH)
    before, retried = walk.stored, walk.ticks.retried.copy()
    line.arm(fault, nth)
    try:
        with suppress(Death, Disconnected):
            walk.act_of(name)()
    finally:
        line.disarm()
    message = line.cut
    if message is None:
        return
    walk.faults[f"{fault}: {message.name}"] += 1
    if line.doubled and message.name not in POLLS:
        once, twice = line.doubled
        assert not (moved := changed(once, twice)), f"{message.name}, sent twice: {moved}"
    if fault != "twice":
        walk.ticks.retried = retried
        after = invariants.read(walk.kernel)
        settle(walk, before, after)
        if walk.random.random() < 0.5:
            again(walk, message, is_done=fault in REACHED)


def again(walk: "Walk", message: Message, is_done: bool) -> None:
    """The caller sends it once more; what was done already is not done again."""
    before = invariants.read(walk.kernel)
    walk.line.send(message)
    after = invariants.read(walk.kernel)
    if is_done and message.name not in POLLS:
        assert not (moved := changed(before, after)), f"{message.name}, repeated: {moved}"
    settle(walk, before, after)
    if message.name == "claim" and message.args["session_id"] in after.sessions:
        text = after.hashes["sessions"][message.args["session_id"]]
        walk.held = [*walk.held, Session.parse(text)][-10:]


def arrive(walk: "Walk") -> None:
    """A message that was held back arrives; one of a holder that holds no more changes nothing."""
    if not walk.line.late:
        return
    message = walk.line.late.pop(walk.random.randrange(len(walk.line.late)))
    before = walk.stored
    walk.line.send(message)
    after = invariants.read(walk.kernel)
    walk.faults[f"arrived: {message.name}"] += 1
    if "fence" in message.args and message.args["session_id"] not in before.sets["live"]:
        assert not (moved := changed(before, after)), f"late {message.name}, stale: {moved}"
        walk.faults["arrived stale"] += 1
    settle(walk, before, after)


def settle(walk: "Walk", before: Stored, after: Stored) -> None:
    """What the walk remembers by itself, after steps whose answers nobody has seen."""
    for place in before.hashes["notes"].keys() | after.hashes["notes"].keys():
        old, new = (stored.hashes["notes"].get(place) for stored in (before, after))
        if old != new:
            assert new is not None or has_completed(before, after, place), f"{place} is forgotten"
            walk.notes.pop(place, None)
            walk.notes |= {} if new is None else {place: json.loads(new)}
    for key, turn in after.turns.items():
        if before.turns.get(key) != turn and turn.get("retries"):
            assert turn["retries"] - walk.ticks.retried[key] in (0, 1), turn
            walk.ticks.retried[key] = turn["retries"]
    for text in after.turns.keys() - before.turns.keys():
        if text in walk.naming:
            walk.named[walk.naming[text]] = text


def changed(before: Stored, after: Stored) -> list[str]:
    """Where two looks differ; a record that was written again in another order is the same."""
    pairs = [(before.hashes, after.hashes), (before.sets, after.sets)]
    return [
        f"{name} {key}: {old[name].get(key)} -> {new[name].get(key)}"
        for old, new in pairs
        for name in old
        for key in old[name].keys() | new[name].keys()
        if old[name].get(key) != new[name].get(key)
        and meaning(old[name].get(key)) != meaning(new[name].get(key))
    ]


def meaning(value: object) -> object:
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def has_completed(before: Stored, after: Stored, place: str) -> bool:
    """Whether a turn of this place was completed meanwhile, and needs no note any more."""
    return any(
        speaking.place_of(turn) == place and turn["state"] in ("completed", "yielded")
        for key, turn in after.turns.items()
        if before.turns.get(key) != turn
    )


STEPS = {"cut": 24, "arrive": 4}
ACTS: "dict[str, Callable[[Walk], None]]" = {"cut": cut, "arrive": arrive}
