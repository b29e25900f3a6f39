"""Child processes of a test: started with their output in a file, killed, found to be gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]


class Process:
    """A command that can be started again; it and its children are a process group."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.argv = argv
        self.env = {name: value for name, value in env.items() if value is not None}
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.argv,
                env=self.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def family(self) -> list[psutil.Process]:
        """The process and everything below it."""
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.pid)
            return [own, *own.children(recursive=True)]
        return []

    def child(self, word: str) -> psutil.Process:
        """The descendant with this word in its command line; waits until it is there."""

        def find() -> psutil.Process | None:
            for process in self.family()[1:]:
                with suppress(psutil.Error):
                    if word in process.cmdline():
                        return process
            return None

        found = wait_until(find, 60)
        assert found is not None
        return found

    def kill9(self) -> None:
        """SIGKILL to the process alone, as the kernel's memory killer does."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait(60)

    def terminate(self, timeout_s: float = 15) -> float:
        """SIGTERM; returns how many seconds it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(timeout_s)
        return time.monotonic() - began

    def end(self) -> None:
        """After a test: nothing of the group may be left, however it went."""
        if self.process is None:
            return
        family = self.family()
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        for process in family:
            with suppress(psutil.Error):
                process.kill()


def end(process: subprocess.Popen[Any], within_s: float = 10) -> None:
    """SIGTERM, then SIGKILL where that is not enough; it has ended when this returns."""
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(60)


def module(name: str, *words: str) -> list[str]:
    """``python -m name …``."""
    return [sys.executable, "-m", name, *words]


def are_gone(processes: Sequence[psutil.Process]) -> bool:
    """Whether each has ended (one that only waits to be collected has)."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return False
    return True
