"""Fixtures: a fake platform, a supervisor in a thread, and a check that nothing is left."""

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from runtime.agents.base import Command
from runtime.options import RunOptions
from runtime.settings import RuntimeSettings
from runtime.stops import StopRequests
from runtime.supervisor import Supervisor

from .fake_platform import FakePlatform, wait_until

WORKSPACE = "ws_test"


def until(path: Path) -> str:
    """For ``sh``: wait for the file. The test, and no clock, says when a child goes on."""
    return f"while [ ! -e {path} ]; do sleep 0.02; done"


def children() -> set[int]:
    return {
        one.pid
        for one in psutil.Process().children(recursive=True)
        if one.status() != psutil.STATUS_ZOMBIE
    }


@pytest.fixture(autouse=True)
def nothing_is_left(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """After a test no thread, child, descriptor or session directory is left that it made."""
    directories = tmp_path_factory.mktemp("sessions")
    monkeypatch.setenv("TMPDIR", str(directories))
    monkeypatch.setattr(tempfile, "tempdir", str(directories))
    threads_before, children_before = set(threading.enumerate()), children()
    descriptors_before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    wait_until(lambda: not (set(threading.enumerate()) - threads_before), 15)
    wait_until(lambda: not (children() - children_before), 15)
    wait_until(lambda: not list(directories.glob("turnkeeper-*")), 15)
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors_before


@pytest.fixture
def platform(nothing_is_left: None) -> Iterator[FakePlatform]:
    fake = FakePlatform()
    yield fake
    fake.close()


@pytest.fixture
def settings(platform: FakePlatform, tmp_path: Path) -> RuntimeSettings:
    """Short intervals through the same parsing as in production."""
    return RuntimeSettings.from_env(
        {
            **os.environ,
            "TURNKEEPER_URL": platform.url,
            "TURNKEEPER_TOKEN": "secret-token",
            "TURNKEEPER_HEARTBEAT_INTERVAL_S": "0.1",
            "TURNKEEPER_HEARTBEAT_MIN_S": "0.05",
            "TURNKEEPER_KEEPALIVE_S": "60",
            "TURNKEEPER_SPOOL_DIR": str(tmp_path / "spool"),
            "TURNKEEPER_STATE_DIR": str(tmp_path / "state"),
            "TURNKEEPER_DRAIN_S": "0.3",
            "TURNKEEPER_EXIT_WAIT_S": "10",
            "TURNKEEPER_KILL_GRACE_S": "0.3",
            "TURNKEEPER_POLL_WAIT_S": "2",
            "TURNKEEPER_OUTPUT_INTERVAL_S": "0.2",
            "TURNKEEPER_RETRY_MIN_S": "0.05",
            "TURNKEEPER_RETRY_MAX_S": "0.2",
        }
    )


class Running:
    """A supervisor in a thread of the test."""

    def __init__(self, settings: RuntimeSettings, options: RunOptions) -> None:
        self.stops = StopRequests()
        self.supervisor = Supervisor(settings, options, self.stops)
        self.exit_code: int | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.exit_code = self.supervisor.run()

    def stop(self, timeout_s: float = 15.0) -> int | None:
        if self.thread.is_alive():
            self.stops.request()
        self.thread.join(timeout_s)
        assert not self.thread.is_alive()
        if self.stops is not None:
            self.stops.close()
            self.stops = None  # type: ignore[assignment]
        return self.exit_code


Start = Callable[..., Running]


@pytest.fixture
def start(settings: RuntimeSettings, platform: FakePlatform) -> Iterator[Start]:
    """Start a supervisor for a command; stopped after the test."""
    started: list[Running] = []

    def run(*argv: str, max_concurrent: int = 1, **changes: Any) -> Running:
        names = {field.name for field in fields(Command)} - {"argv"}
        modes = {name: changes.pop(name) for name in names & changes.keys()}
        agent = changes.pop("agent", "plain")
        options = RunOptions(WORKSPACE, Command(argv, **modes), agent, max_concurrent)
        running = Running(replace(settings, **changes), options)
        started.append(running)
        return running

    yield run
    for running in started:
        if running.stops is not None:
            running.stops.request()
            running.stop()


@pytest.fixture
def python() -> str:
    return sys.executable
