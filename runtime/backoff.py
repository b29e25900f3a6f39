"""How long to wait before the next try."""

import random


def delay_s(attempt: int, low_s: float, high_s: float, jitter: float | None = None) -> float:
    """Doubling from ``low_s`` to ``high_s``, times 0.5–1.0 so that a fleet does not march in step.

    ``attempt`` counts failures from 1; ``jitter`` in [0, 1] replaces the random draw.
    """
    step_s = min(high_s, low_s * 2.0 ** min(max(attempt, 1) - 1, 30))
    draw = random.random() if jitter is None else jitter
    return step_s * (0.5 + draw / 2)
