"""Overlap policies, decided at the claim: what becomes of twelve waiting fires of one schedule."""

import threading

import pytest
import redis

from app.core import schedules, workspaces
from app.core.records import Session
from app.core.schedules import Schedule
from app.core.sessions import Claim
from tests.contract.conftest import PAUSE_MS, Pass
from tests.support import invariants
from tests.support.kernel import Kernel

POLICIES = ["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]
NEWEST_ONLY = ["buffer_one", "cancel_other", "terminate_other"]
STEP_MS = 60_000


def fired(kernel: Kernel, schedule: Schedule, count: int, ago: int | None = None) -> list[str]:
    """So many fires, each a minute after the last; the newest nominal ``ago`` minutes ago."""
    known = schedules.get(kernel.platform, kernel.id, schedule.id)
    last = kernel.now_ms() - STEP_MS * (0 if ago is None else ago)
    times = [last - STEP_MS * back for back in reversed(range(count))]
    for nominal in times:
        kernel.make_due(known, nominal)
        assert kernel.fire(known, nominal, cadence_ms=STEP_MS)[0] == "made"
    rows = {fire.nominal_at: fire.turn_id for fire in ledger(kernel, schedule)}
    return [str(rows[nominal]) for nominal in times]


def ledger(kernel: Kernel, schedule: Schedule) -> list[schedules.Fire]:
    return schedules.fires(kernel.platform, kernel.id, schedule.id, 20_000)


def states(kernel: Kernel, turn_ids: list[str]) -> list[str]:
    return [kernel.turn(turn_id).state for turn_id in turn_ids]


def running(kernel: Kernel) -> Session:
    session = kernel.claimed().session
    kernel.start(session)
    return session


def slots(kernel: Kernel, count: int) -> None:
    workspaces.change(kernel.platform, kernel.id, {"max_concurrent": count})


def served(kernel: Kernel) -> list[str]:
    """Claim and finish until nothing is given; the turns in order."""
    found = []
    while isinstance(claim := kernel.claim(), Claim):
        kernel.start(claim.session)
        invariants.check(kernel)
        kernel.finish(claim.session)
        invariants.check(kernel)
        found.append(claim.turn.id)
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_twelve_fires_behind_a_run_of_their_own_schedule(
    policy: str, kernel: Kernel, pass_ms: Pass
) -> None:
    schedule = kernel.scheduled(overlap_policy=policy)
    (first,) = fired(kernel, schedule, 1, 13)
    session = running(kernel)
    twelve = fired(kernel, schedule, 12, 0)
    pass_ms(2)
    kernel.finish(session)
    wanted = {"skip": [], "buffer_all": twelve, "allow_all": twelve}.get(policy, twelve[-1:])
    assert served(kernel) == wanted
    rest = {"skip": "skipped"}.get(policy, "coalesced")
    assert states(kernel, twelve) == [
        "completed" if turn_id in wanted else rest for turn_id in twelve
    ]
    if policy == "skip":
        assert {kernel.turn(one).behind["turn_id"] for one in twelve} == {first}  # type: ignore[index]
        told = kernel.events("CRON_SKIPPED")
        assert [row["mechanism"] for row in told] == ["overlap"] * 12
        assert all(first in row["payload"]["reason"] for row in told)
    invariants.check_empty(kernel)


@pytest.mark.parametrize("policy", POLICIES)
def test_twelve_fires_behind_a_chat_session(policy: str, kernel: Kernel, pass_ms: Pass) -> None:
    kernel.submit()
    chat = running(kernel)
    schedule = kernel.scheduled(overlap_policy=policy)
    twelve = fired(kernel, schedule, 12, 1)
    kernel.finish(chat)
    pass_ms(2)
    wanted = {"skip": twelve[:1], "buffer_all": twelve, "allow_all": twelve}
    assert served(kernel) == wanted.get(policy, twelve[-1:])
    assert states(kernel, twelve)[:2] == {
        "skip": ["completed", "skipped"],
        "buffer_all": ["completed"] * 2,
        "allow_all": ["completed"] * 2,
    }.get(policy, ["coalesced"] * 2)
    invariants.check_empty(kernel)


@pytest.mark.parametrize("policy", POLICIES)
def test_with_two_slots_a_turn_behind_the_twelve_does_not_wait_for_them(
    policy: str, kernel: Kernel
) -> None:
    slots(kernel, 2)
    schedule, other = kernel.scheduled(overlap_policy=policy), kernel.scheduled(name="other")
    fired(kernel, schedule, 1, 13)
    session = running(kernel)
    twelve = fired(kernel, schedule, 12, 0)
    (behind,) = fired(kernel, other, 1, 0)
    if policy == "allow_all":
        assert kernel.claimed().turn.id == twelve[0]
        return
    assert kernel.claimed().turn.id == behind
    set_aside = 0 if policy == "skip" else 12
    assert kernel.data.zcard(kernel.keys["parked"]) == set_aside
    assert kernel.beat(seq=2, instance="i", max_concurrent=3).accepted
    slots(kernel, 3)
    assert kernel.refused() == ("overlap" if set_aside else "empty")
    found = workspaces.get(kernel.platform, kernel.id)
    assert (found.depth, found.parked_count) == (set_aside, set_aside)
    kernel.finish(session)
    expected = {"skip": [], "buffer_all": twelve}.get(policy, twelve[-1:])
    assert served(kernel) == expected


@pytest.mark.parametrize("policy", NEWEST_ONLY)
def test_the_run_names_what_it_took_and_each_row_names_the_run(policy: str, kernel: Kernel) -> None:
    schedule = kernel.scheduled(overlap_policy=policy)
    twelve = fired(kernel, schedule, 12, 0)
    claim = kernel.claimed()
    nominal = [kernel.turn(turn_id).nominal_at for turn_id in twelve]
    assert claim.turn.id == twelve[-1]
    assert claim.session.coalesced == nominal[:-1]
    assert claim.session.coalesced_count == 11
    (told,) = kernel.events("TURN_CLAIMED")
    assert told["payload"]["coalesced"] == nominal[:-1]
    assert told["payload"]["coalesced_count"] == 11
    into = {"turn_id": twelve[-1], "nominal_at": nominal[-1]}
    rows = {fire.turn_id: fire for fire in ledger(kernel, schedule)}
    assert [(rows[one].state, rows[one].into) for one in twelve[:-1]] == [("coalesced", into)] * 11
    first, *_ = kernel.events("TURN_COALESCED")
    facts = first["payload"]
    assert (first["mechanism"], facts["setting"]) == ("overlap", "schedule.overlap_policy")
    assert (facts["limit_count"], facts["measured_count"], facts["into"]) == (1, 12, twelve[-1])


def test_the_newest_takes_the_place_of_the_oldest_among_other_schedules(kernel: Kernel) -> None:
    """A schedule whose newest had to wait its own turn would never run behind a steady crowd."""
    one, two = kernel.scheduled(overlap_policy="buffer_one"), kernel.scheduled(name="two")
    fired(kernel, one, 2, 3)
    (between,) = fired(kernel, two, 1, 2)
    (newest,) = fired(kernel, one, 1, 0)
    session = kernel.claimed().session
    assert session.turn_id == newest
    invariants.check(kernel)
    assert kernel.release(session) == "queued"
    invariants.check(kernel)
    assert served(kernel) == [newest, between], "and keeps that place when it comes back"


def test_a_run_that_took_others_names_them_at_each_attempt(kernel: Kernel) -> None:
    schedule = kernel.scheduled(overlap_policy="buffer_one")
    fired(kernel, schedule, 3, 0)
    first = kernel.claimed().session
    kernel.release(first)
    again = kernel.claimed().session
    assert again.attempt == 2
    assert (again.coalesced, again.coalesced_count) == (first.coalesced, 2)


def test_ten_thousand_fires_are_coalesced_a_hundred_a_call_and_none_is_lost(
    kernel: Kernel,
) -> None:
    count = 450
    kernel = kernel.tuned(turns_kept=1000, fires_kept=1000)
    schedule = kernel.scheduled(overlap_policy="buffer_one", catchup_window_s=10**7)
    every = fired(kernel, schedule, count, 0)
    calls = 0
    while not isinstance(claim := kernel.claim(), Claim):
        calls += 1
        assert (claim.reason, claim.wake_at_ms > 0) == ("empty", True), "look again at once"
        invariants.check(kernel)
    assert 4 <= calls <= 5
    assert claim.turn.id == every[-1]
    assert claim.session.coalesced_count == count - 1
    nominal = [kernel.turn(turn_id).nominal_at for turn_id in every[-101:-1]]
    assert list(claim.session.coalesced) == nominal, "the newest hundred"
    assert states(kernel, every[:-1]) == ["coalesced"] * (count - 1)


def test_a_newer_fire_between_two_calls_runs_and_names_all(kernel: Kernel) -> None:
    schedule = kernel.scheduled(overlap_policy="buffer_one", catchup_window_s=10**7)
    kernel = kernel.tuned(turns_kept=1000, fires_kept=1000)
    fired(kernel, schedule, 150, 1)
    assert kernel.refused() == "empty"
    (newest,) = fired(kernel, schedule, 1, 0)
    claim = kernel.claimed()
    assert claim.turn.id == newest
    assert claim.session.coalesced_count == 150


@pytest.mark.parametrize("policy", NEWEST_ONLY)
def test_an_expired_fire_is_neither_run_nor_coalesced(
    policy: str, kernel: Kernel, pass_ms: Pass
) -> None:
    schedule = kernel.scheduled(overlap_policy=policy)
    stays = fired(kernel, schedule, 2, 1)
    schedules.change(kernel.platform, kernel.id, schedule.id, {"ttl_s": 0.01})
    (gone,) = fired(kernel, schedule, 1, 0)
    pass_ms(15)
    assert kernel.claimed().turn.id == stays[1]
    assert states(kernel, [*stays, gone]) == ["coalesced", "claimed", "expired"]
    invariants.check(kernel)


@pytest.mark.parametrize("policy", ["skip", "allow_all", "buffer_one", "buffer_all"])
def test_a_policy_changed_while_fires_are_parked_counts_at_once(
    policy: str, kernel: Kernel
) -> None:
    slots(kernel, 3)
    kernel.beat(seq=2, instance="i", max_concurrent=3)
    schedule = kernel.scheduled()
    fired(kernel, schedule, 1, 9)
    session = running(kernel)
    four = fired(kernel, schedule, 4, 0)
    assert kernel.refused() == "overlap"
    schedules.change(kernel.platform, kernel.id, schedule.id, {"overlap_policy": policy})
    invariants.check(kernel)
    if policy == "allow_all":
        assert [kernel.claimed().turn.id for _ in range(2)] == four[:2]
        assert kernel.refused() == "capacity_full"
        return
    assert kernel.refused() == ("empty" if policy == "skip" else "overlap")
    assert states(kernel, four) == ["skipped" if policy == "skip" else "queued"] * 4
    kernel.finish(session)
    wanted = {"skip": [], "buffer_one": four[-1:], "buffer_all": four}[policy]
    assert served(kernel) == wanted


@pytest.mark.parametrize("end", ["cancel", "expire", "remove"])
def test_a_parked_fire_can_end_and_the_next_is_woken(
    end: str, kernel: Kernel, pass_ms: Pass
) -> None:
    slots(kernel, 2)
    schedule = kernel.scheduled(ttl_s=0.2 if end == "expire" else None)
    fired(kernel, schedule, 1, 9)
    session = running(kernel)
    two = fired(kernel, schedule, 2, 0)
    assert kernel.refused() == "overlap"
    if end == "cancel":
        assert kernel.cancel(two[0]) == "canceled"
        invariants.check(kernel)
    if end == "remove":
        schedules.remove(kernel.platform, kernel.id, schedule.id)
    if end == "expire":
        pass_ms(210)
    kernel.finish(session)
    assert served(kernel) == (two[1:] if end == "cancel" else [])
    wanted = {"cancel": "completed", "expire": "expired", "remove": "canceled"}[end]
    assert states(kernel, two)[1] == wanted
    invariants.check_empty(kernel)


def test_a_lost_fire_goes_on_before_the_newer_ones(kernel: Kernel, pass_ms: Pass) -> None:
    schedule = kernel.scheduled()
    (lost,) = fired(kernel, schedule, 1, 9)
    session = kernel.claimed().session
    (newer,) = fired(kernel, schedule, 1, 0)
    kernel.release(session, counts=True)
    assert kernel.refused() == "backing_off", "in order: the newer one waits for it"
    assert kernel.submit().outcome == "accepted"
    assert kernel.claimed().turn.origin == "chat", "and holds nobody else up"
    pass_ms(PAUSE_MS + 1)
    slots(kernel, 2)
    assert kernel.claimed().turn.id == lost
    assert kernel.turn(newer).state == "queued"


@pytest.mark.parametrize("policy", ["cancel_other", "terminate_other"])
@pytest.mark.parametrize("counts", [True, False], ids=["in its pause", "at once"])
def test_a_lost_fire_gives_way_where_the_policy_ends_others(
    policy: str, counts: bool, kernel: Kernel
) -> None:
    schedule = kernel.scheduled(overlap_policy=policy)
    (lost,) = fired(kernel, schedule, 1, 9)
    session = kernel.claimed().session
    newer = fired(kernel, schedule, 2, 0)
    kernel.release(session, counts=counts)
    assert served(kernel) == newer[1:]
    assert states(kernel, [lost, *newer]) == ["canceled", "coalesced", "completed"]
    (told,) = kernel.events("TASK_UPDATED")
    assert (told["turn_id"], told["mechanism"]) == (lost, "overlap")
    invariants.check_empty(kernel)


def test_a_fires_own_policy_wins_over_its_schedules(kernel: Kernel) -> None:
    schedule = kernel.scheduled(overlap_policy="skip")
    one = kernel.platform
    now = kernel.now_ms()
    for back in (3, 2):
        args = schedules.fire_args(one, schedule, [now - back, now - back], "manual", now)
        args |= {"record": '{"overlap_policy": "buffer_all"}', "lane": "info"}
        assert kernel.run("fire", **args)[4] == "made"
    (first,) = fired(kernel, schedule, 1, 0)
    session = running(kernel)
    assert session.turn_id == first
    kernel.finish(session)
    assert len(served(kernel)) == 2
    assert not kernel.events("CRON_SKIPPED")


def test_skip_runs_a_fire_that_came_due_after_the_last_run_had_ended(
    kernel: Kernel, pass_ms: Pass
) -> None:
    schedule = kernel.scheduled(overlap_policy="skip")
    fired(kernel, schedule, 1, 9)
    kernel.finish(running(kernel))
    pass_ms(2)
    (due_after,) = fired(kernel, schedule, 1, 0)
    assert served(kernel) == [due_after]


def test_a_fire_that_was_never_begun_is_no_run_that_skips_others(
    kernel: Kernel, pass_ms: Pass
) -> None:
    schedule = kernel.scheduled(overlap_policy="skip")
    fired(kernel, schedule, 1, 9)
    kernel.tuned(max_attempts=1).release(kernel.claimed().session, counts=True)
    (next_one,) = fired(kernel, schedule, 1, 1)
    assert served(kernel) == [next_one]


def test_a_session_is_ended_only_while_a_fire_of_its_schedule_waits(kernel: Kernel) -> None:
    schedule = kernel.scheduled(overlap_policy="terminate_other")
    fired(kernel, schedule, 1, 9)
    session = running(kernel)
    (gone,) = fired(kernel, schedule, 1, 0)
    kernel.cancel(gone)
    assert not kernel.reap(session, "overlap")
    fired(kernel, schedule, 1, 1)
    assert kernel.reap(session, "overlap")
    assert kernel.turn(session.turn_id).state == "force_idled"


def test_control_without_the_look_at_the_waiting_fire_it_is_ended_for_nothing(
    kernel: Kernel,
) -> None:
    fired(kernel, kernel.scheduled(overlap_policy="terminate_other"), 1, 9)
    hasty = kernel.altered("reap", "overlap = rivals > 0 and limit", "overlap = limit")
    assert hasty.reap(running(kernel), "overlap")


def test_two_claims_at_once_run_one_fire_of_a_schedule(kernel: Kernel) -> None:
    slots(kernel, 4)
    kernel.beat(seq=2, instance="i", max_concurrent=4)
    schedule = kernel.scheduled(overlap_policy="buffer_one")
    fired(kernel, schedule, 12, 0)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(kernel.claim())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (claim,) = [item for item in found if isinstance(item, Claim)]
    assert claim.session.coalesced_count == 11
    assert kernel.claimed(claim.session.id) == claim, "a repeat is answered as the first was"


def test_a_fire_left_parked_by_a_script_of_another_version_is_woken_at_the_next_claim(
    bare: Kernel,
) -> None:
    slots(bare, 2)
    schedule = bare.scheduled()
    (gone,) = fired(bare, schedule, 1, 9)
    session = running(bare)
    (left,) = fired(bare, schedule, 1, 0)
    assert bare.refused() == "overlap"
    old = bare.altered("finish", "if turn.schedule_id then follow(turn, was) end", "")
    old.finish(session)
    assert bare.data.hgetall(bare.keys["fires_unfinished"]) == {gone: schedule.id}
    assert bare.claimed().turn.id == left
    assert bare.data.hgetall(bare.keys["fires_unfinished"]) == {left: schedule.id}


def test_a_chat_turn_costs_nothing_for_the_overlap_of_fires(bare: Kernel) -> None:
    """Every key of the fires is made useless: a command on one would fail."""
    schedule = bare.scheduled()
    for name in ("fires_waiting", "fires_unfinished", "parked", "last_runs"):
        bare.data.set(bare.keys[name], "no index")
    bare.submit()
    session = running(bare)
    assert bare.finish(session) == "completed"
    with pytest.raises(redis.ResponseError):
        fired(bare, schedule, 1)
