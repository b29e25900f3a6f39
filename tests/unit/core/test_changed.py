"""Turns by their last change, read while they change."""

import json
from collections.abc import Iterator

import fakeredis
import pytest

from app.core import changed
from app.core.changed import Place
from app.core.records import Turn
from tests.support.kernel import Kernel, platform_on

COUNT = 2 * changed.PAGE + 50
FIRST_MS = 1_800_000_000_000


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2, decode_responses=True)
    with client:
        yield Kernel(platform_on(client)).create()


def test_who_reads_on_misses_none_that_did_not_change(kernel: Kernel) -> None:
    """Of three pages' worth the newest change while they are read: those behind them move up."""
    record = json.loads(kernel.data.hget(kernel.keys["turns"], kernel.submit().turn_id))
    kernel.data.delete(kernel.keys["changed"])
    places = {f"trn_{number:04}": FIRST_MS + number // 3 for number in range(COUNT)}
    for turn_id, at_ms in places.items():
        made = json.dumps({**record, "id": turn_id, "state_at": at_ms})
        kernel.data.hset(kernel.keys["turns"], turn_id, made)
    kernel.data.zadd(kernel.keys["changed"], places)
    seen: list[str] = []

    def wanted(turn: Turn) -> bool:
        seen.append(turn.id)
        if len(seen) == changed.PAGE:
            later = dict.fromkeys(seen[:20], FIRST_MS + 1_000_000)
            kernel.data.zadd(kernel.keys["changed"], later)
        return False

    after = Place(FIRST_MS + COUNT, "trn_x")
    assert changed.page(kernel.platform, kernel.id, 10, after=after, wanted=wanted).turns == []
    assert seen == sorted(places, reverse=True), "each once, in order"
