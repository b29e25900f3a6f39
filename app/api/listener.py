"""One Redis connection per web process that only listens to channels.

Not redis-py's PubSub: a request that subscribes must never connect, for with a stopped server
that blocks it, and two threads must never reconnect at once. Here requests only send on a
connection that stands; one thread alone connects, subscribes again, and reads.
"""

import threading
from collections.abc import Callable
from typing import Any

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.core.platform import Platform

READ_S = 0.25
QUIET_S = 5.0
PAUSE_S = 0.25
JOIN_S = 3.0
log = structlog.get_logger(__name__)

Hear = Callable[[str, str, str], None]


class Listener:
    """Hears channels until stopped; starts its thread with the first one (after any fork).

    ``hear(kind, channel, data)`` gets ``subscribe`` and ``message``; ``renewed()`` is called when
    the connection stands (again), for then messages may have been missed. Both must not block.
    """

    def __init__(self, platform: Platform, hear: Hear, renewed: Callable[[], None]) -> None:
        self._platform = platform
        self._hear = hear
        self._renewed = renewed
        self._lock = threading.Lock()
        self._channels: set[str] = set()
        self._connection: Any = None
        self._is_broken = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, channel: str) -> None:
        """Listen to a channel; its ``subscribe`` comes when it is heard."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._channels.add(channel)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
                self._thread.start()
            self._send("SUBSCRIBE", channel)

    def remove(self, channel: str) -> None:
        """Listen to a channel no longer."""
        with self._lock:
            self._channels.discard(channel)
            self._send("UNSUBSCRIBE", channel)

    def stop(self) -> None:
        """End the thread and close the connection; may be called twice."""
        self._stopping.set()
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_S)

    def _send(self, *words: str) -> None:
        """On a standing connection; without one the thread subscribes when it has it."""
        if self._connection is None:
            return
        try:
            self._connection.send_command(*words, check_health=False)
        except (RedisError, OSError):
            self._is_broken = True

    def _run(self) -> None:
        while not self._stopping.is_set():
            pool = connection = None
            try:
                pool = _pool(self._platform.clients.reader)
                connection = pool.get_connection()
                self._subscribe(connection)
                self._renewed()
                self._read(connection)
            except (RedisError, OSError, ValueError) as error:
                log.warning("the listener lost Redis; trying again", error=str(error))
                self._platform.clock.wait(self._stopping, PAUSE_S)
            finally:
                with self._lock:
                    self._connection = None
                if pool is not None and connection is not None:
                    connection.disconnect()
                    pool.release(connection)

    def _subscribe(self, connection: Any) -> None:
        with self._lock:
            self._connection, self._is_broken = connection, False
            if self._channels:
                self._send("SUBSCRIBE", *sorted(self._channels))

    def _read(self, connection: Any) -> None:
        """Until stopped; a connection that answers no PING is given up."""
        clock = self._platform.clock
        heard_at, is_asked = clock.monotonic(), False
        while not self._stopping.is_set():
            if self._is_broken:
                raise RedisConnectionError("the connection broke while sending")
            if connection.can_read(timeout=READ_S):
                self._take(connection.read_response())
                heard_at, is_asked = clock.monotonic(), False
            elif clock.monotonic() - heard_at > QUIET_S * (1 + is_asked):
                if is_asked:
                    raise RedisConnectionError("no answer to PING")
                is_asked = True
                with self._lock:
                    self._send("PING")

    def _take(self, reply: Any) -> None:
        if isinstance(reply, list) and len(reply) == 3 and reply[0] in ("subscribe", "message"):
            self._hear(reply[0], str(reply[1]), str(reply[2]))


def _pool(client: Any) -> Any:
    """Where connections come from; in a Cluster any node hears what is published on any other."""
    if hasattr(client, "connection_pool"):
        return client.connection_pool
    return client.get_default_node().redis_connection.connection_pool
