"""What goes into a child's stdin: the prompt, further lines, and the end when it is wished."""

import os
import threading


class Feed:
    """Bytes for one descriptor, written by the drain thread only; the rest from any thread.

    ``wake`` is readable when there is something to do. ``is_kept_open`` False: the end follows
    the first data.
    """

    def __init__(self, descriptor: int, data: bytes, *, is_kept_open: bool = False) -> None:
        self.descriptor = descriptor
        self.wake, self._waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self._waker, False)
        os.set_blocking(descriptor, False)
        self._lock = threading.Lock()
        self._pending = bytearray(data)
        self._is_closing = not is_kept_open
        self._is_closed = False
        self.is_ended = False

    def write(self, data: bytes) -> bool:
        """Queue data; False when the end was already wished or the child has gone."""
        with self._lock:
            if self._is_closing or self._is_closed:
                return False
            self._pending += data
            self._ring()
            return True

    def finish(self) -> None:
        """Close the child's stdin once everything queued is written."""
        with self._lock:
            if not self._is_closing and not self._is_closed:
                self._is_closing = True
                self._ring()

    def awake(self) -> None:
        """Take the wake-ups. Drain thread only."""
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            return

    @property
    def has_work(self) -> bool:
        """Is there something to write, or the end to be made?"""
        with self._lock:
            return bool(self._pending) or self._is_closing

    def push(self, chunk_bytes: int) -> bool:
        """Write what the pipe takes; True when it is time for end(). Drain thread only.

        A child that reads no more is within its rights: the rest is dropped.
        """
        with self._lock:
            try:
                if self._pending:
                    written = os.write(self.descriptor, self._pending[:chunk_bytes])
                    del self._pending[:written]
            except BlockingIOError:
                return False
            except BrokenPipeError:
                self._pending.clear()
                self._is_closing = True
            return self._is_closing and not self._pending

    def end(self) -> None:
        """Close the child's stdin now. Drain thread only."""
        if not self.is_ended:
            self.is_ended = True
            os.close(self.descriptor)

    def close(self) -> None:
        """Give everything back; later lines are refused. Drain thread only."""
        self.end()
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self.wake)
                os.close(self._waker)

    def _ring(self) -> None:
        try:
            os.write(self._waker, b"!")
        except BlockingIOError:
            return  # 65,536 unread wake-ups say the same
