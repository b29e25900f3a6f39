"""Who takes his time, and who sends too much: real gunicorn over a real socket."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_web import ADMIN, HEADERS, Process, running
from tests.support import servers

pytestmark = pytest.mark.e2e

BODY_TIMEOUT_S, SLOW = 1.0, 150
KEEPALIVE_S = 5.0  # of app/gunicorn_config.py
DRIP_S = 0.2
GIVE_UP_S = 30.0  # how long a drip goes on that nobody ends


@pytest.fixture(scope="module")
def web(
    redis62: servers.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """One for all tests here: what one of them did must not harm the next."""
    with redis62.client() as client:
        client.flushall()
    folder = tmp_path_factory.mktemp("web")
    with running(redis62.url, folder, TURNKEEPER_BODY_TIMEOUT_S=str(BODY_TIMEOUT_S)) as process:
        process.ask("POST", "/workspaces", {"id": "w1"})
        yield process


def head(method: str, path: str, *lines: str) -> bytes:
    known = ["Host: localhost", f"Authorization: Bearer {ADMIN}", *lines]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *known, "", ""]).encode()


def connect(web: Process) -> socket.socket:
    return socket.create_connection(("127.0.0.1", web.port), timeout=15)


def drip(connection: socket.socket, piece: bytes, limit_s: float) -> tuple[bytes, float]:
    """Send a piece now and then until the server answers or hangs up; what it said, and when."""
    began, pause = time.monotonic(), threading.Event()
    connection.settimeout(DRIP_S)
    while (passed_s := time.monotonic() - began) < limit_s:
        try:
            connection.sendall(piece)
            return connection.recv(65_536), time.monotonic() - began
        except TimeoutError:
            pause.wait(0.01)
        except OSError:
            return b"", time.monotonic() - began
    return b"still open", passed_s


def body_of(answer: bytes) -> dict[str, object]:
    found: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def test_a_head_that_drips_is_hung_up_on(web: Process) -> None:
    with connect(web) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        answer, passed_s = drip(connection, b"a", GIVE_UP_S)
    assert answer == b""
    assert passed_s < KEEPALIVE_S + 15


def test_a_body_that_drips_is_refused_and_says_why(web: Process) -> None:
    with connect(web) as connection:
        connection.sendall(head("POST", "/workspaces/w1/pause", "Content-Length: 5000"))
        answer, passed_s = drip(connection, b" ", GIVE_UP_S)
    assert answer.startswith(b"HTTP/1.1 408"), answer
    told = body_of(answer)
    assert (told["mechanism"], told["setting"]) == ("body_timeout", "TURNKEEPER_BODY_TIMEOUT_S")
    assert told["limit_s"] == BODY_TIMEOUT_S
    assert BODY_TIMEOUT_S <= float(str(told["measured_s"])) < 10
    assert passed_s < 12


def test_control_with_a_longer_limit_the_body_goes_on_dripping(
    redis62: servers.RedisServer, tmp_path: Path
) -> None:
    with (
        running(redis62.url, tmp_path, TURNKEEPER_BODY_TIMEOUT_S="60") as patient,
        connect(patient) as connection,
    ):
        connection.sendall(head("POST", "/workspaces/w1/pause", "Content-Length: 5000"))
        answer, _ = drip(connection, b" ", 4)
    assert answer == b"still open"


def test_the_next_request_on_a_connection_has_a_time_of_its_own(web: Process) -> None:
    with httpx.Client(base_url=web.url, headers=HEADERS) as client:
        end = time.monotonic() + 2 * BODY_TIMEOUT_S
        while time.monotonic() < end:
            answer = client.post("/workspaces/w1/pause", json={"reason": "x" * 300})
            assert answer.status_code == 200


def test_many_slow_requests_leave_the_others_fast(web: Process) -> None:
    with ExitStack() as stack:
        for number in range(SLOW):
            connection = stack.enter_context(connect(web))
            half = head("POST", "/workspaces/w1/pause", "Content-Length: 5000") + b" "
            connection.sendall(half if number % 2 else half[:40])
        pings = []
        for _ in range(20):
            began = time.monotonic()
            assert httpx.get(f"{web.url}/healthz", timeout=5).status_code == 200
            pings.append(time.monotonic() - began)
    assert sorted(pings)[10] < 0.5


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head("GET", "/healthz", "X-Big: " + "a" * 20_000), b"431"),
        (head("GET", "/healthz", *(f"X-{number}: a" for number in range(200))), b"431"),
        (head("GET", "/healthz?" + "a" * 20_000), b"414"),
        (b"nonsense\r\n\r\n", b"400"),
        (head("POST", "/healthz", "Content-Length: 1", "Transfer-Encoding: chunked"), b"400"),
        (head("POST", "/healthz", "Content-Length: -5"), b"400"),
    ],
    ids=["header", "headers", "line", "nonsense", "smuggled", "negative"],
)
def test_a_head_beyond_the_bounds_is_refused(web: Process, request_: bytes, status: bytes) -> None:
    with connect(web) as connection:
        connection.sendall(request_)
        answer = connection.recv(65_536)
    assert answer.split()[1] in (status, b"400"), answer[:200]
    assert httpx.get(f"{web.url}/healthz", timeout=5).status_code == 200


def test_a_chunked_body_beyond_the_bound_is_refused_and_not_cut(web: Process) -> None:
    """What is left of it after a cut would be a body, too: here the first megabyte is one."""

    def endless() -> Iterator[bytes]:
        yield b'{"reason": "cut"}'
        for _ in range(40):
            yield b" " * 65_536

    path = f"{web.url}/workspaces/w1/pause"
    try:
        answer = httpx.post(path, content=endless(), headers=HEADERS, timeout=10)
    except httpx.TransportError:
        return  # hung up on while it was still sending
    assert answer.status_code == 413, answer.text
