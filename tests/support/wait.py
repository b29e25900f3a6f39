"""The only place where tests sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

import gevent

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout_s: float, interval_s: float = 0.01) -> T:
    """Ask until the answer is true and return it; AssertionError when time runs out."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            name = getattr(predicate, "__qualname__", repr(predicate))
            raise AssertionError(f"{name} was not true within {timeout_s} s (last: {answer!r})")
        time.sleep(interval_s)


def let_pass(seconds: float) -> None:
    """Let other greenlets run for so long: the pace of a load, never a wait for something."""
    gevent.sleep(max(0.0, seconds))
