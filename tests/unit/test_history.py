"""The history checker finds each fault that is planted, and nothing in a history without one."""

from dataclasses import replace

import pytest

from tests.support.history import Ended, Happened, History, check

HISTORY = History({"m1": "t1", "m2": "t2"}, {"s:1", "s:2"}, {"t1"})
EVENTS = (
    Happened("MESSAGE_QUEUED", "t1"),
    Happened("MESSAGE_QUEUED", "t2"),
    Happened("TURN_CLAIMED", "t1", "a", 1),
    Happened("TURN_RETURNED", "t1", "a", 1),
    Happened("SESSION_ENDED", "t1", "a", 1, "queued"),
    Happened("TURN_CLAIMED", "t1", "b", 2),
    Happened("SESSION_ENDED", "t1", "b", 2, "completed"),
    Happened("TURN_CLAIMED", "t2", "c", 3),
    Happened("TURN_DEAD", "t2", "c", 3),
    Happened("SESSION_ENDED", "t2", "c", 3, "dead"),
)
ENDED = Ended(
    turns={"t1": "completed", "t2": "dead"},
    fires={"s:1": "completed", "s:2": "missed"},
    live=(),
    events=EVENTS,
)


def with_event(*events: Happened, at: int = len(EVENTS)) -> Ended:
    return replace(ENDED, events=(*EVENTS[:at], *events, *EVENTS[at:]))


def over(turn_id: str, session_id: str, fence: int) -> Happened:
    return Happened("SESSION_ENDED", turn_id, session_id, fence, "queued")


def test_a_good_history_is_found_good() -> None:
    assert check(HISTORY, ENDED) == []


PLANTED = {
    "a lost turn": (
        replace(ENDED, turns={"t1": "completed"}, events=EVENTS[:7]),
        "accepted turns are gone",
    ),
    "a lost turn whose answer was read": (
        replace(ENDED, turns={"t2": "dead"}, events=EVENTS[7:]),
        "its answer was read",
    ),
    "a turn that has not ended": (
        replace(ENDED, turns={"t1": "completed", "t2": "running"}),
        "t2 has not ended",
    ),
    "a doubled end": (
        with_event(Happened("SESSION_ENDED", "t1", "b", 2, "completed")),
        "told 2 times",
    ),
    "an end that was not told": (replace(ENDED, events=EVENTS[:6]), "told 0 times"),
    "another end than was told": (
        replace(ENDED, turns={"t1": "failed", "t2": "dead"}),
        "told was completed",
    ),
    "two live fences": (with_event(Happened("TURN_CLAIMED", "t2", "x", 9), at=3), "live fences"),
    "one turn in two sessions": (
        replace(with_event(Happened("TURN_CLAIMED", "t1", "x", 9), at=3), slots=2),
        "t1 is in two live sessions",
    ),
    "a fence given twice": (
        with_event(
            Happened("TURN_CLAIMED", "t2", "d", 3),
            over("t2", "d", 3),
        ),
        "fence 3 is that of c and of d",
    ),
    "a fence that goes back": (
        with_event(
            Happened("TURN_CLAIMED", "t9", "d", 0),
            over("t9", "d", 0),
        ),
        "fence 0 came after 3",
    ),
    "a session that is left": (replace(ENDED, live=("z",)), "live are ['z']"),
    "an unaccounted fire": (replace(ENDED, fires={"s:1": "completed"}), "s:2 is not in the ledger"),
    "a fire that has not ended": (
        replace(ENDED, fires={"s:1": "completed", "s:2": "queued"}),
        "s:2 has not ended",
    ),
    "a fire too many": (
        replace(ENDED, fires={"s:1": "completed", "s:2": "missed", "s:3": "completed"}),
        "s:3 was never planned",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str) -> None:
    ended, sentence = PLANTED[name]
    assert any(sentence in found for found in check(HISTORY, ended)), check(HISTORY, ended)


def test_one_turn_for_two_messages_is_found() -> None:
    twice = History({"m1": "t1", "m2": "t1", "m3": "t2"}, HISTORY.planned)
    assert "2 different messages" in check(twice, ENDED)[0]


def test_what_a_store_may_lose_is_allowed_and_no_more() -> None:
    history = History({"m1": "t1", "m2": "t2", "m3": "t3"}, HISTORY.planned)
    assert check(history, ENDED, lost_count=1) == []
    assert len(check(history, ENDED)) == 1
