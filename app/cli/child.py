"""One process of ``turnkeeper up``: how it is started, read, and put down."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LINE_MAX_BYTES = 65_536
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 15.0
HEALTHY_AFTER_S = 30.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ChildSpec:
    """What to run. ``stop_after_s``: from SIGTERM to SIGKILL."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stop_after_s: float = 3.0
    keep_fds: tuple[int, ...] = ()
    is_answering: Callable[[], bool] | None = None
    answer_within_s: float = 15.0


@dataclass
class Child:
    """A running (or crashed and waiting) process; times are of the monotonic clock."""

    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    exits: int = 0
    started_at: float = 0.0
    answered_at: float = 0.0
    asked_at: float = 0.0
    restart_at: float = 0.0
    has_closed_output: bool = False
    _rest: bytes = field(default=b"", repr=False)

    def start(self, now: float) -> None:
        """Start it: own process group (a Ctrl-C of the terminal is ours to pass on), no stdin.

        Raises:
            OSError: when the program cannot be started at all.
        """
        parent, die_with_parent = os.getpid(), _death_signal()

        def in_child() -> None:
            die_with_parent()
            if os.getppid() != parent:  # the parent died before the kernel knew of our wish
                os._exit(1)

        self.process = subprocess.Popen(
            self.spec.argv,
            env=dict(self.spec.env),
            cwd=self.spec.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=self.spec.keep_fds,
            process_group=0,
            preexec_fn=in_child,  # noqa: PLW1509 - this process has one thread
        )
        assert self.process.stdout is not None  # noqa: S101 - PIPE was asked for
        os.set_blocking(self.process.stdout.fileno(), False)
        self.started_at = self.answered_at = self.asked_at = now
        self._rest, self.has_closed_output = b"", False

    def read_lines(self) -> list[str]:
        """The whole lines that are there now; one that is too long comes in pieces."""
        stream = self.process.stdout if self.process else None
        data = b""
        while stream is not None and len(data) < 16 * LINE_MAX_BYTES:
            with suppress(BlockingIOError):
                if chunk := os.read(stream.fileno(), LINE_MAX_BYTES):
                    data += chunk
                    continue
                self.has_closed_output = True
            break
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_MAX_BYTES:
            whole, self._rest = [*whole, self._rest], b""
        return [
            line[at : at + LINE_MAX_BYTES].decode(errors="replace").rstrip("\r")
            for line in whole
            for at in range(0, len(line) or 1, LINE_MAX_BYTES)
        ]

    def close(self) -> list[str]:
        """After the exit: the last lines; the pipe is closed and nothing of the group is left."""
        process, self.process = self.process, None
        if process is None:
            return []
        kill_group(process.pid)
        self.process = process
        lines = self.read_lines()
        self.process = None
        if self._rest:
            lines.append(self._rest.decode(errors="replace"))
        if process.stdout is not None:
            process.stdout.close()
        return lines

    def ask_to_stop(self) -> None:
        """SIGTERM to the process itself; it puts its own children down."""
        if self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        """SIGKILL to the process and to its group."""
        if self.process is not None and self.process.poll() is None:
            kill_group(self.process.pid)
            self.process.kill()


def kill_group(group: int) -> None:
    """SIGKILL to what is left of a process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def backoff_s(exits: int) -> float:
    """The pause before a restart: 0.5 s, doubled with each early exit, 15 s at most."""
    return min(FIRST_BACKOFF_S * 2.0 ** min(max(exits - 1, 0), 10), LONGEST_BACKOFF_S)


def _death_signal() -> Callable[[], object]:
    """A call for the child that makes the kernel end it (SIGTERM) when this thread's process ends.

    Prepared before the fork, because the child may import nothing. Linux only: elsewhere a
    SIGKILL of ``up`` leaves its children, and the lock of the data directory says so.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
