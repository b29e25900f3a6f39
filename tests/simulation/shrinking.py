"""Makes a failing walk short: which of its steps it takes to fail in the same way.

Delta debugging: ever smaller parts are left out, and what still fails is kept.
"""

import time
import traceback
from collections.abc import Callable, Iterable, Sequence

from tests.simulation.walk import Step

Symptom = tuple[str, str]


def symptom(fault: BaseException) -> Symptom:
    """By what two failures are held to be the same: kind, and the tests' own line that raised."""
    frames = [one for one in traceback.extract_tb(fault.__traceback__) if "/tests/" in one.filename]
    last = frames[-1]
    return type(fault).__name__, f"{last.filename}:{last.lineno}"


def shrunk(
    steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool], within_s: float
) -> list[Step]:
    """Some of these steps, in order, that fail too; of which, if time allows, none can be spared.

    Args:
        steps: a walk that fails, ending with the step at which it does.
        fails: whether these steps fail in the same way.
        within_s: so long it may take; what was reached by then is the answer.
    """
    until = time.monotonic() + within_s
    left = _last_ones(list(steps), fails, until)
    size = max(1, len(left) // 2)
    while time.monotonic() < until:
        shorter = _without_a_part(left, size, fails, until)
        if shorter is not None:
            left = shorter
            size = min(size, max(1, len(left) // 2))
        elif size == 1:
            break
        else:
            size = max(1, size // 2)
    return left


def _last_ones(
    steps: list[Step], fails: Callable[[Sequence[Step]], bool], until: float
) -> list[Step]:
    """The shortest of its ends, each twice as long, that fails by itself: the cheapest to try."""
    count = 8
    while count < len(steps) and time.monotonic() < until:
        if fails(steps[-count:]):
            return steps[-count:]
        count *= 2
    return steps


def _without_a_part(
    steps: list[Step], size: int, fails: Callable[[Sequence[Step]], bool], until: float
) -> list[Step] | None:
    """The steps without every part of this size that can be spared; None: none can."""
    left, end = steps, len(steps) - 1  # the last is where it fails
    while end > 0 and time.monotonic() < until:
        start = max(0, end - size)
        shorter = left[:start] + left[end:]
        if fails(shorter):
            left = shorter
        end = start
    return left if len(left) < len(steps) else None


def text_of(steps: Iterable[Step]) -> str:
    return ", ".join(f"{at} {name}" for at, name in steps)


def steps_of(text: str) -> list[Step]:
    """The steps of a ``text_of``."""
    pairs = [part.split() for part in text.split(",")]
    return [Step(int(at), name) for at, name in pairs]
