"""What Turnkeeper does with the same work, on the same server, in the same run."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import gevent
import httpx

from app.core import capacity, doorbell, ids, keys, sessions, turns, workspaces
from app.core.platform import Platform
from app.core.settings import Settings
from tests.bench.floor import ITEMS, KEYS
from tests.bench.keepalive import Connection
from tests.support.servers import RedisServer, free_port
from tests.support.wait import let_pass, wait_until
from workers import jobs
from workers.adapters.scripted import Scripted
from workers.deliver import visit_all

TOKEN = "bench-admin-token"
BACKLOG = 10_000
GAP_S = 0.01  # between two items of an idle system
# The count is still kept, but never refuses.
RATES = {
    "TURNKEEPER_RATE_LIMIT_PER_MIN": "60000000",
    "TURNKEEPER_AGENT_RATE_LIMIT_PER_MIN": "60000000",
}


def platform(url: str) -> Platform:
    """A platform on this server, with room for a backlog of ten thousand and more."""
    return Platform.start(Settings(redis_url=url, admin_token=TOKEN, queue_depth_max=2 * BACKLOG))


def sync_each_second(server: RedisServer) -> None:
    """As the embedded server does; one of the tests syncs each write."""
    with server.client() as client:
        client.config_set("appendfsync", "everysec")


def make_workspaces(here: Platform, count: int, slots: int = 1) -> list[str]:
    """Online workspaces with an idle agent each."""
    names = [f"bench-{at}" for at in range(count)]
    for workspace_id in names:
        workspaces.create(here, workspace_id, {"max_concurrent": slots})
        capacity.heartbeat(here, workspace_id, capacity.Beat(seq=1, active_tasks=0))
    return names


def submit_rate(here: Platform) -> float:
    """Submits per second, called in process, into workspaces whose agent is away."""
    names = [f"submit-{at}" for at in range(KEYS)]
    for workspace_id in names:
        workspaces.create(here, workspace_id, {})
    count = KEYS * ITEMS
    start = time.perf_counter()
    for at in range(count):
        turns.submit(here, names[at % KEYS], turns.Request(body={"text": "x"}))
    return count / (time.perf_counter() - start)


def pretend_to_dispatch(here: Platform) -> None:
    """As where workers run: a ring is enough, and nobody looks whether a job must be queued."""
    here.clients.control.zadd(keys.DISPATCHERS, {"bench": here.now_ms() + 3_600_000})


def serve_all(here: Platform, count: int) -> None:
    """Visit until so many turns were served, by an agent of this process that answers at once."""
    agent = Scripted(lambda claim, bound: {"text": ""})
    done = 0
    while done < count:
        rung = doorbell.next_ready_many(here, 1, jobs.RINGS_MOST)
        assert rung
        done += visit_all(here, agent, rung).count


def idle_latencies(here: Platform, count: int = 300) -> list[float]:
    """Seconds from the call of submit until the adapter has the turn, on an idle system."""
    (workspace_id,) = make_workspaces(here, 1)
    had: list[float] = []

    def answer(claim: Any, bound: Any) -> dict[str, str]:
        had.append(time.perf_counter())
        return {"text": ""}

    server = Platform.start(here.settings)
    thread = threading.Thread(target=jobs.serve, args=(server, Scripted(answer), 600))
    thread.start()
    waits = []
    for at in range(count):
        sent = time.perf_counter()
        turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
        while len(had) <= at:
            threading.Event().wait(0.0002)
        waits.append(had[at] - sent)
        wait_until(lambda: not sessions.live(here, workspace_id), 2, 0.0005)
        let_pass(GAP_S)
    server.stopping.set()
    thread.join()
    return waits


@contextmanager
def web(url: str, processes: int = 1) -> Iterator[tuple[int, int]]:
    """Real web processes behind one port; yields it, and the process id of their parent."""
    port = free_port()
    env = {**os.environ, "REDIS_URL": url, "PORT": str(port), "TURNKEEPER_ADMIN_TOKEN": TOKEN}
    env["WEB_CONCURRENCY"] = str(processes)
    env |= RATES
    argv = [sys.executable, "-m", "gunicorn", "-c", "python:app.gunicorn_config"]
    process = subprocess.Popen([*argv, "app.wsgi:create_app()"], env=env, stderr=subprocess.DEVNULL)

    def is_ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(is_ready, 20)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(15)


def short_form(number: int) -> dict[str, Any]:
    """A message as the field platform sends it."""
    return {"method": "message/send", "params": {"message": {"parts": [{"text": "x"}]}}}


def message_send(number: int) -> dict[str, Any]:
    """A message as a client of A2A 0.3 sends it that does not wait for the answer."""
    part = {"kind": "text", "text": "x"}
    message = {"kind": "message", "role": "user", "messageId": ids.new("msg"), "parts": [part]}
    params = {"message": message, "configuration": {"blocking": False}}
    return {"jsonrpc": "2.0", "id": number, "method": "message/send", "params": params}


def http_load(
    port: int,
    path: str,
    body: Callable[[int], Any],
    seconds: float,
    clients: int = 32,
    rate: float | None = None,
) -> list[float]:
    """Latencies in seconds of keep-alive clients; refuses any answer but 2xx.

    A closed loop; with a ``rate`` an open one of so many requests a second, each timed from when
    it was to be sent. ``body``: of the request of this number.
    """
    waits: list[float] = []
    began = time.perf_counter()
    end = began + seconds

    def client(lane: int) -> None:
        planned = began + lane / rate if rate else began
        with closing(Connection(port, TOKEN, attempts=1)) as line:
            while (sent := planned if rate else time.perf_counter()) < end:
                let_pass(sent - time.perf_counter())
                line.ask("POST", path, body(len(waits)))
                waits.append(time.perf_counter() - sent)
                planned += clients / (rate or 1)

    gevent.joinall([gevent.spawn(client, at) for at in range(clients)], raise_error=True)
    return waits
