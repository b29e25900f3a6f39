"""``turnkeeper up`` as a person uses it: real processes, a real terminal signal, a second start."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = pytest.mark.e2e

START_S, CHAT_S, CRON_S, STOP_S = 60.0, 45.0, 150.0, 20.0


def wait_until(is_true: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline, clock = time.monotonic() + timeout_s, threading.Event()
    while not is_true():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        clock.wait(0.2)


class Platform:
    """One ``up``: its process, what it has printed, and every process it ever had."""

    def __init__(self, folder: Path) -> None:
        env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        argv = [sys.executable, "-m", "app.cli", "up", "--port", "0", "--data", str(folder)]
        self.folder = folder
        self.output = folder.parent / f"output-{time.monotonic_ns()}.txt"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(argv, stdout=file, stderr=file, env=env)
        self.family: dict[int, psutil.Process] = {}

    def printed(self) -> str:
        return self.output.read_text()

    def is_greeting(self) -> bool:
        assert self.process.poll() is None, self.printed()
        return "Ctrl-C stops everything" in self.printed()

    def note_family(self) -> None:
        for process in psutil.Process(self.process.pid).children(recursive=True):
            self.family[process.pid] = process

    @property
    def url(self) -> str:
        found = re.search(r"Turnkeeper runs at (\S+)", self.printed())
        assert found
        return found[1]

    @property
    def token(self) -> str:
        return (self.folder / "admin_token").read_text().strip()

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + "/readyz", trust_env=False).status_code == 200
        return False

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.get(self.url + path, headers=headers, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def turns(self) -> list[dict[str, Any]]:
        self.note_family()
        rows: list[dict[str, Any]] = self.get("/workspaces/demo/turns")["turns"]
        return rows

    def completed(self, lane: str) -> list[str]:
        return [
            row["id"] for row in self.turns() if row["lane"] == lane and row["state"] == "completed"
        ]

    def child(self, name: str) -> psutil.Process:
        """The living direct child whose command line names it."""
        for process in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
                if any(name in part for part in process.cmdline()):
                    return process
        raise AssertionError(f"no child named {name}: {self.printed()}")

    def killed(self) -> set[str]:
        """Who did not stop in time, by what was said at the end."""
        found = re.search(r"stopped\. Had to be killed: (.*)\.", self.printed())
        return set(found[1].split(", ")) if found else set()

    def leftovers(self) -> list[str]:
        return [
            str(process.cmdline())
            for process in self.family.values()
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]

    def interrupt(self) -> float:
        """Ctrl-C; how long the stop took."""
        self.note_family()
        started_at = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=STOP_S)
        return time.monotonic() - started_at


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[], Platform]]:
    started: list[Platform] = []

    def start() -> Platform:
        platform = Platform(tmp_path / "data")
        started.append(platform)
        wait_until(platform.is_greeting, START_S, "the greeting")
        platform.note_family()
        return platform

    yield start
    for platform in started:
        if platform.process.poll() is None:
            platform.note_family()
            platform.process.kill()
            platform.process.wait()
        for process in platform.family.values():
            if process.is_running():
                process.kill()


def test_chat_and_cron_complete_ctrl_c_stops_all_and_a_second_start_finds_the_turns(
    begin: Callable[[], Platform],
) -> None:
    first = begin()
    wait_until(lambda: bool(first.completed("chat")), CHAT_S, "a completed chat turn")
    wait_until(lambda: bool(first.completed("cron")), CRON_S, "a completed cron turn")
    assert "demo-tick" in json.dumps(first.get("/workspaces/demo/schedules"))
    ended = first.completed("chat") + first.completed("cron")
    assert first.interrupt() < STOP_S
    assert first.process.returncode == 0, first.printed()
    assert first.leftovers() == []
    assert "stopped." in first.printed()
    assert first.killed() <= {"tail"}, first.printed()  # that one has a second, the others more

    second = begin()
    assert set(ended) <= {row["id"] for row in second.turns()}
    schedules = second.get("/workspaces/demo/schedules")["schedules"]
    assert [row["name"] for row in schedules] == ["demo-tick"]
    assert "shown this once" not in second.printed()
    second.interrupt()
    assert second.leftovers() == []


def test_kill_9_of_up_leaves_no_process_and_loses_no_turn(begin: Callable[[], Platform]) -> None:
    first = begin()
    wait_until(lambda: bool(first.completed("chat")), CHAT_S, "a completed chat turn")
    before = {row["id"] for row in first.turns()}
    first.process.kill()
    first.process.wait()
    wait_until(lambda: first.leftovers() == [], STOP_S, "the end of every process")

    second = begin()
    assert before <= {row["id"] for row in second.turns()}
    second.interrupt()


def test_a_killed_process_of_the_platform_comes_back(begin: Callable[[], Platform]) -> None:
    platform = begin()
    for restarts, name in enumerate(("redis-server", "workers", "scheduler"), 1):
        platform.note_family()
        platform.child(name).kill()

        def is_restarted(count: int = restarts) -> bool:
            return platform.printed().count("starting it again") >= count

        wait_until(is_restarted, START_S, f"the line about {name}")
    wait_until(platform.is_ready, START_S, "readiness")
    chats = len(platform.completed("chat"))
    env = {**os.environ, "TURNKEEPER_TOKEN": platform.token}
    argv = [sys.executable, "-m", "app.cli", "--url", platform.url]
    argv += ["send", "demo", "again", "--wait"]
    answer = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90, check=False)
    assert answer.returncode == 0, answer.stderr + platform.printed()
    assert "You asked: again" in answer.stdout
    assert len(platform.completed("chat")) > chats
    platform.interrupt()
