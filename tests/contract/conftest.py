"""A kernel on each store, and time that passes when the test says so."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import fakeredis
import pytest
import redis
import time_machine

from tests.support import invariants
from tests.support.dated import Dated
from tests.support.kernel import Kernel, bytes_client, platform_on

START = 1_800_000_000.0
PAUSE_MS = 150
SOON = {
    "retry_backoff_s": PAUSE_MS / 1000,
    "retry_backoff_max_s": PAUSE_MS * 2.5 / 1000,
    "redeliver_after_s": PAUSE_MS / 1000,
}
Pass = Callable[[int], None]


@pytest.fixture
def timed(store: redis.Redis) -> Iterator[tuple[Any, Pass]]:
    """A client in the test's own time, and how that passes: it stands still in between, on real
    servers too, so that no test depends on how quick the machine is."""
    if isinstance(store, fakeredis.FakeRedis):
        with time_machine.travel(START, tick=False) as traveller:
            yield store, lambda ms: traveller.shift(ms / 1000)
        return

    def real_ms() -> int:
        seconds, micros = store.time()
        return int(seconds) * 1000 + int(micros) // 1000

    dated = Dated(store, real_ms())

    def passing(ms: int) -> None:
        # Ids of streams are by the server's own time, and what is in one is of the past by now.
        dated.now_ms = max(dated.now_ms, real_ms())
        dated.pass_ms(ms)
        for key in store.scan_iter():
            left_ms = store.pttl(key)
            if left_ms >= 0:
                store.pexpire(key, max(0, left_ms - ms))

    yield dated.in_time(), passing


@pytest.fixture
def pass_ms(timed: tuple[Any, Pass]) -> Pass:
    """Lets so many ms pass for scripts and for keys that expire."""
    return timed[1]


@pytest.fixture
def bare(timed: tuple[Any, Pass]) -> Iterator[Kernel]:
    """As ``kernel``, for tests that break the store on purpose: no invariant is checked."""
    with closing(bytes_client(timed[0])) as rq:
        made = Kernel(platform_on(timed[0], rq, **SOON)).create()
        made.beat(seq=1, instance="i", sessions=[])
        yield made


@pytest.fixture
def kernel(bare: Kernel) -> Iterator[Kernel]:
    """A workspace with one slot whose runtime beats; its invariants hold at the end too."""
    yield bare
    invariants.check(bare)
    invariants.check_pending(bare)
