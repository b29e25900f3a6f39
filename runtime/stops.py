"""Requests to stop, from signals or from a test."""

import os
import select
import signal
from types import FrameType


class StopRequests:
    """Counts requests through a pipe: safe in a signal handler, where an Event is not."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._count = 0

    def request(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Ask to stop; a second time, to stop without a drain. Also a signal handler."""
        try:
            os.write(self._write, b"!")
        except BlockingIOError:
            return  # 65,536 unread requests say the same

    def wait(self, seconds: float, more_than: int = 0) -> bool:
        """True once more than ``more_than`` requests were made; False after ``seconds``."""
        if self._count <= more_than and select.select([self._read], [], [], max(0.0, seconds))[0]:
            self._count += len(os.read(self._read, 4096))
        return self._count > more_than

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as requests. Main thread only."""
        signal.signal(signal.SIGTERM, self.request)
        signal.signal(signal.SIGINT, self.request)

    def close(self) -> None:
        """Close the pipe; after signals are no longer taken."""
        os.close(self._read)
        os.close(self._write)
