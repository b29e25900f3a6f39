"""Every process is killed in turn under a trickle of work: nothing accepted is lost or doubled."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from redis.exceptions import RedisError

from app.core import invariant_reports, invariants, keys, schedules, snapshots
from app.core.invariants import Violation
from app.core.platform import Platform
from tests.support.wait import wait_until
from tests.support.world import (
    World,
    all_events,
    endings,
    ledger,
    new_workspace,
    open_turns,
    real_platform,
    turns_of,
    world,
)

pytestmark = pytest.mark.e2e

WORKSPACES = ("one", "two")
EVERY_S, FIRE_EVERY_S, FIRES = 0.3, 2.5, 8
RECOVERED = 2  # turns completed in each workspace after a kill before the next one
RECOVERY_MAX_S = 60
YEARLY = {"cron_expr": "0 0 1 1 *", "timezone": "UTC", "prompt": "tick"}


class Trickle:
    """Sends chat turns as a careful client does: the same message again until it is accepted."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.accepted: dict[str, str] = {}
        self.refused_count = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trickle")

    def __enter__(self) -> "Trickle":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join(60)

    def _run(self) -> None:
        number = 0
        while not self._stopping.wait(EVERY_S):
            number += 1
            self._send(WORKSPACES[number % 2], f"message-{number}")

    def _send(self, workspace_id: str, name: str) -> None:
        while True:
            try:
                self.accepted[self.here.send(workspace_id, name, name)] = workspace_id
            except (httpx.TransportError, AssertionError):  # no answer, or not 2xx
                self.refused_count += 1
                if self._stopping.wait(0.1):
                    return  # never accepted, so nothing is owed
            else:
                return


class Checks:
    """Looks at the invariants all the while, beside the workers' own check."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.look_count = platform, 0
        self.violations: list[Violation] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checks")

    def __enter__(self) -> "Checks":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            for name in WORKSPACES:
                with suppress(RedisError):  # it is killed too
                    self.violations += invariants.check(snapshots.read(self.platform, name))
                    self.look_count += 1


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, TURNKEEPER_MESSAGE_WAIT_S="0", TURNKEEPER_MAX_ATTEMPTS="20") as made:
        made.add_workers()
        made.add_scheduler()
        made.add_web()
        yield made


def plan_fires(platform: Platform) -> dict[str, set[str]]:
    """Schedules of which each fires once, at its own moment of the coming seconds."""
    rows: dict[str, set[str]] = {}
    now = platform.now_ms()
    for workspace_id in WORKSPACES:
        rows[workspace_id] = set()
        for number in range(FIRES):
            made = schedules.create(platform, workspace_id, {"name": f"f{number}", **YEARLY})
            nominal = now + round(1000 * FIRE_EVERY_S * (number + 1))
            platform.clients.data.zadd(keys.of(workspace_id)["due"], {made.id: nominal})
            schedules.hint_due(platform, made, nominal)
            rows[workspace_id].add(f"{made.id}:{nominal}")
    return rows


def completed(platform: Platform) -> int:
    """How many answers the workspace with the fewest has given."""
    counts = (platform.clients.data.hget(keys.of(n)["stats"], "AGENT_MESSAGE") for n in WORKSPACES)
    return min(int(count or 0) for count in counts)


def kill_each_in_turn(here: World, platform: Platform) -> dict[str, float]:
    """Kill -9, start again what nobody starts again, wait for work to flow. Returns seconds."""
    names = here.processes

    def worker() -> None:
        names["workers"].child("dispatch").kill()  # its keeper starts it again

    def process(name: str) -> None:
        names[name].kill9()
        names[name].start()

    def redis() -> None:
        here.redis.kill9()
        here.redis.start()

    took: dict[str, float] = {}
    for name, kill in (
        ("dispatch worker", worker),
        ("control worker", lambda: names["workers"].child("control").kill()),
        ("web", lambda: process("web")),
        ("scheduler", lambda: process("scheduler")),
        ("workers", lambda: process("workers")),
        ("runtime", lambda: process("one")),
        ("redis", redis),
    ):
        before, began = completed(platform), time.monotonic()
        kill()
        wait_until(lambda before=before: completed(platform) >= before + RECOVERED, RECOVERY_MAX_S)
        took[name] = round(time.monotonic() - began, 2)
    return took


def most_live_at_once(platform: Platform, workspace_id: str) -> int:
    live: set[str] = set()
    most = 0
    for event in all_events(platform, workspace_id):
        if event.event == "TURN_CLAIMED":
            live.add(event.session_id or "")
        elif event.event == "SESSION_ENDED":
            live.discard(event.session_id or "")
        most = max(most, len(live))
    return most


def all_ended_once(
    platform: Platform, wanted: Mapping[str, set[str]], sent: Mapping[str, str], within_s: float
) -> None:
    """Every fire that was due, and every turn that was accepted (id -> workspace), is completed in
    time, once, and one after the other."""

    def is_done() -> bool:
        rows = {name: ledger(platform, name) for name in WORKSPACES}
        return all(
            set(rows[name]) == wanted[name] and not open_turns(platform, name)
            for name in WORKSPACES
        )

    wait_until(is_done, within_s, interval_s=0.1)
    for name in WORKSPACES:
        states = {turn.id: turn.state for turn in turns_of(platform, name)}
        accepted = {turn_id for turn_id, where in sent.items() if where == name}
        assert accepted <= set(states)
        assert set(states.values()) == {"completed"}
        assert endings(platform, name) == dict.fromkeys(states, 1)
        assert {row["state"] for row in ledger(platform, name).values()} == {"completed"}
        assert most_live_at_once(platform, name) == 1


def test_kill_9_of_each_process_in_turn_loses_and_doubles_nothing(here: World) -> None:
    with real_platform(here.redis.url) as platform:
        for name in WORKSPACES:
            new_workspace(platform, name)
            here.add_runtime(name, "sh", "-c", "sleep 0.1; echo ok")
        wanted = plan_fires(platform)
        with Checks(platform) as checks, Trickle(here) as trickle:
            wait_until(lambda: completed(platform) >= RECOVERED, RECOVERY_MAX_S)
            took = kill_each_in_turn(here, platform)
        print("seconds until work flowed again:", took, "refused:", trickle.refused_count)
        all_ended_once(platform, wanted, trickle.accepted, RECOVERY_MAX_S)
        assert len(trickle.accepted) >= 20
        assert checks.violations == []
        assert checks.look_count > 100
        assert invariant_reports.current_round(platform).ended_at, "the workers check too"
        assert platform.clients.control.zcard(keys.VIOLATIONS) == 0
