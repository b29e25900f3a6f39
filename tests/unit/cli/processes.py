"""Waiting for things to become true, and looking at processes."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path


def wait_until(is_true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline, clock = time.monotonic() + timeout_s, threading.Event()
    while not is_true():
        assert time.monotonic() < deadline, "did not become true in time"
        clock.wait(0.02)


def is_running(pid: int) -> bool:
    """Exists and is not a zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
