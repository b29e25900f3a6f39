"""The shim between pipes and the MCP route, as a process of its own."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runtime.settings import process_environ
from tests.unit.runtime.fake_platform import Json

META = "io.modelcontextprotocol/"
DEAD = "http://127.0.0.1:9"  # the discard port: nobody listens


class Route:
    """Records what it is asked; answers with the method, or as ``answers`` says."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, bytes]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.route = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def answer(self, body: bytes) -> tuple[int, bytes]:
        if self.answers:
            return self.answers.pop(0)
        message = json.loads(body)
        if not isinstance(message, dict) or "id" not in message:
            return 202, b""
        told = {"jsonrpc": "2.0", "id": message["id"], "result": {"method": message["method"]}}
        return 200, json.dumps(told, indent=1).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        route: Route = self.server.route  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        route.asked.append(({k.lower(): v for k, v in self.headers.items()}, body))
        status, data = route.answer(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def route() -> Iterator[Route]:
    made = Route()
    yield made
    made.close()


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(route: Route) -> Iterator[Start]:
    begun: list[subprocess.Popen[bytes]] = []

    def begin(**environ: str) -> "subprocess.Popen[bytes]":
        env = {**process_environ(), "TURNKEEPER_URL": route.url, "TURNKEEPER_TOKEN": "the-token"}
        env |= {"TURNKEEPER_WORKSPACE": "w 1", "TURNKEEPER_SESSION_ID": "ses_1", **environ}
        pipe = subprocess.PIPE
        argv = [sys.executable, "-P", "-m", "runtime.mcp_shim"]
        begun.append(subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        for pipe_end in (process.stdin, process.stdout, process.stderr):
            with suppress(BrokenPipeError):
                pipe_end.close()  # type: ignore[union-attr]


def request(number: int, method: str = "ping", **params: Any) -> bytes:
    body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(body).encode() + b"\n"


def told(process: "subprocess.Popen[bytes]", data: bytes) -> list[Json]:
    """Everything it answers until standard input has ended; it must then end by itself."""
    out, _ = process.communicate(data, timeout=30)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def test_answers_come_in_order_on_one_line_each_and_the_end_of_input_is_the_end(
    route: Route, start: Start
) -> None:
    note = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
    lines = [request(number, f"m{number}") for number in range(20)]
    found = told(start(), b"\n".join([*lines[:5], note, *lines[5:]]))
    assert [one["id"] for one in found] == list(range(20))
    assert [one["result"]["method"] for one in found] == [f"m{number}" for number in range(20)]
    headers, _ = route.asked[0]
    assert headers["authorization"] == "Bearer the-token"
    assert headers["turnkeeper-session"] == "ses_1"
    assert len(route.asked) == 21


def test_what_the_newest_era_wants_in_headers_is_read_from_the_message(
    route: Route, start: Start
) -> None:
    meta = {f"{META}protocolVersion": "2026-07-28", f"{META}clientCapabilities": {}}
    lines = [request(1, "tools/call", _meta=meta, name="get_policy"), request(2, "ping")]
    lines.append(request(3, "tools/call", _meta=meta, name="naïve"))
    told(start(), b"".join(lines))
    new, old, odd = (headers for headers, _ in route.asked)
    assert (new["mcp-protocol-version"], new["mcp-method"]) == ("2026-07-28", "tools/call")
    assert new["mcp-name"] == "get_policy"
    assert odd["mcp-name"] == "=?base64?bmHDr3Zl?="
    assert "mcp-protocol-version" not in old


def test_a_platform_that_is_away_is_an_answer_and_no_end(route: Route, start: Start) -> None:
    (away,) = told(start(TURNKEEPER_URL=DEAD), request(7))
    assert (away["id"], away["error"]["code"]) == (7, -32000)
    process = start()
    assert process.stdin is not None and process.stdout is not None
    route.answers = [(503, b'{"code":"store_unavailable","detail":"away"}')]
    for number in (1, 2):
        process.stdin.write(request(number))
        process.stdin.flush()
        one = json.loads(process.stdout.readline())
        assert one["id"] == number
        assert ("error" in one) == (number == 1)


REFUSED = {
    401: (b'{"code":"unauthorized","title":"no"}', -32001, "session has ended"),
    403: (b'{"code":"forbidden","detail":"not yours"}', -32001, "not yours"),
    413: (b'{"code":"body_too_large","detail":"too big"}', -32001, "too big"),
    502: (b"<html>bad gateway</html>", -32000, "Bad Gateway"),
    200: (b"<html>a login page</html>", -32001, "OK"),
}


@pytest.mark.parametrize("status", REFUSED)
def test_an_answer_that_is_no_json_rpc_is_told_as_one(
    route: Route, start: Start, status: int
) -> None:
    body, code, words = REFUSED[status]
    route.answers = [(status, body)]
    first, second = told(start(), request(1) + request(2))
    assert (first["id"], first["error"]["code"]) == (1, code)
    assert words in first["error"]["message"]
    assert first["error"]["data"]["status"] == status
    assert "result" in second


def test_an_error_without_an_id_gets_that_of_its_request(route: Route, start: Start) -> None:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}}
    route.answers = [(400, json.dumps(error).encode())]
    (found,) = told(start(), request(5))
    assert (found["id"], found["error"]["code"]) == (5, -32600)


def test_lines_that_are_too_long_or_no_json_are_answered_and_passed_over(
    route: Route, start: Start
) -> None:
    long = b'{"id": 1, "text": "' + b"x" * 3_000_000 + b'"}\n'
    lines = long + b"{nonsense\n" + b"\xff\n" + b"[" * 100_000 + b"\n" + request(4)
    huge, nonsense, odd, deep, good = told(start(), lines)
    assert huge["error"]["data"] == {
        "mechanism": "mcp_line",
        "limit_bytes": 1_048_576,
        "measured_bytes": len(long),
        "setting": "LINE_MAX_BYTES",
    }
    assert {one["error"]["code"] for one in (nonsense, odd, deep)} == {-32700}
    assert good["id"] == 4
    assert len(route.asked) == 1, "only what can be read goes further"


def test_a_huge_line_without_an_end_is_not_kept(start: Start) -> None:
    (found,) = told(start(), b"x" * 5_000_000)
    assert found["error"]["data"]["measured_bytes"] == 5_000_000


def test_the_environment_must_say_where_to(start: Start) -> None:
    process = start(TURNKEEPER_TOKEN="")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, b"")
    assert b"TURNKEEPER_TOKEN" in err


def test_a_client_that_has_gone_ends_it_quietly(start: Start) -> None:
    process = start()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(request(1))
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    process.stdin.write(request(2))
    process.stdin.close()
    assert process.wait(30) == 0
    interrupted = start()
    assert interrupted.stdin is not None and interrupted.stdout is not None
    interrupted.stdin.write(request(1))
    interrupted.stdin.flush()
    interrupted.stdout.readline()
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(30) == 0
