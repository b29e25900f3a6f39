"""What a peer's Python process says of its work; runs in the peers' environment, imports nothing.

A process says ``ready`` when it could begin, begins at a line on its input, and then tells of each
item in a line: key, place among the key's items, begun and ended in ns of the machine's clock.
"""

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

FLUSH_S = 0.02


class Words(NamedTuple):
    """The arguments of either role."""

    url: str
    hold_s: float = 0
    keys: int = 0
    items: int = 0
    gap_s: float = 0


def words() -> tuple[str, Words]:
    """``work URL HOLD_MS PROCESS`` or ``send URL KEYS ITEMS GAP_MS``."""
    role, url, *more = sys.argv[1:]
    if role == "work":
        return role, Words(url, hold_s=int(more[0]) / 1000)
    keys, items, gap_ms = map(int, more)
    return role, Words(url, 0, keys, items, gap_ms / 1000)


def places(told: Words) -> Iterator[tuple[int, int]]:
    """Each key and item once, in the order of sending: an item of each key, then the next."""
    for number in range(told.keys * told.items):
        at, key = divmod(number, told.keys)
        yield key, at


class Notes:
    """The items of this process, told in batches so that telling is not what is measured."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s, self._lines, self._never = hold_s, deque[str](), threading.Event()

    def item(self, key: int, at: int) -> None:
        """The work of one item: nothing, or to hold it for a moment."""
        begun_ns = time.monotonic_ns()
        if self._hold_s:
            self._never.wait(self._hold_s)
        self._lines.append(f"{key} {at} {begun_ns} {time.monotonic_ns()}\n")

    async def item_async(self, key: int, at: int) -> None:
        """The same for a peer whose handlers are coroutines."""
        begun_ns = time.monotonic_ns()
        if self._hold_s:
            await asyncio.sleep(self._hold_s)
        self._lines.append(f"{key} {at} {begun_ns} {time.monotonic_ns()}\n")

    def begin(self) -> None:
        """Say that this process is ready, wait for the word, tell from now on."""
        print("ready", flush=True)
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # a banner of the peer's own is none of our lines
        sys.stdin.readline()
        threading.Thread(target=self._tell, daemon=True).start()
        threading.Thread(target=_end_with_input, daemon=True).start()

    def _tell(self) -> None:
        while True:
            self._never.wait(FLUSH_S)
            while self._lines:  # never another deque in its place: an item may be about to append
                self._out.write(self._lines.popleft())
            self._out.flush()


def _end_with_input() -> None:
    """Nobody is left to end this process."""
    sys.stdin.read()
    os._exit(1)


def send(told: Words, one: Callable[[int, int], Any]) -> None:
    """Send each item, one after another; then tell when each was sent and when the call returned.

    With a gap, each waits for its turn, so that it meets an idle system.
    """
    never, lines = threading.Event(), []
    for key, at in places(told):
        if told.gap_s:
            never.wait(told.gap_s)
        sent_ns = time.monotonic_ns()
        one(key, at)
        lines.append(f"{key} {at} {sent_ns} {time.monotonic_ns()}\n")
    sys.stdout.write("".join(lines))


async def send_async(told: Words, one: Callable[[int, int], Any]) -> None:
    """The same for a peer whose sending is a coroutine."""
    lines = []
    for key, at in places(told):
        if told.gap_s:
            await asyncio.sleep(told.gap_s)
        sent_ns = time.monotonic_ns()
        await one(key, at)
        lines.append(f"{key} {at} {sent_ns} {time.monotonic_ns()}\n")
    sys.stdout.write("".join(lines))
