"""A stand-in for the HTTP API: answers by method and path, and keeps what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "tk_test"


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    headers: dict[str, str]


@dataclass
class FakeApi:
    """``answers``: (method, path) to a list of (status, body); the last one is repeated.

    A body of type str is sent as ``text/event-stream``.
    """

    url: str = ""
    answers: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: tuple[int, Any]) -> None:
        self.answers[method, path] = list(answers)

    def last(self) -> Asked:
        return self.asked[-1]


def problem(status: int, code: str, detail: str, **fields: Any) -> tuple[int, Any]:
    return status, {"type": "about:blank", "title": code.replace("_", " "), "status": status,
                    "code": code, "detail": detail, **fields}  # fmt: skip


def handler_for(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            api.asked.append(
                Asked(
                    self.command,
                    parts.path,
                    parse_qs(parts.query),
                    json.loads(raw) if raw else None,
                    dict(self.headers),
                )  # fmt: skip
            )
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._send(*problem(401, "unauthorized", "A bearer token is required"))
                return
            queue = api.answers.get((self.command, parts.path))
            if queue is None:
                self._send(*problem(404, "workspace_not_found", "No workspace has this id."))
                return
            self._send(*(queue.pop(0) if len(queue) > 1 else queue[0]))

        def _send(self, status: int, body: Any) -> None:
            is_stream = isinstance(body, str)
            data = body.encode() if is_stream else json.dumps(body).encode()
            kind = "text/event-stream" if is_stream else "application/json"
            if status >= 400:
                kind = "application/problem+json"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(0 if body is None else len(data)))
            if status == 429:
                self.send_header("Retry-After", "7")
            self.end_headers()
            if body is not None:
                self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[FakeApi]:
    api = FakeApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(api))
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
