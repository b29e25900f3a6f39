"""A scheduler that is killed between any two steps makes each fire once all the same."""

from collections import Counter
from datetime import UTC, datetime

from app.core import capacity, keys, schedules
from app.core.platform import Platform
from scheduler import fires
from tests.integration.faults import Killed, Life, Machine, lives, machine
from tests.support.world import all_events, ledger, new_workspace
from workers.sweep import sweep

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
FIELDS = {"cron_expr": "* * * * *", "timezone": "UTC", "prompt": "p"}


def made_once(platform: Platform, workspace_id: str) -> dict[tuple[str, int], int]:
    """How often each fire was made, told by the events."""
    found: dict[tuple[str, int], int] = {}
    for event in all_events(platform, workspace_id):
        if event.event in ("CRON_QUEUED", "CRON_MISSED"):
            name = (event.payload["schedule_id"], event.payload["nominal_at"])
            found[name] = found.get(name, 0) + 1
    return found


def hints(platform: Platform) -> dict[str, float]:
    return dict(platform.clients.control.zrange(keys.DUE, 0, -1, withscores=True))


def truth(platform: Platform, *workspace_ids: str) -> dict[str, float]:
    return {
        str(keys.DueMember(workspace_id, schedule_id)): nominal
        for workspace_id in workspace_ids
        for schedule_id, nominal in platform.clients.data.zrange(
            keys.of(workspace_id)["due"], 0, -1, withscores=True
        )
    }


def set_up(here: Machine) -> Platform:
    """Two workspaces with room, two schedules each, three minutes late."""
    platform = here.process()
    for workspace_id in ("one", "two"):
        new_workspace(platform, workspace_id)
        capacity.heartbeat(platform, workspace_id, capacity.Beat(sessions=[]))
        for name in ("a", "b"):
            schedules.create(platform, workspace_id, {"name": name, **FIELDS})
    fires.fire_due(platform)  # loads the scripts
    platform.clock.wait(platform.stopping, 170)
    return platform


def whole_pass(life: Life) -> None:
    with machine(NOON) as here:
        set_up(here)
        assert fires.fire_due(here.process(life)) == 12


def test_killed_at_any_command_of_fire_due_each_fire_is_made_once_and_the_hints_are_right() -> None:
    for life in lives(whole_pass):
        with machine(NOON) as here:
            platform = set_up(here)
            try:
                fires.fire_due(here.process(life))
            except Killed:
                assert life.is_dead
            fires.fire_due(platform)  # the next one after the restart
            sweep(platform)
            for workspace_id in ("one", "two"):
                made = made_once(platform, workspace_id)
                assert list(made.values()) == [1] * 6, life
                assert len(ledger(platform, workspace_id)) == 6, life
                assert platform.clients.data.hget(keys.of(workspace_id)["lanes"], "cron") == "6"
            assert hints(platform) == truth(platform, "one", "two"), life
            assert set(platform.clients.control.zrange(keys.READY, 0, -1)) == {"one", "two"}, life


def test_a_scheduler_down_beyond_the_catch_up_window_leaves_missed_rows_with_the_reason() -> None:
    with machine(NOON, catchup_window_s=120) as here:
        platform = here.process()
        new_workspace(platform, "one")
        schedule = schedules.create(platform, "one", {"name": "a", **FIELDS})
        platform.clock.wait(platform.stopping, 600)
        fires.fire_due(platform)
        rows = schedules.fires(platform, "one", schedule.id, 100)[::-1]
        assert [row.state for row in rows] == ["missed"] * 8 + ["queued"] * 2
        assert {row.reason for row in rows[:8]} == {"catchup_window"}
        events = [e for e in all_events(platform, "one") if e.event == "CRON_MISSED"]
        assert len(events) == 8
        for event in events:
            assert event.mechanism == "catchup_window"
            assert event.payload["limit_ms"] == 120_000
            assert event.payload["setting"] == "TURNKEEPER_CATCHUP_WINDOW_S"
            assert event.payload["measured_ms"] > 120_000
            assert event.payload["reason"]


def test_a_schedule_that_cannot_be_read_does_not_stop_the_others() -> None:
    with machine(NOON) as here:
        platform = here.process()
        new_workspace(platform, "one")
        made = [schedules.create(platform, "one", {"name": n, **FIELDS}) for n in "abc"]
        own = keys.of("one")["schedules"]
        platform.clients.data.hset(own, made[0].id, "{not json")
        zone = platform.clients.data.hget(own, made[1].id).replace('"UTC"', '"Mars/Olympus"')
        platform.clients.data.hset(own, made[1].id, zone)
        platform.clock.wait(platform.stopping, 31)
        assert fires.fire_due(platform) == 1
        rows = schedules.fires(platform, "one", made[2].id, 10)
        assert [row.state for row in rows] == ["queued"]
        now = platform.now_ms()
        late = [at for name, at in hints(platform).items() if not name.endswith(made[2].id)]
        assert late == [now + fires.BROKEN_MS] * 2, "tried again in a minute"


def test_a_workspace_whose_script_breaks_does_not_stop_the_others() -> None:
    with machine(NOON) as here:
        platform = here.process()
        for name in ("broken", "well"):
            new_workspace(platform, name)
            schedules.create(platform, name, {"name": "a", **FIELDS})
        platform.clients.data.set(keys.of("broken")["lanes"], "not a hash")
        platform.clock.wait(platform.stopping, 31)
        assert fires.fire_due(platform) == 1
        assert len(ledger(platform, "well")) == 1
        assert platform.clients.control.zrangebyscore(keys.DUE, "-inf", platform.now_ms()) == []


def test_a_hint_that_is_missing_or_too_late_is_written_again_by_the_sweep() -> None:
    with machine(NOON) as here:
        platform = here.process()
        new_workspace(platform, "one")
        for name in "ab":
            schedules.create(platform, "one", {"name": name, **FIELDS})
        first, second = hints(platform)
        platform.clients.control.zrem(keys.DUE, first)
        platform.clients.control.zadd(keys.DUE, {second: 9_999_999_999_999})
        sweep(platform)
        assert hints(platform) == truth(platform, "one")


def test_a_fire_ahead_of_a_clock_that_was_set_back_waits_and_is_made_once() -> None:
    with machine(NOON) as here:
        platform = here.process()
        new_workspace(platform, "one")
        schedules.create(platform, "one", {"name": "a", **FIELDS})
        platform.clock.wait(platform.stopping, 35)
        assert fires.fire_due(platform) == 1
        platform.clock.wait(platform.stopping, -3600)
        assert fires.fire_due(platform) == 0
        platform.clock.wait(platform.stopping, 3600 + 60)
        assert fires.fire_due(platform) == 1
        assert list(made_once(platform, "one").values()) == [1, 1]


def one_round(here: Machine) -> int:
    """A pass that is told to stop while its first round is made."""
    platform = here.process()

    def told(expr: str, zone: str, after_ms: int) -> int:
        platform.stopping.set()
        return schedules.cron_next(expr, zone, after_ms)

    return fires.fire_due(platform, told)


def test_after_hours_without_a_scheduler_nobody_of_this_minute_waits_for_a_backlog() -> None:
    with machine(NOON) as here:
        platform = here.process()
        for name in ("behind", "live"):
            new_workspace(platform, name)
        for count in range(fires.BEHIND_BATCH + 5):
            schedules.create(platform, "behind", {"name": str(count), **FIELDS})
        platform.clock.wait(platform.stopping, 2 * 3600)
        schedules.create(platform, "live", {"name": "new", **FIELDS})
        platform.clock.wait(platform.stopping, 31)
        assert one_round(here) == fires.BEHIND_BATCH * fires.CHUNK + 1
        assert len(ledger(platform, "live")) == 1, "in the first round"
        assert set(Counter(row for row, _ in made_once(platform, "behind")).values()) == {
            fires.CHUNK
        }, "no schedule more than its step"
        fires.fire_due(platform)
        made = made_once(platform, "behind")
        assert list(made.values()) == [1] * (fires.BEHIND_BATCH + 5) * 121
        assert hints(platform) == truth(platform, "behind", "live")
