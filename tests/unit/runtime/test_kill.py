"""The kill ladder on real processes, whatever way they are found."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import psutil

from runtime.kill import CANCEL_RUNGS, KILL_RUNGS, climb


def test_the_ladder_ends_only_when_two_looks_in_a_row_find_nothing() -> None:
    """One that forked and exited during a look leaves a child which that look has not seen."""
    children = [subprocess.Popen(["sleep", "30"], start_new_session=True) for _ in range(2)]
    first, late = (psutil.Process(child.pid) for child in children)
    looks = iter([[first], [], [late], [], []])
    report = climb(lambda: next(looks), KILL_RUNGS, 0.1, threading.Event())
    assert [one.pid for one in report.signaled] == [first.pid, late.pid]
    assert [child.wait(5) for child in children] == [-signal.SIGKILL] * 2
    assert list(looks) == []


class GoneAtOnce:
    """Ends of its first signal, and is waited for, before anybody can ask for its status."""

    pid = 2**22

    def name(self) -> str:
        return "quick"

    def send_signal(self, number: int) -> None:
        return

    def status(self) -> str:
        raise psutil.NoSuchProcess(self.pid)


def test_a_signal_that_ended_its_process_at_once_is_in_the_report() -> None:
    looks: Iterator[list[Any]] = iter([[GoneAtOnce()], [], []])
    report = climb(lambda: next(looks), CANCEL_RUNGS, 0.1, threading.Event())
    assert [(one.name, one.signal) for one in report.signaled] == [("quick", "SIGINT")]


def test_nothing_to_end_is_seen_by_one_look() -> None:
    looks = iter([[]])
    report = climb(lambda: next(looks), KILL_RUNGS, 0.1, threading.Event())
    assert (report.signaled, report.left) == ((), ())
