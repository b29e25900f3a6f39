"""The field platform's runtime as it is called: a server that holds each answer until its work is
over, beside the calls that it makes itself."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.field_runtime import FieldRuntime


class FieldAgent(FieldRuntime):
    """``go``: work goes on while it is clear. ``is_busy``: it refuses, as one that works does."""

    def __init__(self, platform_url: str, workspace_id: str, admin_token: str) -> None:
        super().__init__(platform_url, workspace_id, admin_token)
        self.got: list[dict[str, Any]] = []
        self.go, self.ended = threading.Event(), threading.Event()
        self.is_busy = False
        self.lock = threading.Lock()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one message/send; a turn that runs makes the next one busy."""
        with self.lock:
            if self.is_busy or self.active_tasks:
                text = "workspace agent busy — adapter handles retry (native_session)"
                return {"error": {"code": -32000, "message": text}}
            self.active_tasks += 1
            self.got.append(request["params"]["message"])
        while not self.go.wait(0.02) and not self.ended.is_set():
            pass
        with self.lock:
            self.active_tasks -= 1
        return {"result": {"role": "agent", "parts": [{"kind": "text", "text": "field done"}]}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    runtime: FieldAgent

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        if request.get("method") == "message/send":
            told = self.runtime.answer(request)
        else:
            told = {"error": {"code": -32601, "message": "method not found"}}
        self._say({"jsonrpc": "2.0", "id": request.get("id"), **told})

    def do_GET(self) -> None:
        self._say({"name": "field"})

    def _say(self, content: Any) -> None:
        body = json.dumps(content).encode()
        with suppress(OSError):
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def field_agent(platform_url: str, workspace_id: str, admin_token: str) -> Iterator[FieldAgent]:
    """A running one; not registered yet."""
    runtime = FieldAgent(platform_url, workspace_id, admin_token)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (_Handler,), {"runtime": runtime}))
    server.daemon_threads = True
    runtime.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="field-runtime")
    thread.start()
    try:
        yield runtime
    finally:
        runtime.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
