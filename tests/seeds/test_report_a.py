"""Report A: cron starvation, as told; each case with the control that shows it can fail."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from app.core import keys, schedules, sessions, why
from app.core.platform import Platform
from app.core.schedules import cron_next
from app.core.states import TERMINAL
from tests.seeds.day import LET_GO, OPENS, WORKSPACE, Day, fire_and_queue
from tests.support.world import all_events, endings, virtual_platform

NOMINAL = [OPENS.replace(minute=0, second=0) + timedelta(minutes=30 * n) for n in range(3, 15)]
# What the field platform wrote 24 of, and what would stand for a loss here.
ROWS_OF_LOSS = {"CRON_SKIPPED", "CRON_MISSED", "TURN_EXPIRED", "TURN_DEAD", "TURN_COALESCED"}
ROWS_OF_LOSS |= {"TURN_RETURNED", "LIMIT_HIT", "WORKSPACE_OFFLINE", "WORKSPACE_DEGRADED"}


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(OPENS) as here:
        yield here


def at(fire: schedules.Fire) -> datetime:
    return datetime.fromtimestamp(fire.nominal_at / 1000, UTC)


def waiting(day: Day) -> list[datetime]:
    return [at(fire) for fire in day.ledger() if fire.state == "queued"]


def losses(platform: Platform) -> list[str]:
    found = [event.event for event in all_events(platform, WORKSPACE)]
    return [name for name in found if name in ROWS_OF_LOSS]


def drained(day: Day) -> list[datetime]:
    """The nominal times of the sessions after the held one, in the order of their claims."""
    claimed = [item.claim.turn.nominal_at or 0 for item in day.given]
    times = [datetime.fromtimestamp(ms / 1000, UTC) for ms in claimed]
    return [time for time in times if time in NOMINAL]


def let_go(day: Day) -> None:
    """The held session ends: our own by its finish, the foreign one as a beat tells."""
    day.is_held = False
    if not day.is_foreign:
        day.finish_all()


@pytest.mark.parametrize("is_foreign", [False, True], ids=["ours", "foreign"])
def test_twelve_fires_wait_behind_six_hours_and_then_run_in_order_one_at_a_time(
    platform: Platform, is_foreign: bool
) -> None:
    day = Day(platform, is_foreign)
    day.run_to(LET_GO)
    assert waiting(day) == NOMINAL
    assert losses(platform) == []
    assert len(day.given) == (0 if is_foreign else 1)

    told = why.explain(platform, WORKSPACE)
    assert told.code == "capacity_full"
    assert told.depth == 12
    assert told.sentence.endswith("12 fires of seo-tick wait.")
    assert told.sentence.startswith("Waiting 5 h 40 min: ")
    if is_foreign:
        assert "the agent reports 1 task of its own in 1 slot" in told.sentence
    else:
        (held,) = sessions.live(platform, WORKSPACE)
        assert f"1 of 1 slots held by session {held.id} (cron seo-tick, " in told.sentence
        assert "running 6 h 10 min, no ceiling set" in told.sentence

    let_go(day)
    day.run_to(LET_GO + timedelta(minutes=13))
    assert drained(day) == NOMINAL
    assert {item.live_count for item in day.given} == {1}
    assert losses(platform) == []
    rows = [fire for fire in day.ledger() if at(fire) in NOMINAL]
    assert [fire.state for fire in rows] == ["completed"] * 12
    assert set(endings(platform, WORKSPACE).values()) == {1}
    assert platform.clients.data.zcard(keys.of(WORKSPACE)["open"]) == 0


def test_the_finish_of_the_held_session_is_enough_no_heartbeat_is_waited_for(
    platform: Platform,
) -> None:
    day = Day(platform, is_foreign=False)
    day.run_to(LET_GO)
    let_go(day)
    assert platform.clients.control.zrange(keys.READY, 0, -1) == [WORKSPACE]


def test_the_first_heartbeat_with_room_is_enough_for_a_foreign_session(platform: Platform) -> None:
    day = Day(platform, is_foreign=True)
    day.run_to(LET_GO)
    let_go(day)
    assert platform.clients.control.zrange(keys.READY, 0, -1) == []
    day.beat()
    assert platform.clients.control.zrange(keys.READY, 0, -1) == [WORKSPACE]


def test_control_posting_to_a_busy_agent_and_giving_up_loses_twelve(platform: Platform) -> None:
    """The same day with the queue switched off: the dispatch path of the field platform."""
    lost: list[datetime] = []

    def post_or_give_up(day: Day) -> None:
        if not day.running:  # free: the post succeeds
            fire_and_queue(day)
            return
        now = platform.now_ms()
        for member in platform.clients.control.zrangebyscore(keys.DUE, "-inf", now):
            due, own = keys.DueMember.parse(member), keys.of(WORKSPACE)["due"]
            nominal = int(platform.clients.data.zscore(own, due.schedule_id))
            following = cron_next("*/30 * * * *", "UTC", nominal)
            lost.append(datetime.fromtimestamp(nominal / 1000, UTC))  # "workspace agent busy"
            platform.clients.data.zadd(own, {due.schedule_id: following})
            platform.clients.control.zadd(keys.DUE, {member: following})

    day = Day(platform, is_foreign=False, dispatch=post_or_give_up)
    day.run_to(LET_GO)
    let_go(day)
    day.run_to(LET_GO + timedelta(minutes=13))
    assert lost == NOMINAL
    assert drained(day) == []
    assert len(day.ledger()) == 1


def test_a_prompt_patched_while_fires_wait_is_the_one_that_every_later_claim_carries(
    platform: Platform,
) -> None:
    at_queue_time: dict[int, str] = {}

    def note_prompt_and_fire(day: Day) -> None:
        before = {fire.nominal_at for fire in day.ledger()}
        fire_and_queue(day)
        prompt = schedules.get(platform, WORKSPACE, day.schedule.id).prompt
        at_queue_time.update(
            {fire.nominal_at: prompt for fire in day.ledger() if fire.nominal_at not in before}
        )

    def patch(prompt: str) -> None:
        schedules.change(platform, WORKSPACE, day.schedule.id, {"prompt": prompt})

    day = Day(platform, is_foreign=False, dispatch=note_prompt_and_fire)
    day.run_to(LET_GO - timedelta(hours=1))
    patch("new")
    day.run_to(LET_GO)
    let_go(day)
    day.run_to(LET_GO + timedelta(minutes=5))
    middle = len(day.given)
    assert 3 < middle < 10, "the last of them is claimed after the second change"
    patch("newest")
    day.run_to(LET_GO + timedelta(minutes=13))

    held, *later = day.given
    assert (held.prompt, held.prompt_version) == ("old", 1)
    wanted = [("new", 2)] * (middle - 1) + [("newest", 3)] * (13 - middle)
    assert [(item.prompt, item.prompt_version) for item in later] == wanted
    for item in later:
        assert item.claim.schedule is not None
        assert item.claim.schedule["prompt"] == item.prompt
        assert item.claim.session.prompt_version == item.prompt_version
        terminal = sessions.get(platform, WORKSPACE, item.claim.session.id).turn_state
        assert terminal in TERMINAL

    # The control: bound when the fires were queued, all twelve would have run an older policy.
    stale = [at_queue_time[item.claim.turn.nominal_at or 0] != item.prompt for item in later]
    assert stale == [True] * 12
