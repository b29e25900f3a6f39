"""A host of its own for one agent: some clients look for a card only at the root of a host.

Everything under it is passed on under the agent's path, streams as they come.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

KEPT = ("content-type", "retry-after", "cache-control", "etag", "last-modified", "allow")


class _Handler(BaseHTTPRequestHandler):
    agent_url = ""

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def do_DELETE(self) -> None:
        self._pass_on()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {
            name: text
            for name, text in self.headers.items()
            if name.lower() not in ("host", "content-length", "connection")
        }
        path = "" if self.path == "/" else self.path
        with (
            httpx.Client(trust_env=False, timeout=60) as client,
            client.stream(
                self.command, self.agent_url + path, content=body, headers=headers
            ) as answer,
            suppress(BrokenPipeError, ConnectionResetError),
        ):
            self.send_response(answer.status_code)
            for name in KEPT:
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Connection", "close")
            self.end_headers()
            for piece in answer.iter_raw():
                self.wfile.write(piece)
                self.wfile.flush()


@contextmanager
def front(agent_url: str) -> Iterator[str]:
    """A running front; yields its address."""
    handler = type("Handler", (_Handler,), {"agent_url": agent_url})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
