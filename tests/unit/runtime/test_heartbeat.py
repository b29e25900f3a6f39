"""``with Heartbeat(...)``: a process of its own that leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from runtime.heartbeat import Heartbeat, Inbox

from .fake_platform import FakePlatform, is_alive, wait_until

PY = sys.executable


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNKEEPER_HEARTBEAT_MIN_S", "0.05")


@pytest.mark.usefixtures("_fast")
def test_it_beats_from_another_process_and_stops_clean(platform: FakePlatform) -> None:
    before = set(threading.enumerate())
    with Heartbeat("ws_test", url=platform.url, token="secret", interval_s=0.1) as beating:
        wait_until(lambda: len(platform.of("heartbeat")) >= 3)
        pid = beating.pid
        assert pid is not None
        assert "secret" not in " ".join(psutil.Process(pid).cmdline())
        more = [one.name for one in threading.enumerate() if one not in before]
        assert [name for name in more if "process_request" not in name] == []
    assert not psutil.pid_exists(pid)
    assert beating.pid is None
    beating.stop()
    tokens = {token for _, _, _, token in platform.requests}
    assert tokens == {"Bearer secret"}
    beat = platform.of("heartbeat")[0]
    assert "sessions" not in beat
    assert "active_tasks" not in beat


@pytest.mark.usefixtures("_fast")
def test_what_the_agent_reports_is_in_the_next_beats(platform: FakePlatform) -> None:
    with Heartbeat("ws_test", url=platform.url, token="t", interval_s=0.1) as beating:
        beating.report(active_tasks=2, current_task="x")
        beating.report(active_tasks=1)
        beat = wait_until(
            lambda: [b for b in platform.of("heartbeat") if b.get("active_tasks") == 1]
        )[0]
        assert beat["current_task"] == "x"
    with pytest.raises(RuntimeError):
        beating.report(active_tasks=0)


@pytest.mark.usefixtures("_fast")
def test_it_beats_while_the_agent_holds_the_interpreter_lock_and_dies_with_it(
    platform: FakePlatform, tmp_path: Path
) -> None:
    script = (
        "import ctypes, threading\n"
        "from runtime.heartbeat import Heartbeat\n"
        f"beating = Heartbeat('ws_test', url={platform.url!r}, token='t', interval_s=0.1)\n"
        "thread = threading.Thread(target=beating.start); thread.start(); thread.join()\n"
        f"open({str(tmp_path / 'p')!r}, 'w').write(str(beating.pid))\n"
        "ctypes.PyDLL(None).sleep(60)\n"
    )
    with subprocess.Popen([PY, "-c", script]) as agent:
        pid = int(wait_until(lambda: (tmp_path / "p").exists() and (tmp_path / "p").read_text()))
        before = len(platform.of("heartbeat"))
        wait_until(lambda: len(platform.of("heartbeat")) >= before + 6)
        agent.send_signal(signal.SIGKILL)
        agent.wait()
        wait_until(lambda: not is_alive(pid))


@pytest.mark.usefixtures("_fast")
def test_it_goes_on_when_the_platform_comes_back(platform: FakePlatform) -> None:
    platform.is_down = True
    with Heartbeat("ws_test", url=platform.url, token="t", interval_s=0.1):
        threading.Event().wait(0.5)
        assert platform.of("heartbeat") == []
        platform.is_down = False
        wait_until(lambda: len(platform.of("heartbeat")) >= 2)


def test_the_end_of_the_pipe_is_the_end_of_the_beating() -> None:
    read, write = os.pipe()
    inbox = Inbox(read)
    os.write(write, b'{"active_tasks": 3}\n{"half')
    assert inbox.wait(0.05) is False
    assert inbox.fields == {"active_tasks": 3}
    os.close(write)
    assert inbox.wait(30) is True
    os.close(read)
