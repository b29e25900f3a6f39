"""The invariants check beside random walks: nothing is reported that is not so, whatever moves
between its reads; and what a broken mechanism leaves is reported."""

from collections.abc import Callable, Mapping
from typing import Any

import fakeredis
import pytest
import time_machine

from app.core import invariants, snapshots
from app.core.platform import Platform
from app.core.redis_clients import shared
from tests.simulation.test_interleavings import CONTROLS
from tests.simulation.walk import SETTINGS, Walk
from tests.simulation.walking import FOUND, START
from tests.support.kernel import Kernel, platform_on

STEPS = 300
# Of the walk's controls those that leave something that one look can see.
SEEN = {
    "left in the inbox": {"inbox_stale"},
    "left in the lane": {"sums_disagree", "turn_misplaced"},
    "left in the stream": {"entry_left"},
    "slot kept": {"session_misfiled"},
}


class Moving:
    """A client on which something happens between the reader's picks and its transaction."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.walk: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def pipeline(self, transaction: bool = True) -> Any:
        self.walk()
        return self._client.pipeline(transaction=transaction)


def begun(
    seed: int, control: tuple[str, str, str] | None = None
) -> tuple[Kernel, Moving, Platform]:
    """A kernel to walk on, a client that moves it, and a platform on that client."""
    print(f"seed {seed}")
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2, decode_responses=True)
    kernel = Kernel(platform_on(client, **SETTINGS)).create()
    if control:
        kernel = kernel.altered(*control)
    moving = Moving(client)
    return kernel, moving, Platform(kernel.platform.settings, shared(moving))


def found(
    platform: Platform, look: int, parts: Mapping[str, int] = snapshots.PARTS
) -> list[invariants.Violation]:
    return invariants.check(snapshots.read(platform, "ws", look, parts))


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_reported_of_any_interleaving(seed: int) -> None:
    with time_machine.travel(START, tick=False) as traveller:
        kernel, _, platform = begun(seed)
        walk = Walk(kernel, traveller, seed)
        for look in range(STEPS):
            walk.step()
            assert found(platform, look) == []


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_reported_of_what_moves_between_the_reads(seed: int) -> None:
    """A part of three of each set, so that every look leaves things out."""
    parts = dict.fromkeys(snapshots.PARTS, 3)
    with time_machine.travel(START, tick=False) as traveller:
        kernel, moving, platform = begun(100 + seed)
        walk = Walk(kernel, traveller, 100 + seed)
        moving.walk = walk.step
        for look in range(STEPS // 3):
            assert found(platform, look, parts) == []
        assert walk.count > STEPS


@pytest.mark.parametrize("name", SEEN)
def test_control_what_a_missing_mechanism_leaves_is_reported(name: str) -> None:
    codes: set[str] = set()
    for seed in range(9):
        with time_machine.travel(START, tick=False) as traveller:
            kernel, _, platform = begun(seed, CONTROLS[name])
            walk = Walk(kernel, traveller, seed)
            try:
                for _ in range(STEPS):
                    walk.step()
            except FOUND:
                codes |= {row.code for row in found(platform, 0)}
    assert codes & SEEN[name], codes
