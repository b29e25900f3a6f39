"""How many keepalives a silent tool makes: the counts of the field report, then 150 times as fast.

In real time a count is held against the time that passed: a machine that stands still makes a
silence longer, and an interval between two keepalives never shorter.
"""

import statistics
import sys
import threading
from pathlib import Path

import pytest

from runtime.pace import due

from .conftest import Start, until
from .fake_platform import FakePlatform, wait_until

PY = sys.executable
SCALE = 150
KEEPALIVE_S = 75 / SCALE


def scaled(seconds: float) -> str:
    return f"{seconds / SCALE:.3f}"


def keepalives(platform: FakePlatform) -> int:
    return [report["kind"] for report in platform.of("progress")].count("keepalive")


def most(platform: FakePlatform) -> float:
    """As many as the turn was long."""
    return platform.took_s() / KEEPALIVE_S


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
    assert keepalives(platform) <= int(most(platform)), "0, unless the 50 s became 75"
    assert_no_more(platform)


def test_one_for_each_interval_of_silence_and_none_after_its_end(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start("sh", "-c", until(tmp_path / "go"), keepalive_s=KEEPALIVE_S)
    session_id = platform.offer()
    wait_until(lambda: keepalives(platform) >= 4, 30)
    (tmp_path / "go").touch()
    platform.finish_of(session_id)
    assert keepalives(platform) <= most(platform)
    times = platform.times_of("start")[-1:] + platform.times_of("progress")
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert statistics.median(gaps) < 3 * KEEPALIVE_S
    assert_no_more(platform)


def test_none_after_an_exception(platform: FakePlatform, start: Start, tmp_path: Path) -> None:
    go = str(tmp_path / "go")
    script = f"import os, time\nwhile not os.path.exists({go!r}): time.sleep(0.02)\nraise OSError"
    start(PY, "-c", script, keepalive_s=KEEPALIVE_S)
    session_id = platform.offer()
    wait_until(lambda: keepalives(platform) >= 2)
    (tmp_path / "go").touch()
    assert platform.finish_of(session_id)["outcome"] == "failed"
    assert keepalives(platform) <= most(platform)
    assert_no_more(platform)


def test_none_after_a_kill(platform: FakePlatform, start: Start) -> None:
    start("sleep", "60", keepalive_s=KEEPALIVE_S)
    session_id = platform.offer()
    wait_until(lambda: keepalives(platform) >= 1)
    platform.direct("terminate", session_id)
    platform.finish_of(session_id)
    assert keepalives(platform) <= most(platform)
    assert_no_more(platform)


def test_output_takes_the_place_of_keepalives(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    """Each keepalive, if a line came that late, follows a whole interval without a report."""
    start(
        *("sh", "-c", f"while [ ! -e {tmp_path}/go ]; do echo on; sleep 0.25; done"),
        keepalive_s=KEEPALIVE_S,
    )
    session_id = platform.offer()
    wait_until(lambda: len(platform.of("progress")) - keepalives(platform) >= 6, 30)
    (tmp_path / "go").touch()
    platform.finish_of(session_id)
    times = platform.times_of("start")[-1:] + platform.times_of("progress")
    kinds = [report["kind"] for report in platform.of("progress")]
    silences = zip(kinds, times, times[1:], strict=False)
    assert all(at - before >= KEEPALIVE_S for kind, before, at in silences if kind == "keepalive")
