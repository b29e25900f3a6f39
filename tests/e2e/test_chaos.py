"""Random faults on real processes under load; a checked history of what clients were told."""

import math
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from redis.exceptions import RedisError

from app.core import keys, schedules, sessions
from app.core.platform import Platform
from tests.e2e.faults import Faults, elapsed
from tests.e2e.test_kill import WORKSPACES, YEARLY, Checks, completed
from tests.support.history import Ended, History, check, happened
from tests.support.proxy import proxy
from tests.support.wait import wait_until
from tests.support.world import (
    PRODUCTS_REDIS_TIMEOUT,
    World,
    all_events,
    ledger,
    new_workspace,
    open_turns,
    real_platform,
    turns_of,
    world,
)

pytestmark = pytest.mark.e2e

CLIENTS, EVERY_S, FIRE_EVERY_S = 3, 0.4, 3.0
RECOVERY_MAX_S, REST_MAX_S = 45, 90
SETTINGS = {
    **PRODUCTS_REDIS_TIMEOUT,
    "TURNKEEPER_MESSAGE_WAIT_S": "0",
    "TURNKEEPER_MAX_ATTEMPTS": "50",
    "TURNKEEPER_EVENTS_KEPT": "1000000",
    "TURNKEEPER_TURNS_KEPT": "100000",
}


class Client:
    """Sends each message until it is accepted, and reads some answers; writes down what it was
    told."""

    def __init__(self, here: World, number: int, histories: dict[str, History]) -> None:
        self.here, self.number, self.histories = here, number, histories
        self.refused_count = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"client-{number}")

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join(60)

    def _run(self) -> None:
        count = 0
        while not self._stopping.wait(EVERY_S):
            count += 1
            workspace_id = WORKSPACES[(count + self.number) % len(WORKSPACES)]
            history = self.histories[workspace_id]
            self._send(workspace_id, history, f"message-{self.number}-{count}")
            self._read(workspace_id, history)

    def _send(self, workspace_id: str, history: History, name: str) -> None:
        while True:
            try:
                history.accepted[name] = self.here.send(workspace_id, name, name)
            except (httpx.TransportError, AssertionError):  # no answer, or not 2xx
                self.refused_count += 1
                if self._stopping.wait(0.1):
                    return  # never acknowledged, so nothing is owed
            else:
                return

    def _read(self, workspace_id: str, history: History) -> None:
        name = f"message-{self.number}-1" if self.number % 2 else next(iter(history.accepted), "")
        turn_id = history.accepted.get(name)
        with suppress(httpx.TransportError, AssertionError):
            if turn_id and self.here.turn(workspace_id, turn_id)["state"] == "completed":
                history.told.add(turn_id)


@contextmanager
def behind_proxies(folder: Path, seed: int) -> Iterator[Faults]:
    """A whole platform whose connections to Redis and to the web process can be cut."""
    with ExitStack() as stack:
        here = stack.enter_context(world(folder, **SETTINGS))
        store = stack.enter_context(proxy(here.redis.port))
        front = stack.enter_context(proxy(here.port))
        here.env = {
            **here.env,
            "REDIS_URL": f"redis://127.0.0.1:{store.port}/0",
            "TURNKEEPER_URL": f"http://127.0.0.1:{front.port}",
        }
        here.port = front.port
        stack.callback(here.end)  # before the proxies close
        here.add_workers()
        here.add_scheduler()
        here.add_web()
        yield Faults(here, store, front, random.Random(seed), threading.Event().wait)


def plan_fires(platform: Platform, histories: dict[str, History], run_s: float) -> None:
    """Schedules of which each fires once, each at its own moment of the run."""
    now = platform.now_ms()
    for workspace_id, history in histories.items():
        for number in range(round(run_s / FIRE_EVERY_S)):
            made = schedules.create(platform, workspace_id, {"name": f"f{number}", **YEARLY})
            nominal = now + round(1000 * FIRE_EVERY_S * (number + 1))
            platform.clients.data.zadd(keys.of(workspace_id)["due"], {made.id: nominal})
            schedules.hint_due(platform, made, nominal)
            history.planned.add(f"{made.id}:{nominal}")


def counted(platform: Platform) -> list[int]:
    """How many answers each workspace has given at least; nothing while Redis is away."""
    with suppress(RedisError):
        return [completed(platform)]
    return []


def flows(platform: Platform, more_than: int) -> bool:
    """Whether each workspace has answered more often than that."""
    return any(count > more_than for count in counted(platform))


def disturb(platform: Platform, faults: Faults, run_s: float) -> None:
    """Faults until the time is over; mostly each is recovered from before the next."""
    began = time.monotonic()
    while elapsed(began) < run_s:
        (before,) = wait_until(lambda: counted(platform), RECOVERY_MAX_S)
        names = [faults.one()]
        if faults.random.random() < 0.25:
            names.append(faults.one())
        over = time.monotonic()
        wait_until(lambda before=before: flows(platform, before), RECOVERY_MAX_S)
        for name in names:
            faults.recovered[name].append(elapsed(over))
        faults.wait(faults.random.uniform(0.1, 1.0))


def is_at_rest(platform: Platform, histories: dict[str, History]) -> bool:
    with suppress(RedisError):
        return all(
            history.planned <= set(ledger(platform, name)) and not open_turns(platform, name)
            for name, history in histories.items()
        )
    return False


def come_to_rest(platform: Platform, histories: dict[str, History]) -> None:
    """Nobody sends any more: what waits must get less, however long a busy machine takes."""

    def open_count() -> float:
        with suppress(RedisError):
            return sum(len(open_turns(platform, name)) for name in histories)
        return math.inf

    def gets_less(before: float) -> bool:
        return is_at_rest(platform, histories) or open_count() < before

    while not is_at_rest(platform, histories):
        before = open_count()
        wait_until(partial(gets_less, before), REST_MAX_S, 0.2)


def ended(platform: Platform, workspace_id: str) -> Ended:
    return Ended(
        turns={turn.id: turn.state for turn in turns_of(platform, workspace_id)},
        fires={name: row["state"] for name, row in ledger(platform, workspace_id).items()},
        live=[session.id for session in sessions.live(platform, workspace_id)],
        events=happened(all_events(platform, workspace_id)),
    )


def run(folder: Path, seed: int, run_s: float) -> None:
    print(f"seed {seed}, {run_s:g} s")
    histories = {name: History() for name in WORKSPACES}
    with behind_proxies(folder, seed) as faults, real_platform(faults.here.redis.url) as platform:
        for name in WORKSPACES:
            new_workspace(platform, name)
            faults.here.add_runtime(name, "sh", "-c", "sleep 0.1; echo ok")
        plan_fires(platform, histories, run_s)
        clients = [Client(faults.here, number, histories) for number in range(CLIENTS)]
        with Checks(platform) as checks, ExitStack() as sending:
            for client in clients:
                sending.enter_context(client)
            wait_until(lambda: flows(platform, 0), RECOVERY_MAX_S)
            disturb(platform, faults, run_s)
        come_to_rest(platform, histories)
        wrong = {name: check(histories[name], ended(platform, name)) for name in WORKSPACES}
        tell(platform, faults, histories, clients)
        assert wrong == {name: [] for name in WORKSPACES}, f"seed {seed}"
        assert checks.violations == [], f"seed {seed}"
        for history in histories.values():
            assert len(history.accepted) >= 10, "too tame"


def tell(
    platform: Platform, faults: Faults, histories: dict[str, History], clients: list[Client]
) -> None:
    kinds = Counter(name.split()[0] for name in faults.done)
    sent = sum(len(history.accepted) for history in histories.values())
    fires = sum(len(history.planned) for history in histories.values())
    states = Counter(turn.state for name in histories for turn in turns_of(platform, name))
    attempts = sum(turn.attempt > 1 for name in histories for turn in turns_of(platform, name))
    print(f"{len(faults.done)} faults: {dict(kinds)}; {faults.store.cut_count} connections to")
    print(f"Redis and {faults.front.cut_count} to the web process cut")
    print(f"{sent} messages accepted, {fires} fires, ends: {dict(states)}")
    print(f"{attempts} turns had more than one session; sends refused or lost:", end=" ")
    print(sum(client.refused_count for client in clients))
    print(faults.figures())


def test_random_faults_lose_and_double_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    run(tmp_path, seed, run_s=75)


@pytest.mark.nightly
@pytest.mark.parametrize("number", range(3))
def test_random_faults_for_minutes_lose_and_double_nothing(tmp_path: Path, number: int) -> None:
    run(tmp_path, random.SystemRandom().randrange(1, 10**6), run_s=300)
