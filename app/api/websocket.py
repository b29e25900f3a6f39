"""A WebSocket that only tells: what a client sends is bounded, read and forgotten.

Two writers share a connection, the stream and whoever answers a client's ping or close, so every
write is whole and under a lock. A client is asked now and then whether it still lives.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from flask import Response
from wsproto import ConnectionType
from wsproto.connection import Connection as Protocol
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Event, Ping, TextMessage
from wsproto.events import Message as Received
from wsproto.frame_protocol import CloseReason

from app.api import watching
from app.api.upgrade import Asked
from app.api.watching import REVOKED, STOPS, Message, Stream
from app.core.platform import Platform
from app.core.settings import env_name

log = structlog.get_logger(__name__)
CHUNK_BYTES = 4_096
# After each read: whoever sends without end gets 400 KB/s read, and the process is not starved.
PAUSE_S = 0.01
CLOSE_WAIT_S = 1.0
CLOSES = {
    STOPS: (CloseReason.GOING_AWAY, "the server stops"),
    REVOKED: (CloseReason.POLICY_VIOLATION, "the token was revoked or has expired"),
}


class Connection:
    """One client; ``on_end`` is called when nothing more can be said to it."""

    def __init__(self, platform: Platform, sock: Any, on_end: Callable[[], None]) -> None:
        self._clock, self._settings = platform.clock, platform.settings
        self._sock = sock
        self._on_end = on_end
        self._protocol = Protocol(ConnectionType.SERVER)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._message_bytes = 0
        self._asked_at = self._clock.monotonic()
        self._unanswered_since: float | None = None
        self._reader = threading.Thread(target=self._read, name="websocket", daemon=True)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more can be said."""
        return self._ended.is_set()

    def open(self, accepted: bytes) -> None:
        """Accept the handshake, and read from now on."""
        self._sock.settimeout(self._settings.stream_write_timeout_s)
        self._write(lambda: accepted)
        self._reader.start()

    def send(self, texts: Sequence[str]) -> None:
        """Send messages at once, and a ping where one is due."""
        events: list[Event] = [TextMessage(data=text) for text in texts]
        now = self._clock.monotonic()
        if not texts or now - self._asked_at >= self._settings.stream_ping_s:
            self._asked_at = now
            events.append(Ping())
            if self._unanswered_since is None:
                self._unanswered_since = now
            elif now - self._unanswered_since >= self._settings.stream_write_timeout_s:
                self._drop("stream_silent", now - self._unanswered_since)
                return
        self._say(events)

    def close(self, code: int, reason: str) -> None:
        """Say why, and give the client a moment to answer."""
        self._say([CloseConnection(code=code, reason=reason)])
        self._ended.wait(CLOSE_WAIT_S)

    def end(self) -> None:
        """Nothing is sent or read any more."""
        self._end()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if self._reader.ident is not None:
            self._reader.join(CLOSE_WAIT_S)

    def _say(self, events: Iterable[Event]) -> None:
        self._write(lambda: b"".join(self._protocol.send(event) for event in events))

    def _write(self, made: Callable[[], bytes]) -> None:
        began_at = self._clock.monotonic()
        with self._lock:
            # Once the client has said goodbye, or the last word is said, there is no more.
            if self.has_ended or self._protocol.state is not ConnectionState.OPEN:
                return
            try:
                self._sock.sendall(made())
                return
            except TimeoutError:
                pass
            except OSError:
                self._end()
                return
        self._drop("stream_write", self._clock.monotonic() - began_at)

    def _drop(self, mechanism: str, measured_s: float) -> None:
        """A client that takes nothing: it resumes from the last event it has."""
        limit_s, setting = self._settings.stream_write_timeout_s, env_name("stream_write_timeout_s")
        facts = {"limit_s": limit_s, "measured_s": round(measured_s, 3), "setting": setting}
        log.warning("LIMIT_HIT", mechanism=mechanism, **facts)
        self._end()

    def _end(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._on_end()

    def _read(self) -> None:
        try:
            while not self.has_ended:
                try:
                    data = self._sock.recv(CHUNK_BYTES)
                except TimeoutError:
                    continue
                self._unanswered_since = None
                if not data or not self._take(data):
                    break
                self._ended.wait(PAUSE_S)
        except OSError:
            log.debug("a WebSocket broke off")
        finally:
            self._end()

    def _take(self, data: bytes) -> bool:
        """Whether the connection goes on after what the client said."""
        with self._lock:
            self._protocol.receive_data(data)
            events = list(self._protocol.events())
        for event in events:
            if isinstance(event, CloseConnection):
                self._answer(event.response())
                return False
            if isinstance(event, Ping):
                self._answer(event.response())
            if isinstance(event, Received) and not self._may_send(event):
                return False
        return True

    def _answer(self, event: Event) -> None:
        """What the protocol owes: a pong, or a close for a close."""
        with self._lock:
            states = (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING)
            if self._protocol.state in states:
                try:
                    self._sock.sendall(self._protocol.send(event))
                except OSError:  # half a frame may be out: nothing can follow it
                    self._end()

    def _may_send(self, part: Received[Any]) -> bool:
        data = part.data.encode() if isinstance(part.data, str) else part.data
        self._message_bytes += len(data)
        limit, setting = self._settings.body_max_bytes, env_name("body_max_bytes")
        if self._message_bytes > limit:
            facts = {"limit_bytes": limit, "measured_bytes": self._message_bytes}
            log.warning("LIMIT_HIT", mechanism="body_max", setting=setting, **facts)
            reason = f"body_max: at most {limit} bytes ({setting})"
            self._answer(CloseConnection(code=CloseReason.MESSAGE_TOO_BIG, reason=reason))
            return False
        if part.message_finished:
            self._message_bytes = 0
        return True


def envelope(message: Message) -> str:
    """A message as it is sent: an event's own envelope, and around the others one like it."""
    if message.is_event:
        return message.data
    told = {
        "event": message.name,
        "workspace_id": message.workspace_id,
        "timestamp": message.timestamp,
        "id": message.id,
    }
    return f'{json.dumps(told, ensure_ascii=False)[:-1]}, "payload": {message.data}}}'


class Upgraded(Response):
    """An accepted handshake; called by the server, it holds the connection to its end."""

    def __init__(self, stream: Stream, asked: Asked) -> None:
        super().__init__(status=101)
        self._stream, self._asked = stream, asked

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Speak WebSocket, then leave nothing to the server.

        Raises:
            StopIteration: as gunicorn wants to be told that there is no answer to write.
        """
        with self._stream.held:
            _run(self._stream, self._asked)
        if "gunicorn.socket" in environ:
            raise StopIteration
        return super().__call__(environ, start_response)


def _run(stream: Stream, asked: Asked) -> None:
    connection = Connection(stream.platform, asked.socket, stream.follower.wake)
    try:
        connection.open(asked.accepted())
        for batch in watching.tell(stream, lambda: connection.has_ended):
            connection.send([envelope(one) for one in batch])
            if batch and batch[-1].name == "bye":
                connection.close(*CLOSES[batch[-1]])
    finally:
        connection.end()
