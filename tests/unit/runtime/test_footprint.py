"""The supervisor as a process: its memory, its rhythm, and what its children can read of it."""

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from runtime.settings import process_environ

from .fake_platform import FakePlatform, is_alive, wait_until

PY = sys.executable
ROOT = str(Path(__file__).parents[3])
RSS_MAX_BYTES = 40_000_000
WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")

Begin = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def begin(platform: FakePlatform, tmp_path: Path) -> Iterator[Begin]:
    """Start ``python -m runtime`` with a command."""
    started: list[subprocess.Popen[bytes]] = []

    def run(
        *command: str, options: tuple[str, ...] = (), before: tuple[str, ...] = (), **more: str
    ):  # type: ignore[no-untyped-def]
        environ = {**process_environ(), "TURNKEEPER_URL": platform.url, "PYTHONPATH": ROOT}
        environ |= {"TURNKEEPER_TOKEN": "tk_secret", "TURNKEEPER_SPOOL_DIR": str(tmp_path / "s")}
        argv = [*before, PY, "-P", "-m", "runtime", "-w", "ws_test", *options, "--", *command]
        started.append(subprocess.Popen(argv, env=environ | more))
        return started[-1]

    yield run
    for process in started:
        process.terminate()
        assert process.wait(30) == 0


def test_the_supervisor_takes_at_most_40_megabytes(platform: FakePlatform, begin: Begin) -> None:
    process = begin("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")
    for _ in range(3):
        platform.finish_of(platform.offer())
    rss_bytes = psutil.Process(process.pid).memory_info().rss
    print(f"supervisor rss: {rss_bytes / 1e6:.1f} MB")
    assert rss_bytes <= RSS_MAX_BYTES


def test_beats_keep_their_rhythm_beside_a_child_that_holds_its_lock_and_one_that_computes(
    platform: FakePlatform, begin: Begin
) -> None:
    interval_s = 0.8
    beats = {"TURNKEEPER_HEARTBEAT_INTERVAL_S": "0.8", "TURNKEEPER_HEARTBEAT_MIN_S": "0.1"}
    options = ("--max-concurrent", "2")
    begin(PY, "-c", "{prompt}", options=options, **beats, TURNKEEPER_DRAIN_S="0")
    platform.offer("import ctypes; ctypes.PyDLL(None).sleep(60)", number=1)
    platform.offer("pow(3, 10**9)", number=2)
    wait_until(lambda: len(platform.of("start")) == 2, 30)
    first = len(platform.of("heartbeat"))
    wait_until(lambda: len(platform.of("heartbeat")) >= first + 6, 30)
    times = platform.times_of("heartbeat")[first:]
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    print(f"beat gaps / interval: max {max(gaps) / interval_s:.3f}")
    assert max(gaps) <= interval_s + 3, "with a lock that mattered: the child's 60 s"
    assert 0.8 * interval_s <= statistics.median(gaps) <= 1.5 * interval_s


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_a_child_of_the_same_user_cannot_read_the_token_and_is_ended_all_the_same(
    platform: FakePlatform, begin: Begin
) -> None:
    """Root may read everything, so as root this runs without root's capabilities."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed, and root reads everything without it")
    script = (
        "cat /proc/$PPID/environ 2>&1;"
        "for p in $(cat /proc/$PPID/task/*/children); do cat /proc/$p/environ; done 2>&1;"
        "setsid sleep 60 & echo; echo $!"
    )
    begin("sh", "-c", script, before=WITHOUT_CAPABILITIES if os.geteuid() == 0 else ())
    report = platform.finish_of(platform.offer())
    text = report["result"]["text"].replace("\0", " ")
    assert "Permission denied" in text
    assert "TURNKEEPER_SESSION_ID" in text, "the control: the child can read what is its own"
    assert "tk_secret" not in text
    (hit,) = report["limits"]
    assert [one["name"] for one in hit["signaled"]] == ["sleep"]
    assert not is_alive(int(text.split()[-1]))
