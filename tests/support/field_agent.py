"""The field platform's runtime, imitated: an agent's server that holds each answer until its work
is over, and a client of the platform that registers, beats by a count, and reports."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


class FieldAgent:
    """``hold``: work goes on while it is clear. ``is_busy``: it refuses, as one that works does."""

    def __init__(self, platform_url: str, workspace_id: str) -> None:
        self.platform_url, self.workspace_id = platform_url, workspace_id
        self.url, self.token = "", ""
        self.got: list[dict[str, Any]] = []
        self.go, self.ended = threading.Event(), threading.Event()
        self.active, self.is_busy = 0, False
        self.lock = threading.Lock()

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        with httpx.Client(trust_env=False, timeout=10) as client:
            headers = {"Authorization": f"Bearer {token or self.token}"}
            answer = client.request(method, self.platform_url + path, json=body, headers=headers)
            assert answer.status_code < 400, answer.text
            return answer.json()

    def register(self, token: str) -> None:
        """The token that comes back is shown this once; all else is said with it."""
        card = {"name": "field", "capabilities": {"streaming": False}}
        body = {"id": self.workspace_id, "url": self.url, "agent_card": card}
        told = self.call("POST", "/registry/register", body, token)
        assert told["status"] == "registered"
        self.token = told["auth_token"]

    def beat(self, active_tasks: int | None = None) -> Any:
        """By a count only, as it always did."""
        body = {
            "workspace_id": self.workspace_id,
            "error_rate": 0.0,
            "sample_error": "",
            "active_tasks": self.active if active_tasks is None else active_tasks,
            "uptime_seconds": 12,
            "current_task": "",
            "runtime_state": "",
            "runtime_metadata": {"capabilities": {"heartbeat": True}, "idle_timeout_seconds": 600},
        }
        return self.call("POST", "/registry/heartbeat", body)

    def path(self, rest: str) -> str:
        return f"/workspaces/{self.workspace_id}{rest}"

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one message/send; a turn that runs makes the next one busy."""
        with self.lock:
            if self.is_busy or self.active:
                text = "workspace agent busy — adapter handles retry (native_session)"
                return {"error": {"code": -32000, "message": text}}
            self.active += 1
            self.got.append(request["params"]["message"])
        while not self.go.wait(0.02) and not self.ended.is_set():
            pass
        with self.lock:
            self.active -= 1
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
def field_agent(platform_url: str, workspace_id: str) -> Iterator[FieldAgent]:
    """A running one; not registered yet."""
    runtime = FieldAgent(platform_url, workspace_id)
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
