"""What clients were told, against what the store and its events say; pure.

A history is written by clients while faults happen. ``check`` compares it with the end, when all
is at rest, and names every disagreement. It knows nothing of the scripts: turns, fires and sessions
are read from the events alone, and then compared with what is stored.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ENDED = frozenset({"completed", "failed", "yielded", "force_idled", "canceled"})
ENDED |= {"expired", "coalesced", "skipped", "dead"}
FIRE_ENDED = ENDED | {"missed"}


@dataclass(frozen=True)
class Happened:
    """One event as the stream holds it, oldest first."""

    event: str
    turn_id: str | None = None
    session_id: str | None = None
    fence: int | None = None
    state: str | None = None


@dataclass
class History:
    """What a workspace's clients know. ``accepted``: name -> turn id, each acknowledged with 2xx,
    by a client that sends one name until it is; ``planned``: ledger keys of the fires that must be
    accounted for; ``told``: turn ids whose answer a client has read."""

    accepted: dict[str, str] = field(default_factory=dict)
    planned: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Ended:
    """How a workspace stands at the end: turn id -> state, ledger key -> state, live sessions,
    and its events."""

    turns: Mapping[str, str]
    fires: Mapping[str, str]
    live: Sequence[str]
    events: Sequence[Happened]
    slots: int = 1


def check(history: History, ended: Ended, lost_count: int = 0) -> list[str]:
    """Every disagreement, as a sentence; empty: the history holds.

    ``lost_count``: so many acknowledged turns may be gone, where a store that does not write each
    command to disk was killed.
    """
    return [
        *_accepted(history, ended, lost_count),
        *_terminal_once(ended),
        *_fires(history, ended),
        *_fences(ended),
    ]


def _accepted(history: History, ended: Ended, lost_count: int) -> Iterable[str]:
    gone = sorted(set(history.accepted.values()) - set(ended.turns))
    if len(gone) > lost_count:
        yield f"{len(gone)} accepted turns are gone, {lost_count} may be: {gone[:5]}"
    for turn_id in sorted(history.told - set(ended.turns)):
        yield f"turn {turn_id} is gone, and its answer was read"
    for turn_id, count in Counter(history.accepted.values()).items():
        if count > 1:
            yield f"turn {turn_id} was the answer to {count} different messages"


def _terminal_once(ended: Ended) -> Iterable[str]:
    told: Counter[str] = Counter()
    states: dict[str, str] = {}
    for one in ended.events:
        if one.turn_id and one.event in ENDS and (state := _ends(one)):
            told[one.turn_id] += 1
            states[one.turn_id] = state
    for turn_id, state in sorted(ended.turns.items()):
        if state not in ENDED:
            yield f"turn {turn_id} has not ended: it is {state}"
        elif told[turn_id] != 1:
            yield f"turn {turn_id} is {state}; its end was told {told[turn_id]} times"
        elif states[turn_id] != state:
            yield f"turn {turn_id} is {state}; told was {states[turn_id]}"
    for turn_id in sorted(set(told) - set(ended.turns)):
        yield f"the end of turn {turn_id} was told, and there is no such turn"


ENDS = {
    "SESSION_ENDED": None,
    "TASK_UPDATED": None,
    "TURN_EXPIRED": "expired",
    "TURN_COALESCED": "coalesced",
    "TURN_DEAD": "dead",
    "CRON_SKIPPED": "skipped",
}


def _ends(one: Happened) -> str | None:
    """The terminal state that an event tells of; a session's end tells that of its turn, but a
    death and a cancel have events of their own."""
    if one.event == "SESSION_ENDED":
        return one.state if one.state in ENDED - {"dead", "canceled"} else None
    if one.event == "TASK_UPDATED":
        return "canceled" if one.state == "canceled" else None
    return ENDS[one.event]


def _fires(history: History, ended: Ended) -> Iterable[str]:
    for row in sorted(history.planned - set(ended.fires)):
        yield f"fire {row} is not in the ledger"
    for row in sorted(set(ended.fires) - history.planned):
        yield f"fire {row} was never planned"
    for row, state in sorted(ended.fires.items()):
        if state not in FIRE_ENDED:
            yield f"fire {row} has not ended: it is {state}"


def _fences(ended: Ended) -> Iterable[str]:
    holders: dict[int, str] = {}
    live: set[str] = set()
    of_turn: dict[str, set[str]] = defaultdict(set)
    for one in ended.events:
        session_id, turn_id = one.session_id or "", one.turn_id or ""
        if one.event == "TURN_CLAIMED" and one.fence is not None:
            if holders.setdefault(one.fence, session_id) != session_id:
                yield f"fence {one.fence} is that of {holders[one.fence]} and of {session_id}"
            if one.fence < max(holders):
                yield f"fence {one.fence} came after {max(holders)}"
            live.add(session_id)
            of_turn[turn_id].add(session_id)
            if len(of_turn[turn_id]) > 1:
                yield f"turn {turn_id} is in two live sessions: {sorted(of_turn[turn_id])}"
            if len(live) > ended.slots:
                yield f"{len(live)} live fences, {ended.slots} slots: {sorted(live)}"
        elif one.event in ("SESSION_ENDED", "TURN_RETURNED", "TURN_DEAD"):
            live.discard(session_id)
            of_turn[turn_id].discard(session_id)
    if set(ended.live) != live:
        yield f"live are {sorted(ended.live)}, by the events {sorted(live)}"


def happened(rows: Iterable[Any]) -> list[Happened]:
    """From events as the core reads them."""
    return [
        Happened(row.event, row.turn_id, row.session_id, row.fence, row.payload.get("state"))
        for row in rows
    ]
