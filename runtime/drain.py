"""Both pipes of a child drained at once, its stdin fed at once, its exit noticed at once."""

import errno
import os
import selectors
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

CHUNK_BYTES = 65_536
AFTER_EXIT_QUIET_S = 0.1
AFTER_EXIT_MAX_S = 1.0
EXIT_POLL_S = 0.05

Sink = Callable[[str, bytes], None]


@dataclass
class Ends:
    """Our ends of a child's streams; ``stdin`` None when it has /dev/null."""

    reads: dict[int, str]
    stdin: int | None = None
    data: memoryview = memoryview(b"")


def drain(process: subprocess.Popen[bytes], ends: Ends, sink: Sink) -> None:
    """Move bytes until the child has exited and its pipes are empty or quiet. Blocks.

    Never waits before draining, and never waits for the end of a pipe that a grandchild still
    holds: once the child is gone it reads until 0.1 s of quiet, for 1 s at most. Closes all ends.
    """
    selector = selectors.DefaultSelector()
    for fd in (*ends.reads, *([] if ends.stdin is None else [ends.stdin])):
        os.set_blocking(fd, False)
    for fd in ends.reads:
        selector.register(fd, selectors.EVENT_READ)
    if ends.stdin is not None:
        selector.register(ends.stdin, selectors.EVENT_WRITE)
    exit_fd = _exit_descriptor(process.pid)
    if exit_fd is not None:
        selector.register(exit_fd, selectors.EVENT_READ)
    try:
        _while_running(process, selector, ends, sink, exit_fd)
        _after_exit(selector, ends, sink, exit_fd)
    finally:
        for key in list(selector.get_map().values()):
            if key.fd != exit_fd:
                os.close(key.fd)
        selector.close()
        if exit_fd is not None:
            os.close(exit_fd)


def _while_running(
    process: subprocess.Popen[bytes],
    selector: selectors.BaseSelector,
    ends: Ends,
    sink: Sink,
    exit_fd: int | None,
) -> None:
    timeout_s = EXIT_POLL_S if exit_fd is None else None
    while process.poll() is None:
        for key, _ in selector.select(timeout_s):
            if key.fd == ends.stdin:
                _feed(selector, ends)
            elif key.fd != exit_fd:
                _read(selector, key.fd, ends, sink)


def _after_exit(
    selector: selectors.BaseSelector, ends: Ends, sink: Sink, exit_fd: int | None
) -> None:
    if exit_fd is not None:
        selector.unregister(exit_fd)
    if ends.stdin is not None and ends.stdin in selector.get_map():
        _drop(selector, ends.stdin)
    until = time.monotonic() + AFTER_EXIT_MAX_S
    while selector.get_map() and time.monotonic() < until:
        ready = selector.select(AFTER_EXIT_QUIET_S)
        if not ready:
            return
        for key, _ in ready:
            _read(selector, key.fd, ends, sink)


def _read(selector: selectors.BaseSelector, fd: int, ends: Ends, sink: Sink) -> None:
    try:
        data = os.read(fd, CHUNK_BYTES)
    except BlockingIOError:
        return
    except OSError as error:
        if error.errno != errno.EIO:  # EIO is how a pseudo-terminal says "end"
            raise
        data = b""
    if data:
        sink(ends.reads[fd], data)
    else:
        _drop(selector, fd)


def _feed(selector: selectors.BaseSelector, ends: Ends) -> None:
    assert ends.stdin is not None  # noqa: S101 - only called for the registered stdin
    try:
        written = os.write(ends.stdin, ends.data[:CHUNK_BYTES]) if ends.data else 0
        ends.data = ends.data[written:]
    except BlockingIOError:
        return
    except BrokenPipeError:
        ends.data = memoryview(b"")  # the child reads no more: its right
    if not ends.data:
        _drop(selector, ends.stdin)


def _drop(selector: selectors.BaseSelector, fd: int) -> None:
    selector.unregister(fd)
    os.close(fd)


def _exit_descriptor(pid: int) -> int | None:
    """A descriptor that becomes readable at the exit; None where there is no pidfd."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
