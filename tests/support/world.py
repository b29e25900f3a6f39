"""Platforms for tests: on a fake server in virtual time, on a real one, and as real processes."""

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import fakeredis
import httpx
import time_machine

from app.core import events, keys, turns, workspaces
from app.core.clock import Clock
from app.core.platform import Platform
from app.core.redis_clients import shared
from app.core.settings import Settings
from app.core.states import TERMINAL
from tests.support import servers
from tests.support.processes import Process, module
from tests.support.wait import wait_until

ADMIN = "admin-of-the-test"
START_S = 60.0  # several interpreters at once on a busy machine
PATIENCE_S = 10.0

# Thirty seconds are half a second: the same code path by settings alone.
SIXTY_TIMES = {
    "TURNKEEPER_HEARTBEAT_INTERVAL_S": "0.5",
    "TURNKEEPER_HEARTBEAT_MIN_S": "0.1",
    "TURNKEEPER_HEARTBEAT_TTL_S": "3",
    "TURNKEEPER_HEARTBEAT_LATE_S": "1.5",
    "TURNKEEPER_IDLE_TIMEOUT_S": "15",
    "TURNKEEPER_STALL_AFTER_S": "10",
    "TURNKEEPER_CEILING_S": "30",
    "TURNKEEPER_CHECKPOINT_GRACE_S": "1",
    "TURNKEEPER_CANCEL_GRACE_S": "0.2",
    "TURNKEEPER_LEASE_TTL_S": "3",
    "TURNKEEPER_HANDOVER_S": "1",
    "TURNKEEPER_REDELIVER_AFTER_S": "0.5",
    "TURNKEEPER_RETRY_BACKOFF_S": "0.1",
    "TURNKEEPER_RETRY_BACKOFF_MAX_S": "1",
    "TURNKEEPER_RETRY_MIN_S": "0.1",
    "TURNKEEPER_RETRY_MAX_S": "0.5",
    "TURNKEEPER_SWEEP_INTERVAL_S": "2",
    "TURNKEEPER_INVARIANTS_INTERVAL_S": "1",
    "TURNKEEPER_DRAIN_S": "3",
    "TURNKEEPER_KILL_GRACE_S": "0.5",
    "TURNKEEPER_POLL_WAIT_S": "2",
    "TURNKEEPER_LOG_FORMAT": "json",
    # As long as ever: every write here waits for the disk, and a busy one takes its time.
    "TURNKEEPER_REDIS_TIMEOUT_S": f"{PATIENCE_S:g}",
}
# For a test of what follows from a store that does not answer.
PRODUCTS_REDIS_TIMEOUT = {"TURNKEEPER_REDIS_TIMEOUT_S": ""}


@dataclass(frozen=True)
class VirtualClock(Clock):
    """Waiting moves the time of the fake server and of this process; nothing sleeps."""

    traveller: Any

    def monotonic(self) -> float:
        return datetime.now().timestamp()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.traveller.shift(seconds)
        return event.is_set()


@contextmanager
def virtual_platform(at: datetime, **settings: Any) -> Iterator[Platform]:
    """A platform on a fresh fake server whose time stands still unless the clock waits."""
    server = fakeredis.FakeServer()  # a new one: one bad script would poison later tests
    with time_machine.travel(at, tick=False) as traveller:
        data = fakeredis.FakeRedis(server=server, protocol=2, decode_responses=True)
        rq = fakeredis.FakeRedis(server=server, protocol=2)
        clock = VirtualClock(traveller)
        yield Platform(Settings.model_validate(settings), shared(data, rq), clock)


@contextmanager
def real_platform(url: str, **settings: Any) -> Iterator[Platform]:
    """A platform with the product's own clients on a real server, which may be slow to answer."""
    given = {"redis_url": url, "redis_timeout_s": PATIENCE_S, **settings}
    platform = Platform.start(Settings.model_validate(given))
    try:
        yield platform
    finally:
        platform.stopping.set()
        platform.clients.close()


@dataclass
class World:
    """Redis, web, workers and scheduler as processes, and what a test does with them."""

    redis: servers.RedisServer
    env: Mapping[str, str]
    folder: Path
    port: int
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, name: str, argv: Sequence[str], **env: str) -> Process:
        """Start a process; its output goes to ``<name>.log``."""
        process = Process(argv, {**self.env, **env}, self.folder / f"{name}.log")
        self.processes[name] = process
        process.start()
        return process

    def add_web(self) -> Process:
        process = self.add(
            "web", module("gunicorn", "-c", "python:app.gunicorn_config", "app.wsgi:create_app()")
        )
        wait_until(self._web_answers, START_S)
        return process

    def add_workers(self) -> Process:
        return self.add("workers", module("workers"))

    def add_scheduler(self) -> Process:
        return self.add("scheduler", module("scheduler"))

    def add_runtime(self, workspace_id: str, *command: str, **env: str) -> Process:
        """A runtime with its agent; its own name in ``processes`` is the workspace's."""
        spool = {"TURNKEEPER_SPOOL_DIR": str(self.folder / f"spool-{workspace_id}")}
        words = module("runtime", "-w", workspace_id, "--", *command)
        return self.add(workspace_id, words, **{**spool, **env})

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request with the admin's token."""
        with httpx.Client(trust_env=False, timeout=20) as client:
            headers = {"Authorization": f"Bearer {ADMIN}", **headers}
            return client.request(method, self.url + path, json=body, headers=headers)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request that must succeed."""
        answer = self.call(method, path, body)
        assert answer.is_success, (path, answer.status_code, answer.text)
        return answer.json()

    def send(self, workspace_id: str, text: str, name: str | None = None) -> str:
        """A chat message; the turn's id."""
        message: dict[str, Any] = {"role": "user", "parts": [{"kind": "text", "text": text}]}
        if name:
            message["messageId"] = name
        body = {"method": "message/send", "params": {"message": message}}
        return str(self.ask("POST", f"/workspaces/{workspace_id}/a2a", body)["queue_id"])

    def turn(self, workspace_id: str, turn_id: str) -> Any:
        return self.ask("GET", f"/workspaces/{workspace_id}/turns/{turn_id}")

    def end(self) -> None:
        for process in reversed(self.processes.values()):
            process.end()

    def logs(self) -> str:
        """The end of each process' output: for the message of a failed test."""
        return "\n".join(f"== {n}\n{p.output()[-1500:]}" for n, p in self.processes.items())

    def _web_answers(self) -> bool:
        web = self.processes["web"].process
        assert web is not None
        assert web.poll() is None, self.logs()
        try:
            return self.call("GET", "/readyz").is_success
        except httpx.TransportError:
            return False


@contextmanager
def world(folder: Path, **env: str) -> Iterator[World]:
    """A Redis with its log on disk at every write, and an environment for the processes."""
    binary = servers.binary_7() or servers.binary_62()
    assert binary is not None, "no redis-server"
    with ExitStack() as stack:
        redis = stack.enter_context(servers.redis_server(binary))
        with redis.client() as client:
            client.config_set("appendfsync", "always")
        port = servers.free_port()
        given = {
            **{name: value for name, value in os.environ.items() if "TURNKEEPER" not in name},
            **SIXTY_TIMES,
            "TURNKEEPER_ADMIN_TOKEN": ADMIN,
            "TURNKEEPER_TOKEN": ADMIN,
            "TURNKEEPER_URL": f"http://127.0.0.1:{port}",
            "REDIS_URL": redis.url,
            "PORT": str(port),
            **env,
        }
        here = World(redis, given, folder, port)
        stack.callback(here.end)
        yield here


def settings_of(here: World) -> Settings:
    """The settings of a world's processes, for a platform beside them."""
    return Settings.from_env(here.env)


def all_events(platform: Platform, workspace_id: str) -> list[events.Event]:
    """Every event of a workspace, oldest first."""
    return events.after(platform, workspace_id, "0-0", 1_000_000)


def open_turns(platform: Platform, workspace_id: str) -> list[str]:
    """The turns that are not terminal."""
    return list(platform.clients.data.zrange(keys.of(workspace_id)["open"], 0, -1))


def turns_of(platform: Platform, workspace_id: str) -> list[turns.Turn]:
    """Every turn that is kept, in the order in which they were accepted."""
    texts = platform.clients.data.hvals(keys.of(workspace_id)["turns"])
    return sorted((turns.Turn.parse(text) for text in texts), key=lambda turn: turn.seq)


def endings(platform: Platform, workspace_id: str) -> dict[str, int]:
    """How often each turn reached a terminal state, told by the events."""
    counts: dict[str, int] = {}
    for event in all_events(platform, workspace_id):
        ends = event.event in ("TURN_EXPIRED", "TURN_DEAD", "TURN_COALESCED")
        ends |= event.event == "SESSION_ENDED" and event.payload.get("state") in TERMINAL - {"dead"}
        ends |= event.event == "CRON_SKIPPED"  # without a turn: it was never queued
        ends |= event.event == "TASK_UPDATED" and event.payload.get("state") == "canceled"
        if ends and event.turn_id:
            counts[event.turn_id] = counts.get(event.turn_id, 0) + 1
    return counts


def ledger(platform: Platform, workspace_id: str) -> dict[str, dict[str, Any]]:
    """Every ledger row of a workspace, "schedule:nominal" -> row."""
    rows = platform.clients.data.hgetall(keys.of(workspace_id)["fires"])
    return {name: json.loads(text) for name, text in sorted(rows.items())}


def new_workspace(platform: Platform, workspace_id: str, **changes: Any) -> str:
    """A workspace; no runtime has beaten for it yet."""
    workspaces.create(platform, workspace_id, changes)
    return workspace_id
