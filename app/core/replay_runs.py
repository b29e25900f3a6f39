"""Runs of replays: many dead letters queued again, some at a time, with an eye on how they end.

A run needs no list of its letters: a letter that is replayed is none any more, so those that are
left are found by the filter again. What is under way is written down, with the id each replay will
have, before anything is replayed: whoever carries the run on, twice or after a death, makes the
same turns. ``workers/replaying.py`` carries it on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from app.core import dead_letters, ids, keys
from app.core.dead_letters import Filter, Letter
from app.core.errors import NotFound, ReplayRunChanged
from app.core.platform import Platform

KEPT = 100  # runs
REFUSALS_MOST = 100  # letters that cannot be replayed, of one run
TRIES = 5
BAD = frozenset({"failed", "force_idled", "dead", "expired"})
GOOD = frozenset({"completed", "yielded", "input_required"})


@dataclass(frozen=True)
class Flight:
    """One replay under way: of which letter, as which turn."""

    workspace_id: str
    letter_id: str
    turn_id: str


@dataclass(frozen=True)
class End:
    """How a replay ended: the state of its turn, ``refused``, or ``passed`` where nothing is known
    of it, or somebody else was quicker."""

    flight: Flight
    state: str
    at_ms: int = 0
    code: str = ""


@dataclass(frozen=True)
class Run:
    """One run. ``state``: running | done | stopped | canceled; ``reason`` says why it does not go
    on, and ``limit`` which limit acted. ``total_count``: letters when it began."""

    id: str
    created_at: int
    wanted: Filter
    at_once: int
    stop_after: int
    total_count: int
    version: int = 1
    state: str = "running"
    reason: str = ""
    limit: Mapping[str, Any] | None = None
    ended_at: int | None = None
    good_count: int = 0
    bad_count: int = 0
    other_count: int = 0
    bad_in_a_row: int = 0
    under_way: tuple[Flight, ...] = ()
    refused: tuple[Mapping[str, str], ...] = ()

    @property
    def settled_count(self) -> int:
        """How many replays have ended, however they did."""
        return self.good_count + self.bad_count + self.other_count


@dataclass(frozen=True)
class Wish:
    """What an operator asks for."""

    wanted: Filter = field(default_factory=Filter)
    at_once: int = 1
    stop_after: int = 3


def settled(run: Run, ends: Sequence[End], now_ms: int) -> Run:
    """The run after these ends, the earliest first; stopped where too many went badly. Pure."""
    done = {end.flight for end in ends}
    run = replace(run, under_way=tuple(one for one in run.under_way if one not in done))
    for end in sorted(ends, key=lambda end: (end.at_ms, end.flight.letter_id)):
        if end.state in GOOD:
            run = replace(run, good_count=run.good_count + 1, bad_in_a_row=0)
        elif end.state in BAD or end.state == "refused":
            run = _gone_badly(run, end)
        else:
            run = replace(run, other_count=run.other_count + 1)
        if run.state == "running" and run.bad_in_a_row >= run.stop_after:
            run = _stopped(run, end, now_ms)
    if run.state == "running" and len(run.refused) >= REFUSALS_MOST:
        limit = {"limit_count": REFUSALS_MOST, "measured_count": len(run.refused)}
        reason = f"{len(run.refused)} dead letters cannot be replayed"
        named = {**limit, "setting": "replay.refusals_max", "mechanism": "replay_refusals"}
        run = replace(run, state="stopped", reason=reason, limit=named, ended_at=now_ms)
    return run


def _gone_badly(run: Run, end: End) -> Run:
    run = replace(run, bad_count=run.bad_count + 1, bad_in_a_row=run.bad_in_a_row + 1)
    if end.state != "refused":
        return run
    row = {"workspace_id": end.flight.workspace_id, "turn_id": end.flight.letter_id}
    return replace(run, refused=(*run.refused, {**row, "code": end.code}))


def _stopped(run: Run, end: End, now_ms: int) -> Run:
    how = f"refused ({end.code})" if end.state == "refused" else end.state
    reason = (
        f"{run.bad_in_a_row} replays in a row ended badly, the last {how} "
        f"({end.flight.turn_id} in {end.flight.workspace_id}); stop_after is {run.stop_after}"
    )
    limit = {
        "mechanism": "replay_failures",
        "limit_count": run.stop_after,
        "measured_count": run.bad_in_a_row,
        "setting": "replay.stop_after",
    }
    return replace(run, state="stopped", reason=reason, limit=limit, ended_at=now_ms)


def filled(run: Run, letters: Sequence[Letter], now_ms: int) -> Run:
    """The run with its free places taken by these letters; done where nothing is left. Pure but for
    the ids that it gives."""
    known = {one.letter_id for one in run.under_way} | {row["turn_id"] for row in run.refused}
    fresh = [letter for letter in letters if letter.turn.id not in known]
    room = max(0, run.at_once - len(run.under_way))
    taken = tuple(
        Flight(letter.workspace_id, letter.turn.id, ids.new("trn")) for letter in fresh[:room]
    )
    if taken or run.under_way:
        return replace(run, under_way=(*run.under_way, *taken))
    left = f", {len(run.refused)} of them refused" if run.refused else ""
    reason = f"every dead letter it was asked for has been seen to{left}"
    return replace(run, state="done", reason=reason, ended_at=now_ms)


def begin(platform: Platform, wish: Wish) -> Run:
    """Begin a run over the dead letters that are there now; later ones are not meant."""
    now_ms = platform.now_ms()
    before_ms = now_ms - 1  # what its own replays come to is later, also in this millisecond
    until_ms = min(before_ms, before_ms if wish.wanted.until_ms is None else wish.wanted.until_ms)
    wanted = replace(wish.wanted, until_ms=until_ms)
    total = dead_letters.count(platform, wanted)
    run = Run(ids.new("rpl"), now_ms, wanted, wish.at_once, wish.stop_after, total)
    write(platform, run, version=0)
    _forget_oldest(platform)
    return run


def write(platform: Platform, run: Run, version: int) -> bool:
    """Compare and set; whether it was still the one that was read."""
    return _put(platform, run.id, version, json.dumps(asdict(run)), run.state == "running")


def _put(platform: Platform, run_id: str, version: int, record: str, is_open: bool) -> bool:
    named = {"run_id": run_id, "version": version, "record": record, "is_open": is_open}
    return bool(platform.run_control("replay_run_put", **named)[0] == "ok")


def _forget_oldest(platform: Platform) -> None:
    ended = [run for run in listing(platform) if run.state != "running"]
    for run in ended[KEPT:]:
        _put(platform, run.id, run.version, "", is_open=False)


def _parse(text: str) -> Run:
    known = Run.__dataclass_fields__
    stored = {name: value for name, value in json.loads(text).items() if name in known}
    stored["wanted"] = Filter(**stored["wanted"])
    stored["under_way"] = tuple(Flight(**one) for one in stored["under_way"])
    stored["refused"] = tuple(stored["refused"])
    return Run(**stored)


def listing(platform: Platform) -> list[Run]:
    """Every run that is kept, newest first."""
    found = [_parse(text) for text in platform.clients.control.hvals(keys.REPLAY_RUNS)]
    return sorted(found, key=lambda run: (run.created_at, run.id), reverse=True)


def open_ids(platform: Platform) -> list[str]:
    """The runs that go on, the oldest first."""
    return list(platform.clients.control.zrange(keys.REPLAY_RUNS_OPEN, 0, -1))


def get(platform: Platform, run_id: str) -> Run:
    """One run.

    Raises:
        NotFound.
    """
    text = platform.clients.control.hget(keys.REPLAY_RUNS, run_id)
    if text is None:
        raise NotFound(f"no run of replays {run_id}")
    return _parse(text)


def cancel(platform: Platform, run_id: str, reason: str) -> Run:
    """Let a run begin no further replay; those under way go on. One that has ended stays as it is.

    Raises:
        NotFound, ReplayRunChanged.
    """
    now_ms = platform.now_ms()

    def canceled(run: Run) -> Run:
        told = f"canceled by an operator: {reason}" if reason else "canceled by an operator"
        return replace(run, state="canceled", reason=told, ended_at=now_ms)

    return change(platform, run_id, canceled)


def change(platform: Platform, run_id: str, changed: Callable[[Run], Run]) -> Run:
    """Change a run that goes on; raises NotFound, ReplayRunChanged."""
    for _ in range(TRIES):
        run = get(platform, run_id)
        if run.state != "running":
            return run
        wanted = replace(changed(run), version=run.version + 1)
        if write(platform, wanted, run.version):
            return wanted
    raise ReplayRunChanged
