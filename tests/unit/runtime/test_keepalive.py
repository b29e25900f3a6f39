"""How many keepalives a silent tool makes: the counts of the field report, 150 times as fast."""

import sys
import threading

import pytest

from runtime.pace import due

from .conftest import Start
from .fake_platform import FakePlatform, wait_until

PY = sys.executable
SCALE = 150
KEEPALIVE_S = 75 / SCALE


def scaled(seconds: float) -> str:
    return f"{seconds / SCALE:.3f}"


def keepalives(platform: FakePlatform) -> int:
    return [report["kind"] for report in platform.of("progress")].count("keepalive")


def assert_no_more(platform: FakePlatform) -> None:
    before = keepalives(platform)
    threading.Event().wait(2.2 * KEEPALIVE_S)
    assert keepalives(platform) == before


@pytest.mark.parametrize(("tool_s", "count"), [(50, 0), (74, 0), (76, 1), (360, 4), (3600, 47)])
@pytest.mark.parametrize("look_s", [0.5, 10.0])
def test_the_count_follows_from_the_length_of_the_silence(
    tool_s: float, count: int, look_s: float
) -> None:
    """In virtual time; how often somebody looks does not matter, only that nobody looks late."""
    now = sent_at = 0.0
    found = 0
    while True:
        next_due = due(now, sent_at, False, 1.0, 75.0)
        if next_due.what == "keepalive":
            found, sent_at = found + 1, now
            continue
        now += min(next_due.wait_s, look_s)
        if now >= tool_s:
            assert found == count
            return


def test_none_for_a_tool_of_50_seconds(platform: FakePlatform, start: Start) -> None:
    start("sleep", scaled(50), keepalive_s=KEEPALIVE_S)
    platform.finish_of(platform.offer())
    assert keepalives(platform) == 0
    assert_no_more(platform)


def test_four_to_six_for_one_of_six_minutes_and_none_after_its_end(
    platform: FakePlatform, start: Start
) -> None:
    start("sleep", scaled(360), keepalive_s=KEEPALIVE_S)
    platform.finish_of(platform.offer())
    assert 4 <= keepalives(platform) <= 6
    assert_no_more(platform)


def test_none_after_an_exception(platform: FakePlatform, start: Start) -> None:
    start(
        PY, "-c", f"import time; time.sleep({scaled(160)}); raise OSError", keepalive_s=KEEPALIVE_S
    )
    assert platform.finish_of(platform.offer())["outcome"] == "failed"
    assert keepalives(platform) == 2
    assert_no_more(platform)


def test_none_after_a_kill(platform: FakePlatform, start: Start) -> None:
    start("sleep", "60", keepalive_s=KEEPALIVE_S)
    session_id = platform.offer()
    wait_until(lambda: keepalives(platform) == 1)
    platform.direct("terminate", session_id)
    platform.finish_of(session_id)
    assert_no_more(platform)


def test_output_takes_the_place_of_keepalives(platform: FakePlatform, start: Start) -> None:
    start("sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.25; done", keepalive_s=KEEPALIVE_S)
    platform.finish_of(platform.offer())
    assert keepalives(platform) == 0
    assert len(platform.of("progress")) >= 3
