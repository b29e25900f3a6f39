"""Steps of a walk: what running sessions say, and what becomes of their checkpoint notes."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from app.core.records import Session
from tests.support.invariants import Stored

if TYPE_CHECKING:
    from tests.simulation.walk import Walk


def place_of(turn: Mapping[str, Any]) -> str | None:
    """Where the notes of a turn's kind lie, worked out once more."""
    if "schedule_id" in turn:
        return f"sch:{turn['schedule_id']}"
    return f"ctx:{turn['context_id']}" if "context_id" in turn else None


def note(walk: "Walk") -> None:
    """Some holder notes where it stands."""
    said = {"summary": f"step {walk.count}", "next_step": "on"}

    def act(session: Session) -> None:
        is_kept = walk.kernel.note(session, **said)
        place = place_of(walk.stored.turns[session.turn_id])
        assert is_kept == (place is not None)
        if place:
            walk.notes[place] = said

    walk.write(act)


def say(walk: "Walk") -> None:
    """Some holder has a word for the user."""
    walk.write(walk.kernel.say)


def wrap_up(walk: "Walk") -> None:
    """The session of some fire is asked to save and exit, and does."""
    live = [session for session in walk.held if session.id in walk.stored.sets["live"]]
    places = {one.id: place_of(walk.stored.turns[one.turn_id]) for one in live}
    able = [session for session in live if places[session.id]]
    if able:
        session, said = walk.random.choice(able), {"summary": "saved", "next_step": "on"}
        walk.kernel.ask(session, "checkpoint", "ceiling")
        walk.kernel.note(session, **said)
        assert walk.kernel.finish(session, "completed") == "yielded"
        walk.notes[places[session.id] or ""] = said


def ends_as(stood: Mapping[str, Any], outcome: str) -> str:
    """The state that a finish without a note comes to; the walk's cancels are the ceiling's."""
    has_noted = "noted_at" in stood
    if stood.get("unwanted") and outcome == "input_required":
        return "canceled"
    if outcome == "canceled" and "cancel_asked_at" in stood and not stood.get("unwanted"):
        return "yielded" if has_noted else "force_idled"
    asked_at = stood.get("checkpoint_asked_at")
    if outcome == "completed" and has_noted and asked_at and stood["noted_at"] >= asked_at:
        return "yielded"
    return outcome


def settle(walk: "Walk", stood: Mapping[str, Any], outcome: str) -> None:
    """Done and nothing noted: no note is left to the next."""
    if outcome == "completed" and "ended_at" not in stood:
        walk.notes.pop(place_of(walk.stored.turns[stood["turn_id"]]) or "", None)


def check(walk: "Walk", after: Stored) -> None:
    """Every note is the last one of its kind, and no other is there."""
    kept = {place: json.loads(text) for place, text in after.hashes["notes"].items()}
    assert kept == walk.notes
    assert all("tokens" not in one for one in after.sessions.values() if "ended_at" in one)


STEPS = {"note": 4, "say": 1, "wrap_up": 1}
ACTS: "Mapping[str, Callable[[Walk], None]]" = {
    "note": note,
    "say": say,
    "wrap_up": wrap_up,
}
