"""The reaper beside another one, without a ring or a wake-up, and behind a long sweep."""

from collections.abc import Iterator

import pytest

from app.core import keys, sessions, workspaces
from app.core import platform as platforms
from app.core.platform import Platform
from tests.seeds.clocks import OPENS, WS, Shift, at_ms, beside
from tests.support.world import virtual_platform
from workers import jobs, reaper, sweep, watchdog


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(OPENS) as here:
        yield here


def test_two_reapers_that_saw_the_same_session_act_once(platform: Platform) -> None:
    shift = Shift.opened(platform)
    session_id = shift.begin()
    shift.reaps = False
    shift.run(1801)
    seen = shift.session(session_id)
    limits = reaper.limits_of(platform, workspaces.get(platform, WS))
    found = watchdog.verdict(seen, platform.now_ms(), limits)
    assert found is not None
    facts = (found.mechanism, found.limit_ms, found.setting)
    acted = [sessions.reap(one, WS, seen, *facts) for one in (platform, beside(platform))]
    assert acted == [True, False]
    shift.reaps = True
    shift.run(60)
    shift.one("SESSION_ENDED", session_id)


def test_the_stored_deadline_decides_when_every_ring_and_wake_up_is_lost(
    platform: Platform,
) -> None:
    """No process listens to the wake channel here at all; nor does a ring arrive."""
    shift = Shift.opened(platform)
    session_id = shift.begin()
    waiting = shift.submit()
    shift.loses_rings = True
    shift.run(1801)
    ceiling_at = shift.session(session_id).ceiling_at or 0
    assert 0 <= at_ms(shift.one("SESSION_ENDED", session_id)) - ceiling_at <= 1000
    assert shift.state_of(waiting) == "queued"
    shift.loses_rings = False
    reaper.settle(platform, WS, 0)
    shift.run(1)
    assert shift.state_of(waiting) == "running"


def test_a_sweep_through_many_workspaces_keeps_no_ceiling_waiting(platform: Platform) -> None:
    """The reaper's tick waits behind the sweep, so the sweep reaps after each of its pages."""
    shift = Shift.opened(platform)
    session_id = shift.begin()
    for number in range(9):
        workspaces.create(platform, f"other-{number}", {})
    pages: list[bool] = []

    def a_page_later() -> None:
        platform.clock.wait(platform.stopping, 901 if not pages else 0.1)  # the sweep takes long
        reaper.reap(platform)
        pages.append(session_id in shift.live())

    shift.run(900)
    sweep.sweep(platform, a_page_later, page_count=2)
    assert pages == [False] * 5
    assert shift.one("SESSION_ENDED", session_id).mechanism in ("ceiling", "idle_timeout")


def test_the_job_that_sweeps_reaps_between_its_pages(platform: Platform) -> None:
    shift = Shift.opened(platform)
    for number in range(sweep.PAGE):
        platform.clients.control.zadd(keys.WORKSPACES, {f"gone-{number}": number})
    session_id = shift.begin()
    shift.reaps = False
    shift.run(1801)
    platforms.use(platform)
    jobs.repair()
    assert shift.one("SESSION_ENDED", session_id).mechanism == "ceiling"
