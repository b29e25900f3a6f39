"""The round of the invariants check: bounded passes, its interval, one workspace's trouble."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.core import invariant_reports, keys, turns
from app.core import platform as platforms
from app.core.invariants import CODES
from app.core.platform import Platform
from tests.support.world import new_workspace, virtual_platform
from workers import invariants, jobs
from workers.invariants import PAGE, check_some

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(NOON, invariants_interval_s=300) as here:
        yield here


def later(platform: Platform, seconds: float) -> None:
    platform.clock.wait(platform.stopping, seconds)


def test_a_round_looks_at_every_workspace_and_the_next_waits_its_interval(
    platform: Platform,
) -> None:
    names = [new_workspace(platform, f"w{n:02}") for n in range(PAGE + 5)]
    assert check_some(platform) == len(names)
    done = invariant_reports.current_round(platform)
    assert (done.is_going_on, done.violations) == (False, 0)
    assert done.ended_at == platform.now_ms()
    assert [row.workspace_id for row in invariant_reports.listing(platform, 1000)] == names
    later(platform, 299)
    assert check_some(platform) == 0
    later(platform, 1)
    assert check_some(platform) == len(names)


def test_a_pass_is_bounded_and_the_next_goes_on_where_it_stopped(platform: Platform) -> None:
    for number in range(2 * PAGE + 1):
        new_workspace(platform, f"w{number:02}")
    pass_s = invariants.PASS_SHARE * platform.settings.sweep_interval_s
    looked = [check_some(platform, lambda: later(platform, pass_s)) for _ in range(4)]
    assert looked == [PAGE, PAGE, 1, 0]
    assert not invariant_reports.current_round(platform).is_going_on


def test_an_interval_of_nought_never_looks() -> None:
    with virtual_platform(NOON, invariants_interval_s=0) as platform:
        new_workspace(platform, "one")
        assert check_some(platform) == 0


def test_the_sweep_runs_the_check(platform: Platform) -> None:
    new_workspace(platform, "one")
    platforms.use(platform)
    jobs.sweep()
    assert invariant_reports.last(platform, "one") is not None


def test_a_report_is_replaced_and_the_count_falls_when_it_is_mended(platform: Platform) -> None:
    for name in ("broken", "well"):
        new_workspace(platform, name)
        turns.submit(platform, name, turns.Request(body={"text": "x"}))
    own = keys.of("broken")["lanes"]
    platform.clients.data.hincrby(own, "chat", 1)
    check_some(platform)
    assert invariant_reports.current_round(platform).violations > 0
    first, second = invariant_reports.listing(platform, 10)
    assert (first.workspace_id, second.violation_count) == ("broken", 0)
    platform.clients.data.hincrby(own, "chat", -1)
    later(platform, 300)
    check_some(platform)
    assert invariant_reports.current_round(platform).violations == 0


def test_a_big_workspace_is_looked_at_part_by_part_and_says_so(platform: Platform) -> None:
    new_workspace(platform, "big")
    count = 900
    ids = [
        turns.submit(platform, "big", turns.Request(body={"text": "x"})).turn_id
        for _ in range(count)
    ]
    report = invariant_reports.run(platform, "big")
    assert report.total == count
    assert 300 <= report.checked < count
    platform.clients.data.hdel(keys.of("big")["bodies"], ids[450])
    platform.clients.data.hset(keys.of("big")["bodies"], "another", "{}")  # the sums agree
    found = [invariant_reports.run(platform, "big").violations for _ in range(3)]
    codes = {row.code for rows in found for row in rows}
    assert codes == {"turn_body_missing"}


def test_the_operators_page_names_every_code() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    rows = [f"| `{code}` | {text} |" for code, text in CODES.items()]
    assert [row for row in rows if row not in page] == []
