"""Each overlap policy at twelve waiting fires, and how a running session is ended for one."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from app.core import keys, schedules, sessions, turns, why, workspaces
from app.core.platform import Platform
from tests.seeds.clocks import EVERY_30_MIN, NOTE, OPENS, WS, Shift, at_ms, beside
from tests.support.world import endings, ledger, virtual_platform
from tests.unit.api.web import ADMIN, Web, web
from workers import reaper

POLICIES = ["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]
EACH_MINUTE = {**EVERY_30_MIN, "cron_expr": "* * * * *", "preempt": "off"}
TWELVE_S = 12 * 60


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(OPENS, admin_token=ADMIN) as here:
        yield here


@pytest.fixture
def site(platform: Platform) -> Iterator[Web]:
    with web(beside(platform).clients, admin_token=ADMIN) as made:
        yield made


def opened(platform: Platform, slots: int = 1, **runtime: Any) -> Shift:
    limits = {"ceiling_s": 0, "stall_after_s": 0, "max_concurrent": slots}
    return Shift.opened(platform, limits, slots=slots, **runtime)


def tick(platform: Platform, policy: str, **fields: Any) -> schedules.Schedule:
    wanted = {**EACH_MINUTE, "overlap_policy": policy, **fields}
    return schedules.create(platform, WS, wanted)


def by_hand(shift: Shift, schedule: schedules.Schedule) -> schedules.Fire:
    """One fire now; a second of the same moment would be the same fire."""
    shift.run(1)
    return schedules.run_now(shift.platform, WS, schedule.id)


def work_off(shift: Shift, until_s: float) -> None:
    """Each session takes a second from now on."""
    while shift.live() and until_s > 0:
        shift.run(1)
        until_s -= 1
        for session_id in list(shift.agent.running):
            shift.agent.finish(session_id)
        shift.serve()


def handed(shift: Shift) -> list[tuple[int | None, int]]:
    """Nominal time and how many it took, of each session handed to the agent, in order."""
    return [
        (handover.turn.nominal_at, handover.bound["coalesced_count"])
        for _, handover in shift.agent.handed
    ]


def states(platform: Platform) -> list[str]:
    return [row["state"] for row in ledger(platform, WS).values()]


@pytest.mark.parametrize("policy", POLICIES)
def test_twelve_fires_behind_a_chat_session(policy: str, platform: Platform, site: Web) -> None:
    shift = opened(platform)
    held = shift.begin("chat")
    schedule = tick(platform, policy)
    shift.run(TWELVE_S)
    assert states(platform) == ["queued"] * 12
    assert shift.live() == [held], "a chat session is never ended for a fire"
    assert not shift.told("SESSION_CHECKPOINT_REQUESTED")
    shift.agent.finish(held)
    shift.serve()
    work_off(shift, 30)
    ran = {"skip": [0], "buffer_all": range(12), "allow_all": range(12)}.get(policy, [11])
    ends = {"skip": "skipped"}.get(policy, "coalesced")
    assert states(platform) == ["completed" if n in ran else ends for n in range(12)]
    took = [count for _, count in handed(shift)[1:]]
    assert took == ([11] if list(ran) == [11] else [0] * len(ran))
    assert set(endings(platform, WS).values()) == {1}

    last = shift.agent.handed[-1][1].session.id
    shown = site.ok("GET", f"/workspaces/{WS}/sessions/{last}")
    assert shown["coalesced_count"] == took[-1]
    assert len(shown["coalesced"]) == took[-1]
    assert shown["bound"]["coalesced"] == shown["coalesced"]
    fires = site.ok("GET", f"/workspaces/{WS}/schedules/{schedule.id}/fires")["fires"]
    by_state = Counter(fire["state"] for fire in fires)
    assert by_state["coalesced"] == took[-1]
    into = {fire["into"]["nominal_at"] for fire in fires if fire["into"]}
    assert into == ({shown["nominal_at"]} if took[-1] else set())
    behind = [fire["behind"] for fire in fires if fire["behind"]]
    assert len(behind) == by_state["skipped"]


@pytest.mark.parametrize("policy", ["skip", "buffer_one", "buffer_all", "allow_all"])
def test_twelve_fires_behind_a_run_of_their_own_schedule(policy: str, platform: Platform) -> None:
    shift = opened(platform)
    tick(platform, policy)
    shift.run(60)
    (held,) = shift.live()
    shift.run(TWELVE_S)
    assert shift.live() == [held]
    assert states(platform)[1:] == ["queued"] * 12
    shift.agent.finish(held)
    shift.serve()
    work_off(shift, 30)
    wanted = {"skip": ["skipped"] * 12, "buffer_one": ["coalesced"] * 11 + ["completed"]}
    assert states(platform)[1:] == wanted.get(policy, ["completed"] * 12)
    assert set(endings(platform, WS).values()) == {1}


@pytest.mark.parametrize("policy", ["cancel_other", "terminate_other"])
def test_a_fire_ends_the_run_before_it_and_twelve_of_them_twelve(
    policy: str, platform: Platform
) -> None:
    shift = opened(platform, obeys=frozenset({"checkpoint"}))
    tick(platform, policy)
    shift.run(60 + TWELVE_S + 5)
    ended = {"cancel_other": "yielded", "terminate_other": "force_idled"}[policy]
    assert states(platform) == [ended] * 12 + ["running"]
    kind = "SESSION_CHECKPOINT_REQUESTED" if policy == "cancel_other" else "SESSION_ENDED"
    told = shift.told(kind)
    assert {event.mechanism for event in told} == {"overlap"}
    facts = {(e.payload["limit_count"], e.payload["measured_count"]) for e in told}
    assert facts == {(1, 2)}
    started = [at for at, _ in shift.agent.handed]
    fired = [at_ms(event) for event in shift.told("CRON_QUEUED")]
    assert all(0 <= ran - due <= 1000 for ran, due in zip(started, fired, strict=True)), "at once"


def test_a_deaf_session_is_asked_canceled_and_ended_and_the_newest_runs(
    platform: Platform,
) -> None:
    shift = opened(platform)
    tick(platform, "cancel_other")
    shift.run(60)
    (deaf,) = shift.live()
    shift.run(60 + 75)
    asked = shift.one("SESSION_CHECKPOINT_REQUESTED", deaf)
    assert asked.payload["deadline_at"] == at_ms(asked) + 60_000
    cancel = shift.one("SESSION_CANCEL_REQUESTED", deaf)
    assert (cancel.mechanism, cancel.payload["setting"]) == (
        "overlap",
        "TURNKEEPER_CHECKPOINT_GRACE_S",
    )
    assert 0 <= at_ms(cancel) - asked.payload["deadline_at"] <= 1000, "the deadline holds"
    ended = shift.one("SESSION_ENDED", deaf)
    assert (ended.mechanism, ended.payload["setting"]) == ("cancel", "TURNKEEPER_CANCEL_GRACE_S")
    assert 0 <= at_ms(ended) - cancel.payload["deadline_at"] <= 1000
    assert states(platform)[:3] == ["canceled", "coalesced", "running"]


def test_a_checkpoint_that_somebody_else_asked_for_is_not_extended(platform: Platform) -> None:
    shift = opened(platform)
    schedule = tick(platform, "cancel_other", cron_expr="0 0 1 1 *")
    by_hand(shift, schedule)
    shift.serve()
    (deaf,) = shift.live()
    session = shift.session(deaf)
    sessions.ask(platform, WS, session, sessions.Ask("checkpoint", "operator", "by hand", 20))
    shift.run(5)
    by_hand(shift, schedule)
    shift.run(27)
    (ended,) = shift.told("SESSION_ENDED", deaf)
    assert 30_000 <= at_ms(ended) - session.claimed_at <= 32_000


def test_a_session_that_obeys_leaves_its_note_to_the_fire_that_ended_it(
    platform: Platform,
) -> None:
    shift = opened(platform, obeys=frozenset({"checkpoint"}))
    schedule = tick(platform, "cancel_other", cron_expr="0 0 1 1 *")
    for _ in range(2):
        by_hand(shift, schedule)
        shift.run(1)
    assert shift.agent.handed[-1][1].bound["checkpoint"] == NOTE


@pytest.mark.parametrize("policy", ["cancel_other", "terminate_other"])
def test_a_policy_changed_while_a_fire_waits_acts_at_once(policy: str, platform: Platform) -> None:
    shift = opened(platform)
    schedule = tick(platform, "buffer_all")
    shift.run(60)
    (held,) = shift.live()
    shift.run(60 + 20)
    assert shift.live() == [held]
    before = platform.now_ms()
    schedules.change(platform, WS, schedule.id, {"overlap_policy": policy})
    shift.run(2)
    name = "SESSION_ENDED" if policy == "terminate_other" else "SESSION_CHECKPOINT_REQUESTED"
    assert at_ms(shift.one(name, held)) - before <= 1000


@pytest.mark.parametrize("why_not", ["paused", "offline"])
def test_nothing_is_ended_for_a_fire_that_could_not_be_claimed_anyway(
    why_not: str, platform: Platform
) -> None:
    shift = opened(platform)
    schedule = tick(platform, "terminate_other", cron_expr="0 0 1 1 *")
    by_hand(shift, schedule)
    shift.serve()
    (held,) = shift.live()
    if why_not == "paused":
        workspaces.pause(platform, WS, "maintenance")
    else:
        platform.clients.data.delete(keys.of(WS)["capacity"])
        shift.agent.beats = False
    by_hand(shift, schedule)
    shift.run(60)
    assert shift.live() == [held]
    if why_not == "paused":
        workspaces.resume(platform, WS)
    else:
        shift.agent.beats = True
        shift.agent.beat()
    shift.run(31)
    assert held not in shift.live()


def test_two_reapers_end_a_session_once(platform: Platform) -> None:
    shift = opened(platform)
    schedule = tick(platform, "terminate_other", cron_expr="0 0 1 1 *")
    by_hand(shift, schedule)
    shift.serve()
    (held,) = shift.live()
    by_hand(shift, schedule)
    for here in (platform, beside(platform)):
        reaper.look(here, WS)
    assert len(shift.told("SESSION_ENDED", held)) == 1
    reaper.look(platform, WS)
    assert sessions.reap(platform, WS, shift.session(held), "overlap", 0, "s") is False


def test_a_session_is_not_ended_where_the_fire_that_waited_is_gone(platform: Platform) -> None:
    """The reaper read the fire; it was canceled before the reaper's step."""
    shift = opened(platform)
    schedule = tick(platform, "terminate_other", cron_expr="0 0 1 1 *")
    by_hand(shift, schedule)
    shift.serve()
    (held,) = shift.live()
    fire = by_hand(shift, schedule)
    turns.cancel(platform, WS, str(fire.turn_id), "not this one")
    assert sessions.reap(platform, WS, shift.session(held), "overlap", 0, "s") is False
    shift.run(5)
    assert shift.live() == [held]


@pytest.mark.parametrize("policy", ["cancel_other", "terminate_other"])
def test_a_scheduler_that_dies_right_after_the_fire_leaves_it_seen(
    policy: str, platform: Platform
) -> None:
    """The next scheduler finds the fire made and tells the reaper in the dead one's stead."""
    shift = opened(platform)
    schedule = tick(platform, policy)
    shift.run(60)
    (held,) = shift.live()
    (member,) = platform.clients.control.zrange(keys.DUE, 0, -1)
    nominal = int(platform.clients.data.zscore(keys.of(WS)["due"], schedule.id))
    platform.clock.wait(platform.stopping, nominal / 1000 - platform.now_ms() / 1000)
    args = schedules.fire_args(
        platform, schedule, [nominal, nominal + 60_000], "make", platform.now_ms()
    )
    assert platform.run("fire", WS, **args)[4] == "made"
    assert platform.clients.control.zscore(keys.DUE, member) == nominal
    shift.run(2)
    assert held not in shift.live() or shift.session(held).checkpoint_asked_at


def test_with_two_slots_a_fire_waits_for_its_own_and_why_says_so(platform: Platform) -> None:
    shift = opened(platform, slots=2)
    tick(platform, "buffer_all")
    shift.run(60)
    (held,) = shift.live()
    shift.run(2 * 60)
    assert shift.live() == [held]
    told = why.explain(platform, WS)
    assert (told.code, told.depth) == ("overlap", 2)
    assert f"runs in session {held}" in told.sentence
    assert told.sentence.endswith("2 fires of tick wait.")
    assert shift.begin("chat") in shift.live(), "nobody else waits"
    shift.agent.finish(held)
    shift.serve()
    assert len(shift.live()) == 2


def test_a_parked_fire_preempts_the_run_in_its_way_and_no_other(platform: Platform) -> None:
    shift = opened(platform, slots=3)
    other = shift.begin("cron", name="other", cron_expr="0 0 1 1 *")
    tick(platform, "buffer_all", preempt="cron", preempt_after_s=300)
    shift.run(60)
    (own,) = [one for one in shift.live() if one != other]
    shift.run(362)
    assert shift.one("SESSION_CHECKPOINT_REQUESTED").session_id == own


def test_a_fire_that_would_be_skipped_preempts_nothing(platform: Platform) -> None:
    shift = opened(platform)
    tick(platform, "skip", preempt="cron", preempt_after_s=300)
    shift.run(700)
    assert not shift.told("SESSION_CHECKPOINT_REQUESTED")


def test_a_platform_that_dies_between_the_fire_and_the_look_is_caught_up_within_a_second(
    platform: Platform,
) -> None:
    """A run by hand tells the reaper first, and again at once after the fire."""
    shift = opened(platform)
    schedule = tick(platform, "terminate_other", cron_expr="0 0 1 1 *")
    by_hand(shift, schedule)
    shift.serve()
    platform.clients.control.delete(keys.DEADLINES)
    by_hand(shift, schedule)
    assert platform.clients.control.zscore(keys.DEADLINES, WS) <= platform.now_ms()
