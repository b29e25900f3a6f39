"""The Redis clients of one process, made once by its entry point.

redis-py's defaults (5 s socket timeout, ten retries on a timeout) ran state-changing commands
twice during a stall, so: one retry, on a broken connection only, and every script that is
retried replays its first answer. Blocking reads have a client of their own.

A URL names one server (``redis://``, ``rediss://``, ``unix://``), a Sentinel set
(``redis+sentinel://[user:password@]host:26379,host2:26379/service/db``, with
``?sentinel_password=`` where the Sentinels have one) or, for the data side only, a Cluster
(``redis+cluster://[user:password@]host:6379,host2:6379``): RQ does not speak Cluster, so the
control side then needs TURNKEEPER_CONTROL_URL. ``rediss+sentinel`` and ``rediss+cluster`` speak
TLS with every server they meet. A password is written percent-encoded.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from app.core.errors import SettingsFault
from app.core.settings import Settings

BLOCK_S = 5.0
SENTINEL_S = 1.0  # how long one Sentinel may take to answer before the next is asked
CLUSTER, SENTINEL, TLS = "cluster", "sentinel", "rediss"


@dataclass(frozen=True)
class Clients:
    """``data`` and ``control`` for commands, ``once`` for what must not be retried, ``blocking``
    (control side) and ``reader`` (data side) for reads that wait, ``rq`` for RQ (bytes).

    ``is_one_server``: data and control side are the same, so what goes to both may be sent on one
    connection and is done in the order in which it was sent.
    """

    data: Any
    once: Any
    control: Any
    blocking: Any
    reader: Any
    rq: Any
    is_one_server: bool = False

    def close(self) -> None:
        """Close every pool."""
        for client in (self.data, self.once, self.control, self.blocking, self.reader, self.rq):
            client.close()


def connect(settings: Settings) -> Clients:
    """Clients for these settings; no connection is made yet, except to learn a Cluster's slots.

    Raises:
        SettingsFault: the control side is a Cluster.
        ConnectionError: no server of the Cluster answers.
    """
    if _kind(urlsplit(settings.control)) == CLUSTER:
        raise SettingsFault("TURNKEEPER_CONTROL_URL: RQ does not speak Cluster; name one server")

    def client(url: str, timeout_s: float, retries: int, decode: bool = True) -> Any:
        return _client(settings, url, timeout_s, retries, decode)

    command_s = settings.redis_timeout_s
    return Clients(
        data=client(settings.redis_url, command_s, 1),
        once=client(settings.redis_url, command_s, 0),
        control=client(settings.control, command_s, 1),
        blocking=client(settings.control, BLOCK_S + 5, 0),
        reader=client(settings.redis_url, BLOCK_S + 5, 0),
        rq=client(settings.control, BLOCK_S + 30, 1, decode=False),
        is_one_server=settings.control == settings.redis_url,
    )


class Packer(HiredisRespSerializer):
    """Packs a command as its base does, without a look at each word's kind first: a script has
    fifty of them."""

    def pack(self, *words: Any) -> list[bytes]:
        """One command; of two words, or of what is no text, bytes or number: as the base does."""
        if isinstance(words[0], str) and " " not in words[0]:
            with suppress(TypeError):
                return [hiredis.pack_command(words)]
        return list(super().pack(*words))


class BlockingSentinelPool(SentinelConnectionPool, redis.BlockingConnectionPool):
    """Connections to whoever is the master now; a burst of requests queues up for them."""


class Cluster(RedisCluster):
    """A Cluster's client; of a Cluster out of reach it says what is said of a server."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """As its base, but every failure is a RedisError."""
        with _told_as_connection_error():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool | None = None, shard_hint: Any = None) -> Any:
        """As its base, but every failure of ``execute`` is a RedisError."""
        pipe = super().pipeline(transaction, shard_hint)  # type: ignore[no-untyped-call]
        run = pipe.execute

        def execute(*args: Any, **options: Any) -> Any:
            with _told_as_connection_error():
                return run(*args, **options)

        pipe.execute = execute
        return pipe


def holding(client: Any, key: str) -> Any:
    """The client of the one server that holds a key: for what must be sent on one connection.

    In a Cluster it may answer MOVED or ASK. Its own transactions do not do: redis-py leaves the
    replies of a Cluster's EXEC as they came (HGETALL as a flat list).
    """
    if not isinstance(client, RedisCluster):
        return client
    with _told_as_connection_error():
        node: Any = client.get_node_from_key(key)  # type: ignore[no-untyped-call]
        return client.get_redis_connection(node)


@contextmanager
def _told_as_connection_error() -> Iterator[None]:
    try:
        yield
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error


def _client(settings: Settings, url: str, timeout_s: float, retries: int, decode: bool) -> Any:
    options: dict[str, Any] = {
        "protocol": 2,
        "decode_responses": decode,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(1.0, timeout_s),
        "max_connections": settings.redis_pool_size,
    }
    retry = Retry(NoBackoff(), retries, supported_errors=(RedisConnectionError,))
    parts = urlsplit(url)
    if parts.scheme.partition("+")[0] == TLS:
        options["ssl_cert_reqs"] = "required" if settings.redis_tls_verify else "none"
        options["ssl_ca_certs"] = settings.redis_ca_cert or None
        # Without the name nothing but the chain is checked: redis-py's own default is to check.
        options["ssl_check_hostname"] = settings.redis_tls_verify
    if _kind(parts) == CLUSTER:  # has no option for how a command is packed
        return _cluster(parts, retry, options)
    options["command_packer"] = Packer()
    if _kind(parts) == SENTINEL:
        return _sentinel(parts, retry, timeout_s, options)
    # Waits for a free connection: a burst of requests queues up rather than fails (measured: of
    # 600 requests at once, with a pool that does not wait, some were answered 503).
    pool = redis.BlockingConnectionPool.from_url(
        url, timeout=timeout_s, retry=retry, health_check_interval=0, **options
    )
    return redis.Redis.from_pool(pool)


def _cluster(parts: SplitResult, retry: Retry, options: dict[str, Any]) -> Any:
    nodes = [
        ClusterNode(host, port)  # type: ignore[no-untyped-call]
        for host, port in _hosts(parts.netloc, 6379)
    ]
    with _told_as_connection_error():
        return Cluster(
            startup_nodes=nodes,
            retry=retry,
            ssl=parts.scheme.startswith(TLS),
            **_who(parts),
            **options,
        )


def _sentinel(parts: SplitResult, retry: Retry, timeout_s: float, options: dict[str, Any]) -> Any:
    service, _, database = parts.path.strip("/").partition("/")
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if parts.scheme.startswith(TLS):
        tls["ssl"] = True
    asked = parse_qs(parts.query)
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        _hosts(parts.netloc, 26379),
        sentinel_kwargs={
            "protocol": 2,
            "socket_timeout": SENTINEL_S,
            "socket_connect_timeout": SENTINEL_S,
            "password": asked.get("sentinel_password", [None])[0],
            **tls,
        },
    )
    options |= {"db": int(database or 0), **_who(parts), **tls}
    pool: Any = BlockingSentinelPool(  # type: ignore[no-untyped-call]
        service, sentinels, timeout=timeout_s, retry=retry, **options
    )
    return redis.Redis.from_pool(pool)


def _kind(parts: SplitResult) -> str:
    return parts.scheme.partition("+")[2]


def _who(parts: SplitResult) -> dict[str, Any]:
    """User and password of a URL; urlsplit leaves them percent-encoded."""
    return {
        name: unquote(text) if text else None
        for name, text in (("username", parts.username), ("password", parts.password))
    }


def _hosts(netloc: str, port: int) -> list[tuple[str, int]]:
    """``user:password@host:port,host`` as pairs."""
    found = []
    for part in netloc.rpartition("@")[2].split(","):
        host, _, own_port = part.partition(":")
        found.append((host, int(own_port or port)))
    return found


def shared(client: Any, rq: Any = None) -> Clients:
    """Every role played by one client: for tests on a fake server."""
    return Clients(client, client, client, client, client, rq or client, is_one_server=True)
