"""One kill ladder per session, climbed in a thread of its own."""

import signal
import threading
from collections.abc import Callable

import psutil
import structlog

from runtime import threads
from runtime.kill import KILL_RUNGS, LEFTOVER_RUNGS, KillReport, Target, climb, find_alive

log = structlog.get_logger(__name__)

LEFTOVER_GRACE_S = 2.0


class Killer:
    """Starts at most one ladder; a later, harsher wish hurries it."""

    def __init__(self, target: Target, grace_s: float, strays: Callable[[], list[int]]) -> None:
        self.left: tuple[str, ...] = ()
        self._target = target
        self._grace_s = grace_s
        self._strays = strays
        self._hurry = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, rungs: tuple[signal.Signals, ...], why: str) -> None:
        """Begin to climb, without waiting for it."""
        grace_s = LEFTOVER_GRACE_S if rungs == LEFTOVER_RUNGS else self._grace_s
        with self._lock:
            if rungs == KILL_RUNGS or (self._thread is not None and rungs == LEFTOVER_RUNGS):
                self._hurry.set()
            if self._thread is None:
                self._thread = threads.start(
                    f"kill-{self._target.pid}",
                    lambda: self._climb(rungs, why, grace_s),
                    lambda: None,
                )

    def clean_up(self) -> None:
        """After the leader's exit: wait for the ladder, or end what the leader left behind."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        elif self._find():
            self._climb(LEFTOVER_RUNGS, "leftover_processes", LEFTOVER_GRACE_S)

    def _climb(self, rungs: tuple[signal.Signals, ...], why: str, grace_s: float) -> None:
        report = climb(self._find, rungs, grace_s, self._hurry)
        self.left = report.left
        _log(self._target, why, report)

    def _find(self) -> list[psutil.Process]:
        return find_alive(self._target, self._strays())


def _log(target: Target, why: str, report: KillReport) -> None:
    signaled = [f"{one.signal} {one.pid} {one.name}" for one in report.signaled]
    if report.left:
        log.error("processes_left", session_id=target.mark, mechanism=why, left=report.left)
    log.info("processes_ended", session_id=target.mark, mechanism=why, signaled=signaled)
