"""A time to live that passes ends the turn at its time: whoever beats, and whoever died."""

from datetime import UTC, datetime

from app.core import keys, schedules, turns, workspaces
from app.core.platform import Platform
from scheduler import fires
from tests.integration.faults import Killed, Life, Machine, lives, machine
from tests.support.world import all_events, ledger, new_workspace
from workers import reaper
from workers.sweep import sweep

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


def tick(platform: Platform, seconds: int) -> None:
    """The reaper's job, each second."""
    for _ in range(seconds):
        platform.clock.wait(platform.stopping, 1)
        reaper.reap(platform)


def expired_at(platform: Platform, workspace_id: str) -> list[float]:
    """How late each turn expired, in seconds."""
    told = [e.payload for e in all_events(platform, workspace_id) if e.event == "TURN_EXPIRED"]
    return [(payload["measured_ms"] - payload["limit_ms"]) / 1000 for payload in told]


def submit(platform: Platform, life_s: float) -> str:
    request = turns.Request(body={"text": "x"}, expires_in_s=life_s)
    return turns.submit(platform, "one", request).turn_id


def test_a_message_expires_within_a_second_in_a_paused_workspace_where_nobody_beats() -> None:
    with machine(NOON) as here:
        platform = here.process()
        new_workspace(platform, "one")
        workspaces.pause(platform, "one", "by hand")
        for life_s in (3.2, 3.3, 60):
            submit(platform, life_s)
        tick(platform, 3)
        assert expired_at(platform, "one") == []
        tick(platform, 1)
        late = expired_at(platform, "one")
        assert len(late) == 2
        assert max(late) <= 1
        tick(platform, 57)
        assert len(expired_at(platform, "one")) == 3


def test_control_without_the_hint_it_expires_only_with_the_sweep() -> None:
    with machine(NOON) as here:
        platform = here.process()
        new_workspace(platform, "one")
        submit(platform, 3)
        platform.clients.control.delete(keys.DEADLINES)
        tick(platform, 10)
        assert expired_at(platform, "one") == []
        sweep(platform)
        tick(platform, 1)
        assert len(expired_at(platform, "one")) == 1


def test_more_than_one_look_ends_are_ended_in_the_same_second() -> None:
    with machine(NOON) as here:
        platform = here.process()
        new_workspace(platform, "one")
        for _ in range(turns.EXPIRED_AT_ONCE * 2 + 5):
            submit(platform, 3)
        platform.clock.wait(platform.stopping, 3)
        for _ in range(4):
            reaper.reap(platform)
            platform.clock.wait(platform.stopping, 0.01)
        assert len(expired_at(platform, "one")) == turns.EXPIRED_AT_ONCE * 2 + 5


def fired(here: Machine) -> Platform:
    platform = here.process()
    new_workspace(platform, "one")
    fields = {"name": "a", "cron_expr": "* * * * *", "timezone": "UTC", "prompt": "p"}
    schedules.create(platform, "one", fields | {"ttl_s": 20})
    fires.fire_due(platform)  # loads the scripts
    platform.clock.wait(platform.stopping, 31)
    return platform


def whole_pass(life: Life) -> None:
    with machine(NOON) as here:
        fired(here)
        assert fires.fire_due(here.process(life)) == 1


def test_a_fire_expires_though_its_scheduler_was_killed_before_it_told_the_reaper() -> None:
    for life in lives(whole_pass):
        with machine(NOON) as here:
            platform = fired(here)
            try:
                fires.fire_due(here.process(life))
            except Killed:
                assert life.is_dead
            fires.fire_due(platform)  # the next one after the restart
            sweep(platform)
            tick(platform, 21)
            (row,) = ledger(platform, "one").values()
            assert row["state"] == "expired", life
            assert row["setting"] == "schedule.ttl_s"
            assert max(expired_at(platform, "one")) <= 1, life


def whole_submit(life: Life) -> None:
    with machine(NOON) as here:
        new_workspace(here.process(), "one")
        submit(here.process(), 5)
        submit(here.process(life), 5)


def test_a_message_expires_though_its_web_process_was_killed_before_it_told_the_reaper() -> None:
    for life in lives(whole_submit):
        with machine(NOON) as here:
            platform = here.process()
            new_workspace(platform, "one")
            submit(platform, 5)
            try:
                submit(here.process(life), 5)
            except Killed:
                assert life.is_dead
            sweep(platform)
            tick(platform, 6)
            left = platform.clients.data.zcard(keys.of("one")["open"])
            assert left == 0, life
