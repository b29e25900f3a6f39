"""The processes this one started, and the orphans it inherited as subreaper."""

import os
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

import psutil

from runtime.kill import read_mark


class Children:
    """Starts processes and reaps orphans without taking an exit status from subprocess.

    A wait for *any* child would eat the status of one that Popen waits for, and Popen then
    reports 0. So starting and reaping exclude each other, and reaping spares known pids.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Popen in a new session. Raises: OSError and ValueError as Popen does."""
        with self._lock:
            process = subprocess.Popen(list(argv), start_new_session=True, **options)
            self._known[process.pid] = process
            return process

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """Call after the process was waited for."""
        with self._lock:
            self._known.pop(process.pid, None)

    def reap_orphans(self) -> int:
        """Collect dead orphans; how many."""
        reaped = 0
        with self._lock:
            for process in self._unknown():
                try:
                    if process.status() == psutil.STATUS_ZOMBIE:
                        reaped += os.waitpid(process.pid, os.WNOHANG)[0] != 0
                except (ChildProcessError, psutil.Error):
                    continue  # collected elsewhere
        return reaped

    def strays(self) -> list[int]:
        """Living orphans that carry no session's marker (they cleared their environment)."""
        with self._lock:
            return [one.pid for one in self._unknown() if read_mark(one.pid) is None]

    def _unknown(self) -> list[psutil.Process]:
        return [one for one in psutil.Process().children() if one.pid not in self._known]
