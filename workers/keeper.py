"""Keeps one worker process per queue running: starts again what ends by itself, stops all at once.

A child holds the reading end of a pipe whose other end only the keeper has, so it also ends when
the keeper is killed; without that, the workers of a killed ``python -m workers`` went on serving
beside those of the next one.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType

import structlog

from app.core.clock import Clock

KEPT = "--kept"
LOOK_S = 0.1
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
HEALTHY_AFTER_S = 30.0
clock = Clock()
log = structlog.get_logger(__name__)


class Child:
    """One worker process and when it may be started again."""

    def __init__(self, queue_name: str) -> None:
        self.queue_name = queue_name
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.start_at = 0.0
        self.pause_s = FIRST_PAUSE_S

    def start(self) -> None:
        """Start it; ``-P`` is handed on, so that both import the same packages."""
        safe_path = ["-P"] if sys.flags.safe_path else []
        self.started_at = clock.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *safe_path, "-m", "workers", self.queue_name, KEPT],
            stdin=subprocess.PIPE,
        )

    def look(self) -> None:
        """Start it, or note that it has ended: a crash soon after the start doubles the pause."""
        now = clock.monotonic()
        if self.process is None:
            if now >= self.start_at:
                self.start()
        elif self.process.poll() is not None:
            if now - self.started_at >= HEALTHY_AFTER_S:
                self.pause_s = FIRST_PAUSE_S
            log.warning(
                "worker ended; starting it again",
                queue=self.queue_name,
                exit_status=self.process.returncode,
                pause_s=self.pause_s,
            )
            self.forget()
            self.start_at = now + self.pause_s
            self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)

    def forget(self) -> None:
        """Give up the handle of an ended process."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None


def keep(queue_names: Sequence[str], drain_s: float) -> int:
    """Run until SIGTERM or SIGINT; then all end within ``drain_s`` or are killed."""
    has_stopped, never = False, threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        # A plain flag: setting a threading.Event here can deadlock with a wait it interrupted.
        nonlocal has_stopped
        has_stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    children = [Child(name) for name in queue_names]
    while not has_stopped:
        for child in children:
            child.look()
        clock.wait(never, LOOK_S)
    _stop(children, drain_s)
    return 0


def _stop(children: Sequence[Child], drain_s: float) -> None:
    end = clock.monotonic() + drain_s
    running = [child for child in children if child.process is not None]
    for child in running:
        child.process.terminate()  # type: ignore[union-attr]
    for child in running:
        process = child.process
        assert process is not None  # noqa: S101 - chosen above
        try:
            process.wait(max(0.0, end - clock.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning(
                "worker killed",
                queue=child.queue_name,
                mechanism="drain",
                limit_s=drain_s,
                setting="TURNKEEPER_DRAIN_S",
            )
            process.kill()
            process.wait()
        child.forget()


def end_with_the_keeper() -> threading.Thread:
    """Have this process end as by SIGTERM when the keeper's end of stdin closes."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=watch, name="keeper-watch", daemon=True)
    thread.start()
    return thread
