"""Walks a seed from its beginning; one that fails is made short and printed as a test to paste."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import fakeredis
import time_machine

from app.core.errors import TurnkeeperError
from tests.simulation.shrinking import shrunk, steps_of, symptom, text_of
from tests.simulation.walk import SETTINGS, STEPS, Step, Walk, planned
from tests.support import invariants
from tests.support.kernel import Kernel, platform_on

START = 1_800_000_000.0
SHRINK_S = 60.0
SHOWN_MAX = 200
# What a broken mechanism shows itself by: an invariant, or a refusal where none may be.
FOUND = (AssertionError, TurnkeeperError)
Control = tuple[str, str, str]


def walked(
    seed: int,
    steps: int | str,
    control: Control | None = None,
    kinds: Mapping[str, int] = STEPS,
    shrink_s: float | None = None,
) -> Walk:
    """A walk of so many steps, or of these (as a failure prints them); its seed is printed.

    ``shrink_s``: so long a failure may be made shorter; usual is not to, where it is wanted
    (``control``) or the steps are given.
    """
    print(f"seed {seed}")
    if isinstance(steps, str):
        return follow(seed, steps_of(steps), control)
    plan = list(islice(planned(seed, kinds), steps))
    shrink_s = (0 if control else SHRINK_S) if shrink_s is None else shrink_s
    try:
        return follow(seed, plan, control)
    except FOUND as fault:
        if shrink_s:
            fault.add_note(told(seed, plan, fault, control, shrink_s))
        raise


def follow(seed: int, steps: Iterable[Step], control: Control | None = None) -> Walk:
    """Take these steps from the beginning."""
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2, decode_responses=True)
    with client, time_machine.travel(START, tick=False) as traveller:
        kernel = Kernel(platform_on(client, **SETTINGS)).create()
        if control:
            kernel = kernel.altered(*control)
        walk = Walk(kernel, traveller, seed)
        for step in steps:
            walk.step(step)
        invariants.check_pending(kernel)
    return walk


def told(
    seed: int, plan: Sequence[Step], fault: BaseException, control: Control | None, within_s: float
) -> str:
    """A test that fails as this walk did, in as few steps as were found in time."""
    wanted, last = symptom(fault), getattr(fault, "at_step", len(plan) - 1)

    def fails(steps: Sequence[Step]) -> bool:
        try:
            follow(seed, steps, control)
        except FOUND as other:
            return symptom(other) == wanted
        return False

    left = shrunk(plan[: last + 1], fails, within_s)
    if len(left) > SHOWN_MAX:
        return f"{len(left)} of {last + 1} steps are needed: walk the seed up to step {last}"
    given = f", control={control!r}" if control else ""
    return (
        f"{len(left)} of {last + 1} steps do the same:\n\n"
        f"def test_seed_{seed}() -> None:\n"
        f'    walked({seed}, "{text_of(left)}"{given})\n'
    )
