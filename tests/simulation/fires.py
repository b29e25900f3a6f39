"""What a walk does with fires that meet others of their schedule."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.core import doorbell, ids, schedules
from app.core.records import Session
from app.core.schedules import Schedule
from app.core.sessions import Claim, NoClaim
from tests.simulation.oracle import Expected, waiting
from tests.support import invariants

if TYPE_CHECKING:
    from tests.simulation.walk import Walk

# Steps of a walk in which mostly fires of two schedules meet.
STEPS = {
    "fire": 10,
    "backfill": 14,
    "policy": 6,
    "overlap": 3,
    "submit": 1,
    "beat": 8,
    "claim": 30,
    "bind": 2,
    "take": 2,
    "start": 14,
    "finish": 14,
    "release": 6,
    "cancel": 2,
    "reap": 4,
    "resume": 1,
    "owner": 3,
    "jump": 12,
}
POLICIES = (
    "skip",
    "buffer_one",
    "buffer_all",
    "cancel_other",
    "terminate_other",
    "allow_all",
)


def check_claim(walk: "Walk", expected: Expected, found: Claim | NoClaim) -> None:
    """Ended for another fire are just those that the oracle says, and each says for which."""
    after = invariants.read(walk.kernel)
    ended = {
        key: turn["state"]
        for key, turn in after.turns.items()
        if turn.get("mechanism") == "overlap" and walk.stored.turns[key]["state"] == "queued"
    }
    forgotten = expected.ended.keys() - after.turns.keys()  # only so many ended turns are kept
    told = {key: state for key, state in expected.ended.items() if key not in forgotten}
    assert ended == {key: state for key, state in told.items() if state != "expired"}
    walk.overlapped.update(ended.values())
    taken = [after.turns[key] for key, state in ended.items() if state == "coalesced"]
    taken = [one for one in taken if one["into"]["turn_id"] == expected.answer]
    if isinstance(found, Claim) and not forgotten:
        fresh = found.session.coalesced_count if found.session.attempt == 1 else 0
        assert fresh == len(taken)
        named = found.session.coalesced if found.session.attempt == 1 else ()
        assert sorted(named) == sorted(one["nominal_at"] for one in taken)
    for key, state in ended.items():
        row = json.loads(after.hashes["fires"][invariants.row_of(after.turns[key])])
        assert ("into" in row) == (state == "coalesced")
        assert ("behind" in row) == (state == "skipped")


def backfill(walk: "Walk") -> None:
    """A fire of long ago, in another lane, often with a policy of its own."""
    schedule = walk.ticks.read(walk.random.choice(walk.ticks.ids))
    nominal = walk.kernel.now_ms() - walk.random.randrange(10**9)
    depth = len(waiting(walk.stored))
    times = [nominal, nominal]
    args = schedules.fire_args(walk.kernel.platform, schedule, times, "manual", 0)
    own = walk.random.choice([{}, {"overlap_policy": walk.random.choice(POLICIES)}])
    lane = walk.random.choice(["cron", "info"])
    outcome = walk.kernel.run("fire", **{**args, "lane": lane, "record": json.dumps(own)})[4]
    assert outcome == ("made" if depth < walk.depth_max else "skipped")
    tell(walk, schedule)


def tell(walk: "Walk", schedule: Schedule) -> None:
    """Who has made a fire rings, and tells the reaper of its end."""
    here = (walk.kernel.platform, walk.kernel.id)
    doorbell.watch(*here, schedules.expires_within_s(here[0], schedule))
    doorbell.ring(*here)


def change_policy(walk: "Walk") -> None:
    changes = {"overlap_policy": walk.random.choice(POLICIES)}
    schedule_id = walk.random.choice(walk.ticks.ids)
    schedules.change(walk.kernel.platform, walk.kernel.id, schedule_id, changes)


def end_others(walk: "Walk") -> None:
    """As the reaper does where a waiting fire ends a running one; some without a reason."""
    for key in walk.stored.sets["live"]:
        session = Session.parse(walk.stored.hashes["sessions"][key])
        if session.schedule_id is None:
            continue
        rivals = [
            one
            for one in waiting(walk.stored)
            if one.get("schedule_id") == session.schedule_id and not one["attempt"]
        ]
        policy = json.loads(walk.stored.hashes["schedules"][session.schedule_id])
        if policy["overlap_policy"] == "cancel_other":
            kind = walk.random.choice(["checkpoint", "cancel"])
            walk.kernel.ask(session, kind, "overlap")
        elif policy["overlap_policy"] == "terminate_other":
            assert walk.kernel.reap(session, "overlap") == bool(rivals)
            return  # the others' waiting may be fewer now


def fire(walk: "Walk") -> None:
    """The next fire of a schedule, also where its time has not come."""
    schedule = walk.ticks.read(walk.random.choice(walk.ticks.ids))
    due = walk.kernel.due(schedule)
    if due is None:
        assert not schedule.enabled
        return
    depth = len(waiting(walk.stored))
    outcome = walk.kernel.fire(schedule, due)[0]
    tell(walk, schedule)
    if due > walk.kernel.now_ms():
        assert outcome == "early"
    elif (schedule.id, due) in walk.made or has_row(walk, schedule.id, due):
        assert outcome == "repeated"
    else:
        assert outcome == ("made" if depth < walk.depth_max else "skipped")
        walk.remember(schedule.id, due)


def has_row(walk: "Walk", schedule_id: str, nominal: int) -> bool:
    """Whether the ledger has it: also a change of the schedule makes what was due before it."""
    return f"{schedule_id}:{nominal}" in walk.stored.hashes["fires"]


def fire_again(walk: "Walk") -> None:
    """A fire of before by another scheduler, or after the due time was put back, or by hand."""
    if not walk.made:
        return
    schedule_id, nominal = walk.random.choice(walk.made)
    schedule = walk.ticks.read(schedule_id)
    way = walk.random.choice(["again", "put back", "by hand"])
    if way == "put back" and schedule.enabled:
        walk.kernel.make_due(schedule, nominal)
    mode = "manual" if way == "by hand" else "make"
    row = walk.stored.hashes["fires"][f"{schedule_id}:{nominal}"]
    outcome = walk.kernel.fire(schedule, nominal, mode)[0]
    if way == "again" and outcome != "repeated":
        assert outcome in ("moved", "early")
    tell(walk, schedule)
    if '"turn_id"' in row:
        assert walk.kernel.turn_count(ids.of_fire(schedule_id, nominal)) <= 1


ACTS: "dict[str, Callable[[Walk], None]]" = {
    "fire": fire,
    "fire_again": fire_again,
    "backfill": backfill,
    "policy": change_policy,
    "overlap": end_others,
}
