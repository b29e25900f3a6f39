"""Schedulers away for a day, and fires spread over a window: the ledger keeps the nominal times."""

from datetime import UTC, datetime, timedelta

import pytest

from app.core import invariant_reports, schedules
from app.core.platform import Platform
from scheduler import fires
from tests.support.world import all_events, new_workspace, turns_of, virtual_platform

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
HOURLY = {"cron_expr": "0 * * * *", "timezone": "UTC", "prompt": "p"}
HOUR_MS = 3_600_000


def nominal(hours: int) -> int:
    """So many full hours after noon, in ms."""
    at = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(hours=hours)
    return round(at.timestamp()) * 1000


def tick_each_minute(platform: Platform, minutes: int) -> None:
    for _ in range(minutes):
        platform.clock.wait(platform.stopping, 60)
        fires.fire_due(platform)


def test_a_fire_is_made_at_its_place_in_the_window_and_keeps_its_nominal_time() -> None:
    with virtual_platform(NOON) as platform:
        new_workspace(platform, "one")
        made = [
            schedules.create(platform, "one", {"name": str(n), "window_s": 1800, **HOURLY})
            for n in range(20)
        ]
        tick_each_minute(platform, 4 * 60)
        late = {
            (event.payload["schedule_id"], event.payload["nominal_at"]): event.payload["late_ms"]
            for event in all_events(platform, "one")
            if event.event == "CRON_QUEUED"
        }
        for schedule in made:
            mine = {at: ms for (name, at), ms in late.items() if name == schedule.id}
            rows = schedules.fires(platform, "one", schedule.id, 100)
            assert sorted(mine) == sorted(row.nominal_at for row in rows)
            assert {1, 2, 3} <= {round((at - nominal(0)) / HOUR_MS) for at in mine}
            assert all(at % HOUR_MS == 0 for at in mine), "the nominal time is the full hour"
            assert len(set(mine.values())) == 1, "at the same place each time"
            place = min(mine.values())
            assert schedule.jitter_ms <= place <= schedule.jitter_ms + 60_000, "to the tick"
            assert 0 <= schedule.jitter_ms < 1_800_000
        assert len({schedule.jitter_ms for schedule in made}) == 20, "spread"


@pytest.mark.parametrize(
    "policy", ["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]
)
def test_schedulers_down_for_a_day_make_what_is_in_the_window_and_name_the_rest(
    policy: str,
) -> None:
    fields = {**HOURLY, "overlap_policy": policy, "catchup_window_s": 6 * 3600}
    with virtual_platform(NOON) as platform:
        new_workspace(platform, "one")
        made = schedules.create(platform, "one", {"name": "a", **fields})
        platform.clock.wait(platform.stopping, 86_400)
        fires.fire_due(platform)
        rows = schedules.fires(platform, "one", made.id, 100)[::-1]
        assert [row.nominal_at for row in rows] == [nominal(n) for n in range(1, 25)]
        assert [row.state for row in rows] == ["missed"] * 18 + ["queued"] * 6
        assert [turn.nominal_at for turn in turns_of(platform, "one")] == [
            nominal(n) for n in range(19, 25)
        ]
        missed = [e for e in all_events(platform, "one") if e.event == "CRON_MISSED"]
        assert len(missed) == 18
        for event in missed:
            assert event.mechanism == "catchup_window"
            assert event.payload["limit_ms"] == 6 * HOUR_MS < event.payload["measured_ms"]
            assert event.payload["setting"] == "schedule.catchup_window_s"
            assert event.payload["reason"]


def test_an_absence_stops_no_schedule() -> None:
    with virtual_platform(NOON) as platform:
        new_workspace(platform, "one")
        made = schedules.create(platform, "one", {"name": "a", **HOURLY, "catchup_window_s": 60})
        platform.clock.wait(platform.stopping, 30 * 86_400)
        fires.fire_due(platform)
        after = schedules.get(platform, "one", made.id)
        assert after.enabled
        assert not after.paused_reason
        assert invariant_reports.run(platform, "one").violations == []
        tick_each_minute(platform, 120)
        rows = schedules.fires(platform, "one", made.id, 10_000)
        assert len(rows) == 30 * 24 + 2
        assert [row.state for row in rows[:2]] == ["queued"] * 2
