"""Both pipes of a child drained at once, its stdin fed at once, its exit noticed at once."""

import errno
import os
import selectors
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from runtime.feed import Feed

CHUNK_BYTES = 65_536
AFTER_EXIT_QUIET_S = 0.1
AFTER_EXIT_MAX_S = 1.0
EXIT_POLL_S = 0.05

Sink = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Ends:
    """Our ends of a child's streams; ``feed`` None when its stdin is /dev/null."""

    reads: dict[int, str]
    feed: Feed | None = None


def drain(process: subprocess.Popen[bytes], ends: Ends, sink: Sink) -> None:
    """Move bytes until the child has exited and its pipes are empty or quiet. Blocks.

    Never waits before draining, and never waits for the end of a pipe that a grandchild still
    holds: once the child is gone it reads until 0.1 s of quiet, for 1 s at most. Closes all ends.
    """
    selector = selectors.DefaultSelector()
    for fd in ends.reads:
        os.set_blocking(fd, False)
        selector.register(fd, selectors.EVENT_READ)
    if ends.feed is not None:
        selector.register(ends.feed.wake, selectors.EVENT_READ)
        selector.register(ends.feed.descriptor, selectors.EVENT_WRITE)
    exit_fd = _exit_descriptor(process.pid)
    if exit_fd is not None:
        selector.register(exit_fd, selectors.EVENT_READ)
    try:
        _while_running(process, selector, ends, sink, exit_fd)
        _after_exit(selector, ends, sink, exit_fd)
    finally:
        for fd in ends.reads.keys() & selector.get_map().keys():
            os.close(fd)
        selector.close()
        if ends.feed is not None:
            ends.feed.close()
        if exit_fd is not None:
            os.close(exit_fd)


def _while_running(
    process: subprocess.Popen[bytes],
    selector: selectors.BaseSelector,
    ends: Ends,
    sink: Sink,
    exit_fd: int | None,
) -> None:
    feed, timeout_s = ends.feed, EXIT_POLL_S if exit_fd is None else None
    while process.poll() is None:
        for key, _ in selector.select(timeout_s):
            if key.fd in ends.reads:
                _read(selector, key.fd, ends, sink)
            elif feed is not None and not feed.is_ended and key.fd != exit_fd:
                _feed(selector, feed, is_wake=key.fd == feed.wake)


def _after_exit(
    selector: selectors.BaseSelector, ends: Ends, sink: Sink, exit_fd: int | None
) -> None:
    for fd in selector.get_map().keys() - ends.reads.keys():
        selector.unregister(fd)
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
        selector.unregister(fd)
        os.close(fd)


def _feed(selector: selectors.BaseSelector, feed: Feed, *, is_wake: bool) -> None:
    """Write; while there is nothing to write only the wake-up is listened to."""
    if is_wake:
        feed.awake()
        if feed.has_work and feed.descriptor not in selector.get_map():
            selector.register(feed.descriptor, selectors.EVENT_WRITE)
    elif feed.push(CHUNK_BYTES):
        selector.unregister(feed.descriptor)
        selector.unregister(feed.wake)
        feed.end()
    elif not feed.has_work:
        selector.unregister(feed.descriptor)  # else a writable pipe would spin


def _exit_descriptor(pid: int) -> int | None:
    """A descriptor that becomes readable at the exit; None where there is no pidfd."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
