"""A kernel on each store, and time that passes: virtual on the fake, real on servers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import fakeredis
import pytest
import redis
import time_machine

from tests.support import invariants
from tests.support.kernel import Kernel, bytes_client, platform_on
from tests.support.wait import wait_until

START = 1_800_000_000.0
PAUSE_MS = 150  # real servers wait it out in earnest; two calls of a busy machine stay below it
SOON = {
    "retry_backoff_s": PAUSE_MS / 1000,
    "retry_backoff_max_s": PAUSE_MS * 2.5 / 1000,
    "redeliver_after_s": PAUSE_MS / 1000,
}
Pass = Callable[[int], None]


@pytest.fixture
def traveller(store: redis.Redis) -> Iterator[time_machine.Traveller | None]:
    """Frozen time on the fake store; None on a real server."""
    with ExitStack() as stack:
        if isinstance(store, fakeredis.FakeRedis):
            yield stack.enter_context(time_machine.travel(START, tick=False))
        else:
            yield None


@pytest.fixture
def pass_ms(store: redis.Redis, traveller: time_machine.Traveller | None) -> Pass:
    """Lets so many ms of server time pass; keep them few, for real servers wait in earnest."""

    def now_ms() -> int:
        seconds, micros = store.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def passing(ms: int) -> None:
        if traveller:
            traveller.shift(ms / 1000)
            return
        end = now_ms() + ms
        wait_until(lambda: now_ms() >= end, ms / 1000 + 5, 0.001)

    return passing


@pytest.fixture
def bare(store: redis.Redis, traveller: time_machine.Traveller | None) -> Iterator[Kernel]:
    """As ``kernel``, for tests that break the store on purpose: no invariant is checked."""
    with closing(bytes_client(store)) as rq:
        made = Kernel(platform_on(store, rq, **SOON)).create()
        made.beat(seq=1, instance="i", sessions=[])
        yield made


@pytest.fixture
def kernel(bare: Kernel) -> Iterator[Kernel]:
    """A workspace with one slot whose runtime beats; its invariants hold at the end too."""
    yield bare
    invariants.check(bare)
    invariants.check_pending(bare)
