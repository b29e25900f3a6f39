"""A platform of one workspace on http.server: records every request, answers as told."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil

Json = dict[str, Any]


def wait_until(predicate: Callable[[], Any], timeout_s: float = 8.0) -> Any:
    """The first true value of the predicate; fails after the timeout."""
    pause = threading.Event()
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        value = predicate()
        if value:
            return value
        pause.wait(0.01)
    raise AssertionError(f"not within {timeout_s} s")


def is_alive(pid: int) -> bool:
    """Does it run? A zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class FakePlatform:
    """``is_down`` answers 503 to everything; ``stale`` holds ended session ids; while
    ``answers_reports`` is not set, progress stays without an answer."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[tuple[str, Json, float, str]] = []
        self.turns: list[Json] = []
        self.directives: list[Json] = []
        self.polls: list[int] = []
        self.speaks_by_poll = True
        self.speaks_by_beat = True
        self._unpolled: list[Json] = []
        self.stale: set[str] = set()
        self.is_down = False
        self.refuse_register = 0
        self.has_report = threading.Event()
        self.answers_reports = threading.Event()
        self.answers_reports.set()
        self.auth_token: str | None = None
        self.changed = threading.Condition()
        self.server = _Server(("127.0.0.1", port), _Handler)
        self.server.platform = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        with self.changed:
            self.is_closing = True
            self.changed.notify_all()
        self.answers_reports.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    is_closing = False

    def offer(self, prompt: str = "", **fields: Any) -> str:
        """Queue a turn; its session id."""
        with self.changed:
            number = fields.pop("number", len(self.turns) + len(self.of("start")) + 1)
            session_id = fields.pop("session_id", f"ses_{number}_{time.monotonic_ns()}")
            turn = {"turn_id": f"trn_{number}", "session_id": session_id, "fence": number}
            self.turns.append({**turn, "prompt": prompt, **fields})
            self.changed.notify_all()
        return str(session_id)

    def direct(self, kind: str, session_id: str, **fields: Any) -> None:
        """Handed once over the poll, and repeated in every reply to a heartbeat."""
        with self.changed:
            directive = {"type": kind, "session_id": session_id, **fields}
            self.directives.append(directive)
            self._unpolled.append(directive)
            self.changed.notify_all()

    def of(self, verb: str, session_id: str | None = None) -> list[Json]:
        """Bodies of accepted and refused requests whose path ends with the verb."""
        return [
            body
            for path, body, _, _ in list(self.requests)
            if path.endswith("/" + verb) and (session_id is None or session_id in path)
        ]

    def finish_of(self, session_id: str, timeout_s: float = 8.0) -> Json:
        found: list[Json] = wait_until(lambda: self.of("finish", session_id), timeout_s)
        return found[0]

    def times_of(self, verb: str) -> list[float]:
        return [at for path, _, at, _ in list(self.requests) if path.endswith("/" + verb)]

    def took_s(self) -> float:
        """From the last start to the last finish: never less than the runtime's own time."""
        return self.times_of("finish")[-1] - self.times_of("start")[-1]

    def answer(self, path: str, body: Json, query: str = "") -> tuple[int, Json]:
        if self.is_down:
            return 503, {"code": "down"}
        if path == "/registry/register":
            if self.refuse_register:
                return self.refuse_register, {"code": "unauthorized", "title": "Bad token"}
            return 200, {"status": "registered", "auth_token": self.auth_token}
        if path.endswith("/turns/next"):
            asked = parse_qs(query)
            return 200, self._next(int(asked["room"][0]), float(asked["wait_s"][0]))
        session_id = path.split("/")[-2]
        if session_id in self.stale:
            return 409, {"code": "stale_fence", "title": "The session was ended"}
        if path.endswith("/progress"):
            self.has_report.set()
            self.answers_reports.wait(10)
        speaks = path.endswith("/heartbeat") and self.speaks_by_beat
        directives = list(self.directives) if speaks else []
        return 200, {"status": "ok", "directives": directives, "queue_depth": 0}

    def _next(self, room: int, wait_s: float) -> Json:
        def has_news() -> bool:
            has_order = self.speaks_by_poll and bool(self._unpolled)
            return has_order or (room > 0 and bool(self.turns)) or is_over()

        def is_over() -> bool:
            """A newer poll takes the place of this one, whose client has hung up: an order that
            is handed to the old one would be lost until the next beat."""
            return self.is_closing or len(self.polls) > number

        with self.changed:
            self.polls.append(room)
            number = len(self.polls)
            self.changed.notify_all()
            self.changed.wait_for(has_news, wait_s)
            if is_over():
                return {"turn": None, "directives": []}
            directives: list[Json] = []
            if self.speaks_by_poll:
                directives, self._unpolled = self._unpolled, []
            turn = self.turns.pop(0) if room and self.turns else None
            return {"turn": turn, "directives": directives}


class _Server(ThreadingHTTPServer):
    platform: FakePlatform
    daemon_threads = True
    block_on_close = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        self._answer(json.loads(self.rfile.read(length) or b"{}"))

    def _answer(self, body: Json) -> None:
        platform, target = self.server.platform, urlsplit(self.path)
        path = target.path
        at = time.monotonic()
        if not path.endswith("/turns/next"):
            token = self.headers.get("Authorization", "")
            status, reply = platform.answer(path, body)
            if status != 503:
                platform.requests.append((path, body, at, token))
        else:
            status, reply = platform.answer(path, body, target.query)
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
