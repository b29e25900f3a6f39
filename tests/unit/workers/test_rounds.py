"""What goes through all workspaces keeps neither a clock nor a fire waiting."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from app.core import history, keys, schedules
from app.core import platform as platforms
from app.core.platform import Platform
from tests.support.world import ledger, new_workspace, virtual_platform
from workers import jobs, sweep

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOLDS = ("tk:sweep:hold", "tk:trim:hold", "tk:history:hold")


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(NOON) as here:
        platforms.use(here)
        yield here


def due_schedule(platform: Platform) -> None:
    """One whose fire is due; the job that would make it waits behind the sweep's."""
    new_workspace(platform, "w1")
    body = {"name": "s", "cron_expr": "* * * * *", "timezone": "UTC", "prompt": "go"}
    schedules.create(platform, "w1", body)
    platform.clock.wait(platform.stopping, 90)


@pytest.mark.parametrize("own", HOLDS)
def test_fires_are_made_and_clocks_looked_at_within_each_round(
    platform: Platform, own: str
) -> None:
    due_schedule(platform)
    for hold in set(HOLDS) - {own}:
        platform.clients.control.set(hold, "1")
    jobs.sweep()
    assert len(ledger(platform, "w1")) == 1
    ticks = platform.clients.control.hgetall(keys.TICKS)
    assert int(ticks["fire_due"]) == int(ticks["reap"]) == platform.now_ms()


def test_control_a_round_alone_makes_no_fire(platform: Platform) -> None:
    due_schedule(platform)
    sweep.sweep(platform)
    history.take(platform)
    assert ledger(platform, "w1") == {}
