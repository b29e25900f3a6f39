"""Bounded memory for output of any size: a tail of bytes, and lines with a cap."""

from dataclasses import dataclass


class TailRing:
    """Keeps the last ``max_bytes`` of what is written, in at most twice that memory."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.total_bytes = 0
        self._kept = bytearray()

    def write(self, data: bytes) -> None:
        """Add data, forgetting the oldest past the bound."""
        self.total_bytes += len(data)
        self._kept += data[-self.max_bytes :]
        if len(self._kept) > 2 * self.max_bytes:
            del self._kept[: -self.max_bytes]

    @property
    def is_cut(self) -> bool:
        """True once more was written than is kept."""
        return self.total_bytes > self.max_bytes

    def tail(self) -> bytes:
        """The last bytes; after a cut this may begin inside a character or a line."""
        return bytes(self._kept[-self.max_bytes :])

    def text(self) -> str:
        """The tail as text: what is not UTF-8 becomes U+FFFD; a split first character goes."""
        data = self.tail()
        if self.is_cut:
            start = next((i for i, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
            data = data[start:]
        return data.decode("utf-8", "replace")

    def take_text(self) -> str:
        """The tail as text, and forget it."""
        text = self.text()
        self._kept.clear()
        self.total_bytes = 0
        return text

    def __bool__(self) -> bool:
        return self.total_bytes > 0


@dataclass(frozen=True)
class Line:
    """One line without its end; ``measured_bytes`` is its true length, cut or not."""

    text: str
    measured_bytes: int
    is_cut: bool


class LineSplitter:
    """Turns chunks of bytes into lines of at most ``max_bytes``; the rest of a line is skipped."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.longest_bytes = 0
        self.cut_count = 0
        self._head = bytearray()
        self._length = 0

    def feed(self, data: bytes) -> list[Line]:
        """The lines that ``data`` completes."""
        *complete, rest = data.split(b"\n")
        lines = []
        for part in complete:
            self._add(part)
            lines.append(self._end())
        self._add(rest)
        return lines

    def close(self) -> list[Line]:
        """The last line, if it had no end."""
        return [self._end()] if self._length else []

    def _add(self, part: bytes) -> None:
        self._head += part[: max(0, self.max_bytes - len(self._head))]
        self._length += len(part)

    def _end(self) -> Line:
        text = self._head.decode("utf-8", "replace").removesuffix("\r")
        line = Line(text, self._length, self._length > self.max_bytes)
        self.longest_bytes = max(self.longest_bytes, self._length)
        self.cut_count += line.is_cut
        self._head.clear()
        self._length = 0
        return line
