"""Two worker processes at the same work, beside the raw loop in two processes."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from app.core import doorbell, events, keys, turns
from app.core.events import Event
from app.core.platform import Platform
from tests.bench.busy import Busy
from tests.bench.floor import ITEMS, KEYS
from tests.bench.ours import make_workspaces
from tests.support.processes import end

POLL_S = 0.002


@contextmanager
def helper(url: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is ready; ended on leaving."""
    argv = [sys.executable, "-m", "tests.bench.serving", url, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as started:
        assert started.stdout is not None
        try:
            assert started.stdout.readline() == "ready\n"
            yield started
        finally:
            end(started, 15)


def begin(started: list[subprocess.Popen[str]]) -> None:
    """Tell each to begin."""
    for one in started:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()


def raw_loop(url: str) -> float:
    """Items per second of the raw loop, each of two processes on half of the streams."""
    with ExitStack() as stack:
        both = [stack.enter_context(helper(url, "raw", str(at))) for at in range(2)]
        start = time.perf_counter()
        begin(both)
        for one in both:
            assert one.stdout is not None
            assert one.stdout.readline() == "done\n"
        return KEYS * ITEMS / (time.perf_counter() - start)


def claim_finish_rate(here: Platform, workers: int, busy: Busy | None = None) -> float:
    """Turns per second until the last finish, served by so many worker processes.

    Afterwards every workspace's events must tell of one turn after the other, in their order.
    """
    ids = make_workspaces(here, KEYS)
    for at in range(KEYS * ITEMS):
        turns.submit(here, ids[at % KEYS], turns.Request(body={"text": "x"}))
    doorbell.ring_many(here, ids)
    with ExitStack() as stack:
        url = here.settings.redis_url
        ready = [stack.enter_context(helper(url, "dispatch")) for _ in range(workers)]
        if busy:
            stack.enter_context(busy.over({"workers": [one.pid for one in ready]}))
        start = time.perf_counter()
        begin(ready)
        wait_for_all(here, ids)
        took_s = time.perf_counter() - start
    for workspace_id in ids:
        check_order(events.after(here, workspace_id, "0-0", 10 * ITEMS), ITEMS)
    return KEYS * ITEMS / took_s


def wait_for_all(here: Platform, ids: list[str]) -> None:
    """One cheap look at a time, so that the look is not what is measured."""
    never = threading.Event()
    for workspace_id in ids:
        while here.clients.data.zcard(keys.of(workspace_id)["open"]):
            never.wait(POLL_S)


def check_order(told: Sequence[Event], count: int) -> None:
    """By a workspace's events: claimed in the order of acceptance, each ended before the next."""
    queued = [one.turn_id for one in told if one.event == "MESSAGE_QUEUED"]
    steps = [one.turn_id for one in told if one.event in ("TURN_CLAIMED", "SESSION_ENDED")]
    assert steps[::2] == steps[1::2] == queued
    assert len(queued) == count
