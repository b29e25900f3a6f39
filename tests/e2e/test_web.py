"""The web process as it is deployed: gunicorn with gevent over a real Redis."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from app.api.runtime import LOOK_S
from app.core import sessions
from app.core.platform import Platform
from app.core.settings import Settings
from tests.support import servers
from tests.support.processes import end
from tests.support.wait import wait_until

pytestmark = pytest.mark.e2e

ADMIN = "the-admin-token-of-this-test"
START_S, STREAMS = 60.0, 200
SOON_S = LOOK_S / 2  # a poll that nothing wakes looks again by itself after LOOK_S
HEADERS = {"Authorization": f"Bearer {ADMIN}"}


@dataclass
class Process:
    """One gunicorn master with one worker."""

    process: subprocess.Popen[bytes]
    port: int
    output: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        response = httpx.request(method, self.url + path, json=body, headers=HEADERS, timeout=30)
        assert response.status_code < 300, response.text
        return response.json()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def connect(self, path: str) -> socket.socket:
        """A request whose answer is not read yet."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {ADMIN}"]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection


@contextmanager
def running(redis_url: str, folder: Path, **env: str) -> Iterator[Process]:
    port, output = servers.free_port(), folder / "web.log"
    own = {"REDIS_URL": redis_url, "PORT": str(port), "TURNKEEPER_ADMIN_TOKEN": ADMIN}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TURNKEEPER_", "WEB_"))}
    argv = [sys.executable, "-m", "gunicorn", "-c", "python:app.gunicorn_config"]
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*argv, "app.wsgi:create_app()"], stdout=file, stderr=file, env=kept | own | env
        )
    web = Process(process, port, output)
    try:
        wait_until(web.is_ready, START_S, 0.05)
        yield web
    finally:
        family = [*psutil.Process(process.pid).children(recursive=True)] if alive(process) else []
        end(process)
        psutil.wait_procs(family, 5)


def alive(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None


@pytest.fixture
def web(redis62: servers.RedisServer, tmp_path: Path) -> Iterator[Process]:
    with redis62.client() as client:
        client.flushall()
    with running(redis62.url, tmp_path, LOG_LEVEL="DEBUG") as process:
        process.ask("POST", "/workspaces", {"id": "w1"})
        yield process


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    """What came up to and with ``wanted``; the connection's own timeout bounds it."""
    text = b""
    while wanted not in text:
        part = connection.recv(65_536)
        if not part:
            raise AssertionError(f"the connection ended without {wanted!r}: {text[-300:]!r}")
        text += part
    return text


def test_two_hundred_streams_leave_the_probes_fast(web: Process) -> None:
    with ExitStack() as stack:
        with ThreadPoolExecutor(20) as pool:
            paths = ["/workspaces/w1/events/stream"] * STREAMS
            streams = list(pool.map(web.connect, paths))
        for connection in streams:
            stack.enter_context(connection)
            read_until(connection, b"event: snapshot")
        pings = []
        with httpx.Client(base_url=web.url) as client:
            for number in range(50):
                web.ask("POST", "/workspaces/w1/notify", {"message": f"said-{number}"})
                began_at = time.monotonic()
                assert client.get("/healthz").status_code == 200
                pings.append(time.monotonic() - began_at)
        for connection in streams:
            text = read_until(connection, b"said-49")
            assert text.count(b"event: AGENT_MESSAGE") == 50
        pings.sort()
        print(f"healthz beside {STREAMS} streams: p50 {pings[25]:.4f} s, max {pings[-1]:.4f} s")
        assert pings[25] < 0.1 and pings[-1] < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_open_streams_and_polls_with_a_word(
    web: Process, number: signal.Signals
) -> None:
    streams = [web.connect("/workspaces/w1/events/stream") for _ in range(20)]
    poll = web.connect("/workspaces/w1/turns/next?wait_s=30")
    for connection in streams:
        read_until(connection, b"event: snapshot")
    began_at = time.monotonic()
    web.process.send_signal(number)
    for connection in streams:
        read_until(connection, b"event: bye")
        connection.close()
    assert b'"turn":null' in read_until(poll, b'"turn":null')
    poll.close()
    web.process.wait(20)
    took_s = time.monotonic() - began_at
    print(f"{number.name} with 20 streams and a poll: {took_s:.2f} s")
    assert took_s < 6


def bind_one(redis_url: str, web: Process) -> str:
    """Queue a turn and lay it out as the dispatch worker does; returns its id."""
    message = {"parts": [{"text": "work"}]}
    turn_id = web.ask("POST", "/workspaces/w1/a2a", {"params": {"message": message}})["queue_id"]
    web.ask("POST", "/workspaces/w1/heartbeat", {"active_tasks": 0})
    platform = Platform.start(Settings.model_validate({"redis_url": redis_url}))
    try:
        claim = sessions.claim(platform, "w1")
        assert isinstance(claim, sessions.Claim)
        sessions.bind(platform, "w1", claim.session, {"prompt": "work"}, inbox=True)
    finally:
        platform.clients.close()
    return str(turn_id)


def test_a_client_that_hung_up_while_waiting_takes_no_turn(
    redis62: servers.RedisServer, tmp_path: Path
) -> None:
    redeliver_s = 12
    with redis62.client() as client:
        client.flushall()
        with running(redis62.url, tmp_path, TURNKEEPER_REDELIVER_AFTER_S=str(redeliver_s)) as web:
            web.ask("POST", "/workspaces", {"id": "w1"})
            gone = web.connect("/workspaces/w1/turns/next?wait_s=30&instance=gone")
            wait_until(lambda: client.pubsub_channels("*w1*"), 20)
            gone.close()
            turn_id = bind_one(redis62.url, web)
            began_at = time.monotonic()
            turn = web.ask("GET", "/workspaces/w1/turns/next?wait_s=20&instance=here")["turn"]
            took_s = time.monotonic() - began_at
    assert turn["turn_id"] == turn_id
    assert took_s < redeliver_s / 2, "the closed connection took it, and it was handed over again"


def test_a_turn_wakes_a_waiting_runtime(web: Process, redis62: servers.RedisServer) -> None:
    with ThreadPoolExecutor(1) as pool:
        path = "/workspaces/w1/turns/next?wait_s=20"
        answer = pool.submit(lambda: (web.ask("GET", path)["turn"], time.monotonic()))
        with redis62.client() as client:
            wait_until(lambda: client.pubsub_channels("*w1*"), 20)
        turn_id = bind_one(redis62.url, web)
        bound_at = time.monotonic()
        turn, answered_at = answer.result(30)
    assert turn["turn_id"] == turn_id
    print(f"bound to handed over: {1000 * (answered_at - bound_at):.1f} ms")
    assert answered_at - bound_at < SOON_S


def test_streams_go_on_after_redis_was_killed(tmp_path: Path) -> None:
    binary = servers.binary_62() or servers.binary_7()
    if binary is None:
        pytest.skip("no redis-server")
    with (
        servers.redis_server(binary) as server,
        running(server.url, tmp_path) as web,
    ):
        web.ask("POST", "/workspaces", {"id": "w1"})
        with web.connect("/workspaces/w1/events/stream") as stream:
            read_until(stream, b"event: snapshot")
            server.kill9()
            assert httpx.get(f"{web.url}/healthz", timeout=10).status_code == 200
            down = httpx.get(f"{web.url}/workspaces", headers=HEADERS, timeout=10)
            assert down.status_code == 503 and int(down.headers["Retry-After"]) > 0
            server.start()
            web.ask("POST", "/workspaces/w1/notify", {"message": "back-again"})
            read_until(stream, b"back-again")


def test_a_burst_of_requests_waits_for_connections_and_none_fails(
    redis62: servers.RedisServer, tmp_path: Path
) -> None:
    """More requests at once than Redis connections: they queue, they are not refused."""

    def burst(number: int) -> int:
        with socket.create_connection(("127.0.0.1", web.port), timeout=60) as connection:
            lines = ["GET /workspaces/w1 HTTP/1.1", "Host: x", f"Authorization: Bearer {ADMIN}"]
            connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
            return int(read_until(connection, b"\r\n").split()[1])

    with redis62.client() as client:
        client.flushall()
    with (
        # How long one waits for a connection, too: a slow machine serves them as fast as it can.
        running(redis62.url, tmp_path, TURNKEEPER_REDIS_TIMEOUT_S="10") as web,
        ThreadPoolExecutor(300) as pool,
    ):
        web.ask("POST", "/workspaces", {"id": "w1"})
        assert set(pool.map(burst, range(600))) == {200}


def test_nothing_secret_reaches_the_log_and_no_socket_stays_in_the_home(
    web: Process, tmp_path: Path
) -> None:
    url = web.ask("POST", "/admin/login-links")["url"]
    made = web.ask("POST", "/admin/tokens", {"name": "t", "scopes": ["read"]})
    headers = {"Authorization": f"Bearer {made['token']}"}
    for path in (url, url, "/nowhere", "/workspaces/none", "/metrics"):
        httpx.get(web.url + path, headers=headers)
    with socket.create_connection(("127.0.0.1", web.port)) as broken:
        broken.sendall(f"GET {url} HTTP/1.1\r\nAuthorization: {ADMIN}\r\nbad\r\n\r\n".encode())
        broken.recv(1000)
    web.process.terminate()
    web.process.wait(10)
    text = web.output.read_text()
    code = url.partition("code=")[2]
    assert text, "there is a log to look at"
    for secret in (ADMIN, made["token"], code):
        assert secret not in text, json.dumps(text[-500:])
