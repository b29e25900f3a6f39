"""How exact the clocks are and what they cost: real scheduler, workers, web process and runtime."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import psutil

from app.core import events, keys, sessions, turns, workspaces
from app.core.platform import Platform
from app.core.settings import Settings
from tests.bench.ours import TOKEN, make_workspaces, platform
from tests.support.wait import wait_until
from workers import jobs
from workers.adapters.base import Adapter
from workers.adapters.inbox import Inbox

SESSIONS, CEILING_S = 100, 4.0
LADDER = {
    "TURNKEEPER_CEILING_S": str(CEILING_S),
    "TURNKEEPER_CHECKPOINT_GRACE_S": "2",
    "TURNKEEPER_CANCEL_GRACE_S": "0.4",
}
INTERVAL_S, STEP_S = 1.0, 8
LOCKED = f"import ctypes\nctypes.PyDLL(None).sleep({STEP_S})\n"


@contextmanager
def process(url: str, *words: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """``python -m …`` on this server, ended on leaving."""
    whole = {**os.environ, "REDIS_URL": url, "TURNKEEPER_LOG_FORMAT": "json", **env}
    quiet: Mapping[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = subprocess.Popen([sys.executable, "-m", *words], env=whole, **quiet)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(15)


def ceiling_overshoots(url: str) -> list[float]:
    """Seconds between the ceiling of each of a hundred sessions and its end, by the server's clock.

    They begin over two seconds, so that their ceilings fall anywhere between two ticks.
    """
    own = Settings.from_env({"REDIS_URL": url, **LADDER})
    here, never = Platform.start(own), threading.Event()
    with process(url, "scheduler", **LADDER), process(url, "workers", "control", **LADDER):
        wait_until(lambda: here.clients.control.hget(keys.TICKS, "reap"), 20)
        ids = make_workspaces(here, SESSIONS)
        for workspace_id in ids:
            turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
            claim = sessions.claim(here, workspace_id)
            assert isinstance(claim, sessions.Claim), claim
            session = claim.session
            sessions.start(here, workspace_id, session.id, session.fence, "bench")
            jobs.doorbell.watch(here, workspace_id, CEILING_S / 2)
            never.wait(2 / SESSIONS)
        wait_until(lambda: not any(sessions.live(here, one) for one in ids), CEILING_S + 20)
    found = []
    for workspace_id in ids:
        told = events.latest(here, workspace_id, 20)
        ended = next(one for one in told if one.event == "SESSION_ENDED")
        assert ended.mechanism == "ceiling", ended
        found.append((ended.payload["measured_ms"] - ended.payload["limit_ms"]) / 1000)
    here.clients.close()
    return found


@contextmanager
def dispatcher(here: Platform, adapter: Adapter) -> Iterator[None]:
    """A dispatch worker in a thread."""
    server = Platform.start(here.settings)
    thread = threading.Thread(target=jobs.serve, args=(server, adapter, 600))
    thread.start()
    try:
        yield
    finally:
        server.stopping.set()
        thread.join()
        server.clients.close()


def freed_to_delivered(here: Platform, count: int = 300) -> list[float]:
    """Seconds from the call of finish until the adapter has the next turn of a backlog."""
    (workspace_id,) = make_workspaces(here, 1)
    had: list[tuple[float, sessions.Claim]] = []

    class Held:
        """Has the turn, and leaves its end to the one who measures."""

        def deliver(self, platform: Platform, workspace_id: str, claim: Any, bound: Any) -> None:
            had.append((time.perf_counter(), claim))

    for _ in range(count + 1):
        turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
    waits = []
    with dispatcher(here, Held()):
        for at in range(count):
            wait_until(lambda at=at: len(had) > at, 5, 0.0002)
            session = had[at][1].session
            freed = time.perf_counter()
            sessions.finish(here, workspace_id, session.id, session.fence, "completed", {})
            wait_until(lambda at=at: len(had) > at + 1, 5, 0.0002)
            waits.append(had[at + 1][0] - freed)
    return waits


def freed_to_handed_over(here: Platform, port: int, count: int = 200) -> list[float]:
    """The same over HTTP: from the request of finish until a poll has brought the next turn."""
    (workspace_id,) = make_workspaces(here, 1)
    for _ in range(count + 1):
        turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
    path, waits = f"/workspaces/{workspace_id}", []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    base = f"http://127.0.0.1:{port}"
    with (
        httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=30) as http,
        dispatcher(here, Inbox()),
    ):

        def poll() -> Any:
            while True:
                turn = http.get(f"{path}/turns/next?wait_s=5&instance=bench").json()["turn"]
                if turn:
                    return turn

        turn = poll()
        for _ in range(count):
            session = f"{path}/sessions/{turn['session_id']}"
            http.post(f"{session}/start", json={"fence": turn["fence"], "instance": "bench"})
            freed = time.perf_counter()
            http.post(f"{session}/finish", json={"fence": turn["fence"], "result": {"text": ""}})
            turn = poll()
            waits.append(time.perf_counter() - freed)
    return waits


def runtime_under_a_lock(url: str, port: int) -> tuple[float, float]:
    """RSS of a supervisor in MB while its child holds the interpreter's lock, and the longest gap
    between two of its beats, as the platform took them, over its interval."""
    here = platform(url)
    workspaces.create(here, "bench-lock", {})
    env = {
        "TURNKEEPER_URL": f"http://127.0.0.1:{port}",
        "TURNKEEPER_TOKEN": TOKEN,
        "TURNKEEPER_HEARTBEAT_INTERVAL_S": str(INTERVAL_S),
        "TURNKEEPER_HEARTBEAT_MIN_S": "0.1",
        "TURNKEEPER_DRAIN_S": "1",
    }
    beats: list[int] = []
    with (
        here.clients.data.pubsub(ignore_subscribe_messages=True) as channel,
        dispatcher(here, Inbox()),
        process(
            url, "runtime", "-w", "bench-lock", "--", sys.executable, "-c", LOCKED, **env
        ) as it,
    ):
        channel.subscribe(keys.of("bench-lock")["wake"])
        turns.submit(here, "bench-lock", turns.Request(body={"text": "x"}))
        wait_until(lambda: sessions.live(here, "bench-lock"), 15)
        end = time.monotonic() + STEP_S
        while time.monotonic() < end:
            message = channel.get_message(timeout=0.2)
            if message and message["data"].startswith("{"):
                beats.append(json.loads(message["data"])["at"])
        rss_bytes = psutil.Process(it.pid).memory_info().rss
    gaps = [later - earlier for earlier, later in zip(beats, beats[1:], strict=False)]
    here.clients.close()
    return rss_bytes / 1e6, max(gaps) / 1000 / INTERVAL_S
