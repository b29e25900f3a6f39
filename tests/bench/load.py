"""What people and agents do to a platform over HTTP, in one process under gevent."""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import gevent
import gevent.socket

from app.core.platform import Platform
from app.core.schema import ensure
from tests.bench.keepalive import Connection
from tests.bench.ours import RATES, make_workspaces, sync_each_second
from tests.support.wait import let_pass
from tests.support.world import ADMIN, SIXTY_TIMES, World, settings_of, world

CHATS, SENDERS, BEAT_S = 5, 32, 30.0
# Clocks as by default; what is kept is bounded within minutes.
SETTINGS = {
    **{name: "" for name in SIXTY_TIMES if name != "TURNKEEPER_LOG_FORMAT"},
    "LOG_LEVEL": "WARNING",
    **RATES,
    "TURNKEEPER_TURNS_KEPT": "200",
    "TURNKEEPER_EVENTS_KEPT": "2000",
    "TURNKEEPER_FIRES_KEPT": "100",
    "TURNKEEPER_IDEMPOTENCY_TTL_S": "120",
}


def percentile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@contextmanager
def all_processes(count: int, **env: str) -> Iterator[tuple[World, Platform, list[str]]]:
    """Redis, web, workers and scheduler with so many workspaces; SIGTERM ends them too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), **SETTINGS, **env) as here:
        sync_each_second(here.redis)
        platform = Platform.start(settings_of(here))
        ensure(platform.clients)
        ids = make_workspaces(platform, count)
        here.add_web()
        here.add_workers()
        here.add_scheduler()
        yield here, platform, ids


@dataclass
class Load:
    """Chats, agents and onlookers; ``waits``: seconds from its time until each was answered.

    ``places``: so many workspaces are sent to, one after the other. ``is_quiet``: nobody sends any
    more; ``is_over``: all go. ``unanswered``: not within the wait that message/send has; ``polled``
    and ``beaten``: polls answered, heartbeats taken.
    """

    port: int
    places: int
    poll_s: float = 5.0
    is_over: bool = False
    is_quiet: bool = False
    sent: int = 0
    unanswered: int = 0
    polled: int = 0
    beaten: int = 0
    waits: list[float] = field(default_factory=list, repr=False)
    late_s: float = 0.0

    def agent(self, workspace_id: str) -> None:
        """A runtime of one slot that answers at once."""
        base = f"/workspaces/{workspace_id}"
        with closing(Connection(self.port, ADMIN)) as line:
            while not self.is_over:
                turn = line.ask("GET", f"{base}/turns/next?wait_s={self.poll_s:g}&instance=load")[
                    "turn"
                ]
                self.polled += 1
                if turn:
                    session, fence = f"{base}/sessions/{turn['session_id']}", turn["fence"]
                    line.ask("POST", f"{session}/start", {"fence": fence, "instance": "load"})
                    result = {"text": "done"}
                    line.ask("POST", f"{session}/finish", {"fence": fence, "result": result})

    def beats(self, workspace_id: str) -> None:
        """A heartbeat at the default interval."""
        while not self.is_over:
            with closing(Connection(self.port, ADMIN)) as line:
                beat = {"seq": None, "active_tasks": 0}
                line.ask("POST", f"/workspaces/{workspace_id}/heartbeat", beat)
            self.pause(time.perf_counter() + BEAT_S)

    def stream(self, workspace_id: str) -> None:
        """One who looks at a workspace's events and keeps none."""
        address = ("127.0.0.1", self.port)
        with closing(gevent.socket.create_connection(address, 60)) as connection:
            head = f"GET /workspaces/{workspace_id}/events/stream HTTP/1.1\r\nHost: bench\r\n"
            connection.sendall(f"{head}Authorization: Bearer {ADMIN}\r\n\r\n".encode())
            while not self.is_over:
                assert connection.recv(65536), "the stream was closed"

    def page(self) -> None:
        """The operator's page of the fleet, every five seconds."""
        while not self.is_over:
            with closing(Connection(self.port, ADMIN)) as line:
                line.ask("GET", "/fleet")
            self.pause(time.perf_counter() + 5)

    def sender(self, line: Connection, planned: float | None) -> None:
        """One chat message until its answer; ``planned``: when it was to be sent."""
        number, self.sent = self.sent, self.sent + 1
        chat = f"chat-{number // self.places % CHATS}"
        message = {
            "messageId": f"m-{number}",
            "contextId": chat,
            "role": "user",
            "parts": [{"kind": "text", "text": "What is new?"}],
        }
        began = time.perf_counter()
        self.late_s = max(self.late_s, began - (planned or began))
        body = {"jsonrpc": "2.0", "id": number, "method": "message/send"}
        path = f"/workspaces/bench-{number % self.places}/a2a"
        told = line.ask("POST", path, {**body, "params": {"message": message}})
        if told["result"]["status"]["state"] != "completed":
            self.unanswered += 1  # within the wait of message/send; the turn goes on
            return
        self.waits.append(time.perf_counter() - (planned or began))

    def closed_loop(self, seconds: float, senders: int = SENDERS) -> float:
        """Answered messages a second, as many as so many callers get."""
        end, before = time.perf_counter() + seconds, len(self.waits)

        def loop() -> None:
            with closing(Connection(self.port, ADMIN)) as line:
                while time.perf_counter() < end:
                    self.sender(line, None)

        gevent.joinall([gevent.spawn(loop) for _ in range(senders)], raise_error=True)
        return (len(self.waits) - before) / seconds

    def open_loop(self, rate: float, lane: int) -> None:
        """Every ``SENDERS``-th message of a plan of so many a second, from now on."""
        planned = time.perf_counter() + lane / rate
        with closing(Connection(self.port, ADMIN)) as line:
            while not (self.is_quiet or self.is_over):
                self.pause(planned)
                self.sender(line, planned)
                planned += SENDERS / rate

    def pause(self, until: float) -> None:
        """Until then, or until it is over."""
        while not self.is_over and (left := until - time.perf_counter()) > 0:
            let_pass(min(left, 1))
