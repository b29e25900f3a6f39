"""The WebSocket as it is deployed: gunicorn with gevent, and a client library of its own."""

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e.test_web import ADMIN, HEADERS, Process, running
from tests.support import servers

pytestmark = pytest.mark.e2e
CLIENTS = 100


@pytest.fixture
def web(redis62: servers.RedisServer, tmp_path: Path) -> Iterator[Process]:
    with redis62.client() as client:
        client.flushall()
    with running(redis62.url, tmp_path) as process:
        process.ask("POST", "/workspaces", {"id": "w1"})
        yield process


def client(web: Process, query: str = "workspace=w1") -> ClientConnection:
    url = f"ws://127.0.0.1:{web.port}/ws?{query}"
    return connect(url, additional_headers=HEADERS, proxy=None, compression=None)


def texts_until(connection: ClientConnection, last: str) -> list[str]:
    found: list[str] = []
    while not found or found[-1] != last:
        one = json.loads(connection.recv(timeout=30))
        if one["event"] == "AGENT_MESSAGE":
            found.append(one["payload"]["text"])
    return found


def test_a_hundred_clients_hear_everything_and_leave_the_probes_fast(web: Process) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(20) as pool:
        clients = list(pool.map(lambda _: stack.enter_context(client(web)), range(CLIENTS)))
        pings, said = [], [f"said-{number}" for number in range(50)]
        with httpx.Client(base_url=web.url) as probe:
            for text in said:
                web.ask("POST", "/workspaces/w1/notify", {"message": text})
                began_at = time.monotonic()
                assert probe.get("/healthz").status_code == 200
                pings.append(time.monotonic() - began_at)
        for connection in clients:
            assert texts_until(connection, said[-1]) == said
    pings.sort()
    print(f"healthz beside {CLIENTS} WebSockets: p50 {pings[25]:.4f} s, max {pings[-1]:.4f} s")
    assert pings[25] < 0.5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_every_client_with_a_code(web: Process, number: signal.Signals) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(client(web)) for _ in range(20)]
        began_at = time.monotonic()
        web.process.send_signal(number)
        for connection in clients:
            with pytest.raises(ConnectionClosed) as caught:
                texts_until(connection, "never")
            assert caught.value.rcvd is not None
            told = (caught.value.rcvd.code, caught.value.rcvd.reason)
            assert told == (1001, "the server stops")
        web.process.wait(20)
        assert time.monotonic() - began_at < 6, "open ones would hold it for graceful_timeout"


def test_a_client_resumes_at_another_process(
    web: Process, redis62: servers.RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with running(redis62.url, tmp_path / "other") as other:
        with client(web) as connection:
            first = web.ask("POST", "/workspaces/w1/notify", {"message": "one"})["id"]
            assert texts_until(connection, "one") == ["one"]
        web.process.kill()
        other.ask("POST", "/workspaces/w1/notify", {"message": "two"})
        with client(other, f"workspace=w1&since={first}") as connection:
            other.ask("POST", "/workspaces/w1/notify", {"message": "three"})
            assert texts_until(connection, "three") == ["two", "three"]


@contextmanager
def flooding(connection: ClientConnection) -> Iterator[None]:
    """Frames as fast as the other side takes them."""
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            connection.send(b"x" * 60_000)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        connection.socket.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_a_client_that_sends_without_end_starves_nobody(web: Process) -> None:
    with ExitStack() as stack:
        threading.excepthook, before = lambda _: None, threading.excepthook
        stack.callback(setattr, threading, "excepthook", before)
        loud = [stack.enter_context(client(web)) for _ in range(4)]
        for connection in loud:
            stack.enter_context(flooding(connection))
        with client(web) as quiet:
            took = []
            for number in range(30):
                began_at = time.monotonic()
                web.ask("POST", "/workspaces/w1/notify", {"message": str(number)})
                texts_until(quiet, str(number))
                took.append(time.monotonic() - began_at)
        took.sort()
        assert took[15] < 0.5, f"p50 {took[15]:.3f} s"


def test_no_token_is_in_the_log(web: Process) -> None:
    url = f"ws://127.0.0.1:{web.port}/ws"
    with connect(url, subprotocols=["bearer", ADMIN], proxy=None) as connection:  # type: ignore[list-item]
        assert json.loads(connection.recv(timeout=30))["event"] == "snapshot"
    web.process.terminate()
    web.process.wait(10)
    assert ADMIN not in web.output.read_text()
