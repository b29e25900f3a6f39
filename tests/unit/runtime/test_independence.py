"""Beats go on whatever the child, the reports or the platform do; nothing outlives its session."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from runtime.children import Children
from runtime.kill import KILL_RUNGS, Target, climb, find_alive

from .conftest import Start, until
from .fake_platform import FakePlatform, is_alive, wait_until

PY = sys.executable


def wait_for_beats(platform: FakePlatform, count: int = 4) -> None:
    before = len(platform.of("heartbeat"))
    wait_until(lambda: len(platform.of("heartbeat")) >= before + count)


def pid_in(path: Path) -> int:
    return int(wait_until(lambda: path.exists() and path.read_text().strip()))


@pytest.mark.parametrize(
    "script",
    [
        "import ctypes; ctypes.PyDLL(None).sleep(60)",
        "pow(3, 10**9)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    ],
    ids=["holds-the-interpreter-lock", "one-long-computation", "stopped"],
)
def test_beats_go_on_while_the_child_can_do_nothing(
    platform: FakePlatform, start: Start, tmp_path: Path, script: str
) -> None:
    mark = f"import os; open({str(tmp_path / 'p')!r}, 'w').write(str(os.getpid()))\n"
    start(PY, "-c", mark + script)
    session_id = platform.offer()
    pid = pid_in(tmp_path / "p")
    wait_for_beats(platform)
    assert session_id in platform.of("heartbeat")[-1]["sessions"]
    platform.direct("terminate", session_id)
    assert platform.finish_of(session_id)["outcome"] == "canceled"
    assert not is_alive(pid)


def test_a_stopped_child_can_be_canceled(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start("sh", "-c", f"echo $$ > {tmp_path}/p; kill -STOP $$; sleep 60", kill_grace_s=5.0)
    session_id = platform.offer()
    pid = pid_in(tmp_path / "p")
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    platform.direct("cancel", session_id)
    finish = platform.finish_of(session_id)
    assert finish["exit_code"] in (-signal.SIGINT, -signal.SIGTERM, 130)


def test_a_report_without_an_answer_delays_neither_a_beat_nor_the_draining(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    platform.answers_reports.clear()
    flood = f"head -c 1200000 /dev/zero | tr '\\0' x; touch {tmp_path}/drained"
    start("sh", "-c", f"echo begun; {until(tmp_path / 'go')}; {flood}")
    session_id = platform.offer()
    wait_until(platform.has_report.is_set)
    (tmp_path / "go").touch()
    wait_until((tmp_path / "drained").exists)
    wait_for_beats(platform)
    assert platform.of("progress") == [], "the control: it still waits for its answer"
    platform.answers_reports.set()
    assert platform.finish_of(session_id)["outcome"] == "completed"


def test_beats_rise_and_a_later_process_begins_higher(platform: FakePlatform, start: Start) -> None:
    first = start("true")
    wait_until(lambda: len(platform.of("heartbeat")) >= 3)
    first.stop()
    count = len(platform.of("heartbeat"))
    start("true")
    wait_until(lambda: len(platform.of("heartbeat")) >= count + 3)
    beats = platform.of("heartbeat")
    numbers = [beat["seq"] for beat in beats]
    assert numbers == sorted(set(numbers))
    assert len({beat["instance"] for beat in beats}) == 2


def test_what_a_finished_child_leaves_behind_is_ended(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    script = f"setsid sleep 60 & echo $! > {tmp_path}/a; sleep 61 & echo $! > {tmp_path}/b; echo ok"
    start("sh", "-c", script)
    session_id = platform.offer()
    assert platform.finish_of(session_id)["result"]["text"] == "ok"
    assert not is_alive(pid_in(tmp_path / "a"))
    assert not is_alive(pid_in(tmp_path / "b"))


def test_an_orphan_in_a_session_of_its_own_is_found_by_its_marker(tmp_path: Path) -> None:
    children = Children()
    script = f"(setsid sh -c 'trap \"\" INT TERM; echo $$ > {tmp_path}/p; sleep 60; :' &)"
    leader = children.start(["sh", "-c", script], env={**os.environ, "TURNKEEPER_MARK": "m1"})
    created = psutil.Process(leader.pid).create_time()
    pid = pid_in(tmp_path / "p")
    assert leader.wait() == 0
    assert os.getsid(pid) not in (leader.pid, os.getsid(0))
    target = Target(leader.pid, created, "m1")
    assert pid in [one.pid for one in find_alive(target)]
    assert find_alive(Target(0, 0.0, "another")) == []
    report = climb(lambda: find_alive(target), KILL_RUNGS, 0.1, threading.Event())
    assert report.left == ()
    assert pid in [one.pid for one in report.signaled]
    assert not is_alive(pid)


def test_a_reused_pid_is_not_taken_for_the_child() -> None:
    argv = [sys.executable, "-c", "input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True) as other:
        began = psutil.Process(other.pid).create_time()
        assert find_alive(Target(other.pid, began - 100, "no such mark")) == []
        (found,) = find_alive(Target(other.pid, began, "no such mark"))
        assert found.pid == other.pid, "the control: the one that was meant is found"
        other.communicate(b"\n")


def test_reaping_orphans_does_not_take_the_exit_status_of_a_child() -> None:
    children = Children()
    process = children.start(["sh", "-c", "exit 7"])
    wait_until(lambda: not is_alive(process.pid))
    assert children.reap_orphans() == 0
    assert process.wait() == 7


def test_an_orphan_that_cleared_its_environment_is_ended_and_reaped(
    platform: FakePlatform, tmp_path: Path
) -> None:
    import subprocess

    from runtime.settings import process_environ

    hides = f"env -i setsid sh -c 'echo $$ > {tmp_path}/p; exec sleep 60'"
    script = f"({hides} &) ; while [ ! -s {tmp_path}/p ]; do sleep 0.02; done; echo ok"
    environ = {
        **process_environ(),
        "TURNKEEPER_URL": platform.url,
        "TURNKEEPER_SPOOL_DIR": str(tmp_path),
    }
    argv = [PY, "-m", "runtime", "-w", "ws_test", "--", "sh", "-c", script]
    with subprocess.Popen(argv, env=environ) as process:
        finish = platform.finish_of(platform.offer())
        pid = pid_in(tmp_path / "p")
        assert not is_alive(pid)
        wait_until(lambda: not psutil.pid_exists(pid))
        process.terminate()
        assert process.wait(10) == 0
    assert finish["outcome"] == "completed"
