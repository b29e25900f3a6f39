"""What a played report says: lines for good, and on a terminal one line that moves."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

import click

from app.cli.plain_text import plain, shorten

BAR_WIDTH = 24
ERASE = "\r\x1b[2K"


class Narrator:
    """Tells what happens as it happens."""

    def __init__(
        self, stream: TextIO | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stdout
        self._is_tty = self._stream.isatty()
        self._now = monotonic
        self._began_at = monotonic()
        self._has_status = False

    def head(self, text: str) -> None:
        """The beginning of a part."""
        self._write(f"\n{click.style(plain(text), bold=True)}")

    def tell(self, text: str) -> None:
        """One thing that happened, with the seconds since the beginning."""
        self._write(f"  {self._now() - self._began_at:5.1f} s  {plain(text)}")

    def good(self, text: str) -> None:
        """A verdict that is as it should be."""
        self._write(click.style(f"  {plain(text)}", fg="green", bold=True))

    def bad(self, text: str) -> None:
        """A verdict that is not."""
        self._write(click.style(f"  {plain(text)}", fg="red", bold=True))

    def status(self, share: float, text: str) -> None:
        """How far a part has come; only on a terminal, and written over by the next line."""
        if not self._is_tty:
            return
        line = f"  [{bar(share)}] {plain(text)}"
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(ERASE + shorten(line, width))
        self._stream.flush()
        self._has_status = True

    def clear(self) -> None:
        """Take the moving line away."""
        if self._has_status:
            self._stream.write(ERASE)
            self._stream.flush()
        self._has_status = False

    def _write(self, line: str) -> None:
        self.clear()
        click.echo(line, file=self._stream)
        self._stream.flush()


def bar(share: float) -> str:
    """A bar of fixed width, in characters that every terminal has."""
    full = round(min(max(share, 0.0), 1.0) * BAR_WIDTH)
    return "#" * full + "." * (BAR_WIDTH - full)
