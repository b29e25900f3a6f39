"""Two schedulers and three dispatchers at once on a real Redis, each killed again and again: every
fire is in the ledger once and its turn is completed once."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from app.core import capacity, doorbell, invariant_reports, keys, schedules
from app.core.platform import Platform
from app.core.redis_clients import shared
from app.core.schedules import NextFire
from app.core.settings import Settings
from scheduler import fires
from tests.integration.faults import Killed, Life, MortalReal
from tests.support.kernel import YEAR_MS
from tests.support.wait import wait_until
from tests.support.world import all_events, endings, ledger, new_workspace, open_turns, turns_of
from workers import reaper
from workers.adapters.scripted import Scripted
from workers.deliver import visit
from workers.sweep import sweep

WORKSPACES, SCHEDULES, EVERY_MS, FIRES = 6, 3, 300, 20
SOON: dict[str, Any] = {
    "handover_s": 0.3,
    "lease_ttl_s": 0.6,
    "retry_backoff_s": 0.01,
    "max_attempts": 100,
    "heartbeat_interval_s": 0.4,
    "idle_timeout_s": 0.8,
    "queue_depth_max": 1000,
}


def every_until(last_ms: int) -> NextFire:
    """A fire each ``EVERY_MS`` up to the last one, and then none for a hundred years."""

    def following(cron_expr: str, timezone: str, after_ms: int) -> int:
        return after_ms + (EVERY_MS if after_ms < last_ms else 100 * YEAR_MS)

    return following


def answer(claim: Any, bound: Any) -> dict[str, str]:
    return {"text": "done"}


class Town:
    """Processes as threads on one server, and how often which of them died at which command."""

    def __init__(self, port: int) -> None:
        self.port, self.stopping = port, threading.Event()
        self.deaths: Counter[tuple[str, int]] = Counter()
        self.threads: list[threading.Thread] = []
        self.faults: list[BaseException] = []
        self.opened: list[redis.Redis] = []
        self.platform = self.process(Life())

    def process(self, life: Life) -> Platform:
        """A platform of its own connections that ends as its life does."""
        clients = []
        for decode in (True, False):
            made = MortalReal(port=self.port, protocol=2, decode_responses=decode, socket_timeout=9)
            made.life = life
            clients.append(made)
            self.opened.append(made)
        return Platform(Settings.model_validate(SOON), shared(*clients))

    def add(self, kind: str, number: int, step: Callable[[Platform], object], most: int) -> None:
        """A process that does its step again and again; killed at any command, started again."""
        chance = random.Random(f"{kind}{number}")

        def run() -> None:
            while not self.stopping.is_set():
                life = Life(chance.randint(1, most), chance.random() < 0.5)
                process = self.process(life)
                try:
                    while not self.stopping.is_set():
                        step(process)
                except Killed:
                    self.deaths[kind, life.dies_at] += 1
                except BaseException as fault:  # noqa: BLE001 - told at the end
                    self.faults.append(fault)
                    return

        self.threads.append(threading.Thread(target=run, name=f"{kind}-{number}"))
        self.threads[-1].start()


@pytest.fixture
def town(real_redis: redis.Redis) -> Iterator[Town]:
    made = Town(real_redis.connection_pool.connection_kwargs["port"])
    yield made
    made.stopping.set()
    for thread in made.threads:
        thread.join(10)
    for client in made.opened:
        client.close()


def planned(town: Town, first: int) -> dict[str, list[str]]:
    """Schedules that fire from now on; the rows that each workspace must have at last."""
    rows: dict[str, list[str]] = {}
    for name in (f"w{n}" for n in range(WORKSPACES)):
        new_workspace(town.platform, name, max_concurrent=2)
        capacity.heartbeat(town.platform, name, capacity.Beat(max_concurrent=2, active_tasks=0))
        rows[name] = []
        for number in range(SCHEDULES):
            fields = {"cron_expr": "0 0 1 1 *", "timezone": "UTC", "prompt": "p"}
            made = schedules.create(town.platform, name, {"name": str(number), **fields})
            town.platform.clients.data.zadd(keys.of(name)["due"], {made.id: first})
            schedules.hint_due(town.platform, made, first)
            rows[name] += [f"{made.id}:{first + n * EVERY_MS}" for n in range(FIRES)]
    return rows


def dispatch(process: Platform) -> None:
    workspace_id = doorbell.next_ready(process, 0.05)
    if workspace_id is not None:
        visit(process, Scripted(answer), workspace_id)


def test_two_schedulers_and_three_dispatchers_killed_at_every_step_make_and_end_each_fire_once(
    town: Town,
) -> None:
    first = town.platform.now_ms()
    wanted = planned(town, first)
    following = every_until(first + (FIRES - 1) * EVERY_MS)
    for number in range(2):
        town.add("scheduler", number, lambda process: fires.fire_due(process, following), 12)
    for number in range(3):
        town.add("dispatcher", number, dispatch, 40)

    def is_done() -> bool:
        """The reaper and the sweep are well and run beside them."""
        reaper.reap(town.platform)
        sweep(town.platform)
        return bool(town.faults) or all(
            set(ledger(town.platform, name)) == set(rows) and not open_turns(town.platform, name)
            for name, rows in wanted.items()
        )

    wait_until(is_done, 60, 0.1)
    assert not town.faults, town.faults
    for name, rows in wanted.items():
        assert set(ledger(town.platform, name)) == set(rows)
        turns = turns_of(town.platform, name)
        assert [turn.state for turn in turns] == ["completed"] * len(rows)
        assert endings(town.platform, name) == dict.fromkeys((turn.id for turn in turns), 1)
        queued = [e.turn_id for e in all_events(town.platform, name) if e.event == "CRON_QUEUED"]
        assert sorted(queued) == sorted(turn.id for turn in turns), "made once"
        assert invariant_reports.run(town.platform, name).violations == []
    print(town.deaths)
    for kind in ("scheduler", "dispatcher"):
        died_at = {number for role, number in town.deaths if role == kind}
        assert len(died_at) >= 8, f"{kind} died at {died_at} only"
