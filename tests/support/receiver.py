"""A receiver on loopback that does what it is told: answers, fails, hangs, redirects, dies."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


@dataclass(frozen=True)
class Got:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came, and what comes next: ``answers`` are used up in turn, the last one stays."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, request: Got) -> Answer:
        with self.lock:
            self.got.append(request)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def then(self, *answers: Answer) -> "Receiver":
        with self.lock:
            self.answers[:] = answers
        return self

    @property
    def ids(self) -> list[str]:
        with self.lock:
            return [one.headers["webhook-id"] for one in self.got]


class Handler(BaseHTTPRequestHandler):
    """Reads a request whole, then does as the receiver says."""

    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with suppress(OSError):
            self.receiver.take(Got(self.path, headers, body))(self)

    do_GET = do_POST  # noqa: N815 - named so by the library

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so above
        pass

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda handler: handler.say(code, body, **headers)


def redirect(to: str) -> Answer:
    return status(302, location=to)


def hang(handler: Handler) -> None:
    """No answer until the test is over."""
    handler.receiver.ended.wait(30)


def drip(handler: Handler) -> None:
    """A byte now and then, each well within the time of one read."""
    handler.send_response(200)
    handler.send_header("content-length", "1000000")
    handler.end_headers()
    while not handler.receiver.ended.wait(0.02):
        handler.wfile.write(b"x")


def drip_head(handler: Handler) -> None:
    """A header line that never ends."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while not handler.receiver.ended.wait(0.02):
        handler.wfile.write(b"x")


def flood(handler: Handler) -> None:
    """A body without end."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    while not handler.receiver.ended.is_set():
        handler.wfile.write(b"x" * 65_536)


def die(handler: Handler) -> None:
    """The request was read; the connection breaks without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """Its threads are ours to end; a broken pipe is what the test wanted."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def receiver(*answers: Answer) -> Iterator[Receiver]:
    """A receiver that answers 200 unless told otherwise."""
    told = Receiver(answers=list(answers) or [status(200)])
    kind = type("Told", (Handler,), {"receiver": told})
    server = Server(("127.0.0.1", 0), kind)
    told.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="receiver")
    thread.start()
    try:
        yield told
    finally:
        told.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
