"""Carries runs of replays on, a step a tick: sees what has ended, then begins what there is room
for. Any number of workers may do so at once, or die at any line: a run is compared and set, and
each replay has its id before it is made."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from app.core import dead_letters, events, replay_runs, turns
from app.core.errors import NotFound, QueueFull, TurnkeeperError, TurnNotFound
from app.core.platform import Platform
from app.core.records import Turn
from app.core.replay_runs import BAD, End, Flight, Run, filled, settled
from app.core.states import TERMINAL

log = structlog.get_logger(__name__)


def step_all(platform: Platform) -> None:
    """One step of each run that goes on; one that cannot be read does not stop the others."""
    for run_id in replay_runs.open_ids(platform):
        try:
            step(platform, run_id)
        except NotFound:
            log.warning("replay run is gone", run_id=run_id)


def step(platform: Platform, run_id: str) -> Run:
    """See what has ended, take up what there is room for, write that down, begin it.

    Raises:
        NotFound.
    """
    run = replay_runs.get(platform, run_id)
    if run.state != "running":
        return run
    looks = [(flight, look(platform, run, flight)) for flight in run.under_way]
    ends = [end for _, end in looks if end is not None]
    now_ms = platform.now_ms()
    after = settled(run, ends, now_ms)
    if after.state == "running":
        # More than there is room for: some may be under way, and not replayed yet, or refused.
        limit = after.at_once + len(after.under_way) + len(after.refused)
        after = filled(after, dead_letters.first(platform, after.wanted, limit), now_ms)
    if after == run:
        return run
    after = replace(after, version=run.version + 1)
    if not replay_runs.write(platform, after, run.version):
        return run  # another worker has done this step, or an operator has canceled the run
    for flight in after.under_way if after.state == "running" else ():
        if flight not in run.under_way:
            look(platform, after, flight)
    if after.state != "running":
        _tell(platform, after, ends)
    return after


def look(platform: Platform, run: Run, flight: Flight) -> End | None:
    """How a replay ended; None while it has not. One that was not made yet is made."""
    found = _turn(platform, flight)
    if found is None:
        wish = turns.Replay(flight.letter_id, run_id=run.id, new_id=flight.turn_id)
        try:
            answer = turns.replay(platform, flight.workspace_id, wish)
        except QueueFull:
            return None  # it waits for room, as any sender would
        except TurnNotFound:
            return End(flight, "passed")
        except TurnkeeperError as refusal:
            return End(flight, "refused", platform.now_ms(), refusal.code)
        if answer.turn_id != flight.turn_id:
            return End(flight, "passed")  # somebody replayed it by hand, or discarded it
        if answer.outcome == "accepted":
            return None
        found = _turn(platform, flight)
        if found is None:  # it ended so long ago that it is not kept any more
            return End(flight, "passed")
    if found.state in TERMINAL or found.state == "input_required":
        return End(flight, found.state, found.ended_at or found.state_at)
    return None


def _turn(platform: Platform, flight: Flight) -> Turn | None:
    try:
        return turns.get(platform, flight.workspace_id, flight.turn_id)
    except TurnNotFound:
        return None


def _tell(platform: Platform, run: Run, ends: Sequence[End]) -> None:
    """Where a limit stopped it, the workspace of the last bad end is told."""
    log.info("replay run ended", run_id=run.id, state=run.state, reason=run.reason)
    bad = [end for end in ends if end.state in BAD or end.state == "refused"]
    if run.limit and bad:
        last = max(bad, key=lambda end: end.at_ms).flight
        payload = {name: value for name, value in run.limit.items() if name != "mechanism"}
        payload |= {"run_id": run.id, "reason": run.reason}
        events.append(
            platform, last.workspace_id, "LIMIT_HIT", payload, str(run.limit["mechanism"])
        )
