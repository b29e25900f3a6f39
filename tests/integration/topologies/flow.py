"""The main flow of the platform on whatever servers it is given, and what came of it."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from app.api.hub import Hub
from app.core import invariants, keys, snapshots
from app.core.errors import TurnkeeperError
from app.core.platform import Platform
from scheduler import fires
from tests.support.kernel import Kernel
from tests.support.wait import wait_until
from tests.support.world import endings, open_turns, real_platform
from workers import jobs, reaper
from workers.adapters.inbox import Inbox
from workers.sweep import sweep

NAMES = tuple(f"w{number}" for number in range(9))  # enough for each of three masters to own some
SLICE_S = 0.4
FLOW_S = 60.0
SELDOM = "0 0 1 1 *"  # no boundary of its own falls into a test


@contextmanager
def platform_of(url: str, **settings: Any) -> Iterator[Platform]:
    """A platform with the product's own clients."""
    known = {"retry_backoff_s": 0.1, "retry_backoff_max_s": 0.5, "redeliver_after_s": 0.5}
    with real_platform(url, **{**known, **settings}) as platform:
        yield platform


@dataclass
class Flow:
    """Nine workspaces whose turns are served by one worker and one runtime, in this thread."""

    platform: Platform
    accepted: dict[str, str] = field(default_factory=dict)  # turn id -> workspace

    def kernels(self) -> Iterator[Kernel]:
        return (Kernel(self.platform, name) for name in NAMES)

    def open(self) -> None:
        """Workspaces, each with a schedule."""
        for kernel in self.kernels():
            kernel.create()
            kernel.beat()
            kernel.scheduled(cron_expr=SELDOM)

    def submit(self, name: str) -> None:
        for kernel in self.kernels():
            accepted = kernel.submit(name, idempotency_key=name)
            self.accepted[accepted.turn_id] = kernel.id

    def fire(self) -> None:
        """Each workspace's schedule is due now; the scheduler makes its fire."""
        now = self.platform.now_ms() - 1
        for kernel in self.kernels():
            for schedule_id in kernel.data.zrange(kernel.keys["due"], 0, -1):
                kernel.data.zadd(kernel.keys["due"], {schedule_id: now})
                member = str(keys.DueMember(kernel.id, schedule_id))
                self.platform.clients.control.zadd(keys.DUE, {member: now})
        assert fires.fire_due(self.platform) == len(NAMES)

    def round(self) -> None:
        """A worker's slice, the reaper and the sweep, then the runtimes' polls and reports."""
        sweep(self.platform)
        reaper.reap(self.platform)
        jobs.serve(self.platform, Inbox(), SLICE_S)
        for kernel in self.kernels():
            kernel.beat()
            if found := kernel.take().handover:
                kernel.start(found.session)
                kernel.progress(found.session)
                kernel.finish(found.session)

    def serve(self, timeout_s: float = FLOW_S) -> None:
        """Rounds until nothing is open."""

        def is_done() -> bool:
            self.round()
            return not any(open_turns(self.platform, name) for name in NAMES)

        wait_until(is_done, timeout_s)

    def recover(self, timeout_s: float = FLOW_S) -> float:
        """Rounds until one passes whole; returns how many seconds that took."""
        began = time.monotonic()

        def passes() -> bool:
            with suppress(RedisError, TurnkeeperError):
                self.round()
                return True
            return False

        wait_until(passes, timeout_s)
        return time.monotonic() - began

    def check(self) -> None:
        """Every accepted turn has ended once; nothing in the store contradicts itself."""
        for name in NAMES:
            mine = {turn_id for turn_id, where in self.accepted.items() if where == name}
            counts = endings(self.platform, name)
            assert {turn_id: counts.get(turn_id) for turn_id in mine} == dict.fromkeys(mine, 1)
            assert invariants.check(snapshots.read(self.platform, name)) == []


def main_flow(platform: Platform) -> Flow:
    """Create, submit, fire, claim, finish, stream, sweep."""
    flow = Flow(platform)
    flow.open()
    with streamed(platform, NAMES) as heard:
        flow.submit("hello")
        flow.fire()
        flow.serve()
        wait_until(lambda: heard.count("SESSION_ENDED") == 2 * len(NAMES), 30)
    flow.check()
    return flow


@contextmanager
def streamed(platform: Platform, names: Sequence[str]) -> Iterator[list[str]]:
    """The names of the events that a web process's hub hears of, as they come."""
    hub, heard, stopping = Hub(platform), [], threading.Event()
    with hub.following(names) as follower:

        def listen() -> None:
            while not stopping.is_set():
                follower.wait_for_news(0.2)
                heard.extend(str(item.name) for item in follower.fresh().items)

        thread = threading.Thread(target=listen, name="stream")
        thread.start()
        try:
            yield heard
        finally:
            stopping.set()
            thread.join()
            hub.stop()
