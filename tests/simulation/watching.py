"""Steps of a walk: the reaper looks, the sweep repairs; and what the reaper must know meanwhile.

Its looks are planned on the control side, apart from the scripts that start a clock, so a death or
a lost message may fall between the two.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from app.core import claims, doorbell, keys, sessions
from app.core.records import Session
from app.core.sessions import Claim, NoClaim
from tests.simulation.faults import settle
from tests.simulation.oracle import Clock, clocks, predict
from tests.support import invariants
from tests.support.invariants import Stored
from workers import deliver, reaper, sweep

if TYPE_CHECKING:
    from tests.simulation.walk import Walk

HANDOVER_MS, SOON_MS = 10_000, 1_000


def look(walk: "Walk") -> None:
    """The reaper's tick: what has run out by then is ended, whoever was told what before."""
    is_due = next_look(walk) <= walk.kernel.now_ms()
    reaper.reap(walk.kernel.platform)
    after = invariants.read(walk.kernel)
    settle(walk, walk.stored, after)
    now = walk.kernel.now_ms()
    if is_due:
        over = [f"{key}: {clock}" for key, clock in running(after) if clock.ends_at <= now]
        assert not over, f"left by the reaper: {over}"
        late = [key for key, at in after.sets["expiring"].items() if at <= now]
        assert not late, f"outlived, and left by the reaper: {late}"
        walk.excused.clear()


def repair(walk: "Walk") -> None:
    """The sweep: it changes hints, and nothing else."""
    sweep.sweep(walk.kernel.platform)
    after = invariants.read(walk.kernel)
    assert is_rung(walk) or not could_claim(walk, after), "the sweep rings for none"
    first = min(after.sets["expiring"].values(), default=float("inf"))
    assert next_look(walk) <= max(first, walk.kernel.now_ms()), "the sweep has nobody look"
    walk.excused -= {"ring", "expiring"}
    assert after.turns == walk.stored.turns
    assert after.sessions == walk.stored.sessions


def stall(walk: "Walk") -> None:
    """Work that has not advanced for so long is marked, once."""
    now, limit_ms = walk.kernel.now_ms(), walk.random.choice([1_000, 600_000])
    for key in walk.stored.sets["live"]:
        one = walk.stored.sessions[key]
        is_due = "started_at" in one and now - one["progress_at"] >= limit_ms
        session = Session.parse(walk.stored.hashes["sessions"][key])
        marked = sessions.mark_stalled(walk.kernel.platform, walk.kernel.id, session, limit_ms, "x")
        assert marked == (is_due and "stalled_at" not in one), one


def claimed(walk: "Walk") -> Claim | NoClaim:
    """One claim as a visit makes it: the ring is taken, and told is who must know of it."""
    here = (walk.kernel.platform, walk.kernel.id)
    here[0].clients.control.zrem(keys.READY, walk.kernel.id)
    first_s = claims.first_look_s(here[0].settings)
    doorbell.watch(*here, first_s)
    found = walk.kernel.claim(f"ses_{walk.count:06}")
    if isinstance(found, Claim):
        doorbell.watch(*here, min(first_s, deliver.own_look_s(found.session)))
        doorbell.to_the_back(here[0], [walk.kernel.id])
    elif found.wake_at_ms:
        doorbell.watch(*here, (found.wake_at_ms - walk.kernel.now_ms()) / 1000)
    return found


def running(stored: Stored) -> Iterator[tuple[str, Clock]]:
    """Every clock that can end a live session; also that of one which was never laid out."""
    for key in stored.sets["live"]:
        session = stored.sessions[key]
        for clock in clocks(session):
            # What is asked before a ceiling is followed by the ceiling, not by a clock of its own.
            if clock.mechanism != "cancel" or "unwanted" in session:
                yield key, clock
        if session["state"] == "claimed" and "digest" not in session:
            yield key, Clock("handover", HANDOVER_MS, session["claimed_at"])


def next_look(walk: "Walk") -> float:
    """When the reaper looks next, in ms; without end where no look is planned."""
    control = walk.kernel.platform.clients.control
    planned = [
        control.zscore(key, walk.kernel.id) for key in (keys.DEADLINES, keys.DEADLINES_TAKEN)
    ]
    return min((at for at in planned if at is not None), default=float("inf"))


def check(walk: "Walk", after: Stored, was_cut: str) -> None:
    """No clock runs out, and no time to live, before the next planned look; and where a turn could
    be claimed, its workspace is rung for, or looked at soon.

    Excused until the next look is what no caller can tell the reaper in time: what a message does
    that arrives after its caller has given up, and that of a cut heartbeat a session is missing
    (its own next beats say that again). A ring or a fire's time to live, that a death or a lost
    message kept from being told, is made up for by the next look or sweep; a look that was soon is
    late by as much as the clock is set back.
    """
    at, now = next_look(walk), walk.kernel.now_ms()
    unwatched = [(key, clock) for key, clock in running(after) if max(clock.ends_at, now) < at]
    excused = {
        key for key, clock in unwatched if was_cut == "arrive" or (was_cut and clock.limit_ms == 0)
    }
    walk.excused |= excused
    left = [one for one in unwatched if one[0] not in walk.excused]
    assert not left, f"unwatched until {at}: {left}"
    first = min(after.sets["expiring"].values(), default=at)
    if was_cut and max(first, now) < at:
        walk.excused.add("expiring")
    assert at <= max(first, now) or "expiring" in walk.excused, (
        f"a time to live ends unwatched at {first}"
    )
    if was_cut and not is_rung(walk):
        walk.excused.add("ring")
    if at > now + SOON_MS and "ring" not in walk.excused and not is_rung(walk):
        assert not could_claim(walk, after), "it could be claimed, and nobody is rung for"


def is_rung(walk: "Walk") -> bool:
    return walk.kernel.platform.clients.control.zscore(keys.READY, walk.kernel.id) is not None


def could_claim(walk: "Walk", stored: Stored) -> bool:
    """Whether a claim would give a turn now."""
    beat = walk.kernel.data.hgetall(walk.kernel.keys["capacity"])
    found = predict(stored, beat, walk.kernel.now_ms(), walk.last_ends)
    return found.answer in stored.turns


STEPS = {"look": 6, "repair": 1, "stall": 2}
ACTS: "dict[str, Callable[[Walk], None]]" = {"look": look, "repair": repair, "stall": stall}
