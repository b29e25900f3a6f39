"""One kill ladder per session, climbed in a thread of its own."""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import structlog

from runtime import threads
from runtime.cgroup import Group
from runtime.kill import KILL_RUNGS, LEFTOVER_RUNGS, KillReport, Target, climb, find_alive

log = structlog.get_logger(__name__)

LEFTOVER_GRACE_S = 2.0
REPORTED_MAX = 50


class Killer:
    """Starts at most one ladder; a later, harsher wish hurries it."""

    def __init__(
        self, target: Target, grace_s: float, strays: Callable[[], list[int]], group: Group
    ) -> None:
        self.left: tuple[str, ...] = ()
        self._why = ""
        self._report = KillReport((), ())
        self._elapsed_s = 0.0
        self._target = target
        self._grace_s = grace_s
        self._strays = strays
        self._group = group
        self._hurry = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, rungs: tuple[signal.Signals, ...], why: str) -> None:
        """Begin to climb, without waiting for it."""
        with self._lock:
            if rungs == KILL_RUNGS or (self._thread is not None and rungs == LEFTOVER_RUNGS):
                self._hurry.set()
            self._begin(rungs, why)

    def clean_up(self) -> None:
        """After the leader's exit: wait for the ladder, or end what the leader left behind."""
        if self._thread is None and self._find():
            with self._lock:
                self._begin(LEFTOVER_RUNGS, "leftover_processes")
        if self._thread is not None:
            self._thread.join()

    def limits(self, mechanism: str, reason: str) -> list[dict[str, Any]]:
        """What the ladder did, as an entry of finish's ``limits``; none if it was not climbed.

        ``mechanism`` empty: the ladder's own reason, such as ``leftover_processes``.
        """
        if not self._why:
            return []
        signaled = self._report.signaled
        entry = {
            "mechanism": mechanism or self._why,
            "reason": reason,
            "limit_s": self._grace_s,
            "setting": "TURNKEEPER_KILL_GRACE_S",
            "elapsed_s": round(self._elapsed_s, 3),
            "signaled": [
                {"pid": one.pid, "name": one.name, "signal": one.signal}
                for one in signaled[:REPORTED_MAX]
            ],
            "left": list(self.left[:REPORTED_MAX]),
        }
        if len(signaled) > REPORTED_MAX:
            entry["signaled_count"] = len(signaled)
        return [entry]

    def _begin(self, rungs: tuple[signal.Signals, ...], why: str) -> None:
        """Under the lock. The first ladder stays the only one: a later wish can but hurry it."""
        if self._thread is None:
            grace_s = LEFTOVER_GRACE_S if rungs == LEFTOVER_RUNGS else self._grace_s
            self._thread = threads.start(
                f"kill-{self._target.pid}",
                lambda: self._climb(rungs, why, grace_s),
                lambda: None,
            )

    def _climb(self, rungs: tuple[signal.Signals, ...], why: str, grace_s: float) -> None:
        began_at = time.monotonic()
        report = climb(self._find, rungs, grace_s, self._hurry, self._group.kill)
        self.left, self._report, self._why = report.left, report, why
        self._elapsed_s = time.monotonic() - began_at
        _log(self._target, why, report)

    def _find(self) -> list[psutil.Process]:
        return find_alive(self._target, [*self._strays(), *self._group.pids()])


def _log(target: Target, why: str, report: KillReport) -> None:
    signaled = [f"{one.signal} {one.pid} {one.name}" for one in report.signaled]
    if report.left:
        log.error("processes_left", session_id=target.mark, mechanism=why, left=report.left)
    log.info("processes_ended", session_id=target.mark, mechanism=why, signaled=signaled)
