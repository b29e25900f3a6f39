"""The Redis clients of one process, made once by its entry point.

redis-py's defaults (5 s socket timeout, ten retries on a timeout) ran state-changing commands
twice during a stall, so: one retry, on a broken connection only, and every script that is
retried replays its first answer. Blocking reads have a client of their own.

A URL names one server (``redis://``, ``rediss://``, ``unix://``), a Sentinel set
(``redis+sentinel://[:password@]host:26379,host2:26379/service/db``) or, for the data side only,
a Cluster (``redis+cluster://[:password@]host:6379,host2:6379``): RQ does not speak Cluster, so
the control side then needs TURNKEEPER_CONTROL_URL.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from redis.sentinel import Sentinel

from app.core.errors import SettingsFault
from app.core.settings import Settings

BLOCK_S = 5.0
CLUSTER, SENTINEL = "redis+cluster", "redis+sentinel"


@dataclass(frozen=True)
class Clients:
    """``data`` and ``control`` for commands, ``once`` for what must not be retried, ``blocking``
    (control side) and ``reader`` (data side) for reads that wait, ``rq`` for RQ (bytes)."""

    data: Any
    once: Any
    control: Any
    blocking: Any
    reader: Any
    rq: Any

    def close(self) -> None:
        """Close every pool."""
        for client in (self.data, self.once, self.control, self.blocking, self.reader, self.rq):
            client.close()


def connect(settings: Settings) -> Clients:
    """Clients for these settings; no connection is made yet, except to learn a Cluster's slots.

    Raises:
        SettingsFault: the control side is a Cluster.
    """
    if urlsplit(settings.control).scheme == CLUSTER:
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
    )


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
    if parts.scheme == CLUSTER:
        nodes: list[Any] = [
            ClusterNode(host, port)  # type: ignore[no-untyped-call]
            for host, port in _hosts(parts.netloc, 6379)
        ]
        return RedisCluster(startup_nodes=nodes, password=parts.password, **options)
    if parts.scheme == SENTINEL:
        service, _, database = parts.path.strip("/").partition("/")
        sentinels: Any = Sentinel(_hosts(parts.netloc, 26379), socket_timeout=1.0)  # type: ignore[no-untyped-call]
        return sentinels.master_for(
            service, db=int(database or 0), password=parts.password, retry=retry, **options
        )
    if parts.scheme == "rediss":
        options["ssl_cert_reqs"] = "required" if settings.redis_tls_verify else "none"
        options["ssl_ca_certs"] = settings.redis_ca_cert or None
    # Waits for a free connection: a burst of requests queues up rather than fails (measured: of
    # 600 requests at once, with a pool that does not wait, some were answered 503).
    pool = redis.BlockingConnectionPool.from_url(
        url, timeout=timeout_s, retry=retry, health_check_interval=0, **options
    )
    return redis.Redis.from_pool(pool)


def _hosts(netloc: str, port: int) -> list[tuple[str, int]]:
    """``user:password@host:port,host`` as pairs."""
    found = []
    for part in netloc.rpartition("@")[2].split(","):
        host, _, own_port = part.partition(":")
        found.append((host, int(own_port or port)))
    return found


def shared(client: Any, rq: Any = None) -> Clients:
    """Every role played by one client: for tests on a fake server."""
    return Clients(client, client, client, client, client, rq or client)
