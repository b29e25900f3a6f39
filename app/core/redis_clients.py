"""The Redis clients of one process, made once by its entry point.

redis-py's defaults (5 s socket timeout, ten retries on a timeout) ran state-changing commands
twice during a stall, so: one retry, on a broken connection only, and every script that is
retried replays its first answer. Blocking reads have a client of their own.
"""

from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from app.core.settings import Settings

BLOCK_S = 5.0


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
    """Clients for these settings; no connection is made yet."""

    def client(url: str, timeout_s: float, retries: int, decode: bool = True) -> Any:
        options: dict[str, Any] = {}
        if url.startswith("rediss:"):
            options["ssl_cert_reqs"] = "required" if settings.redis_tls_verify else "none"
            options["ssl_ca_certs"] = settings.redis_ca_cert or None
        return redis.Redis.from_url(
            url,
            protocol=2,
            decode_responses=decode,
            socket_timeout=timeout_s,
            socket_connect_timeout=min(1.0, timeout_s),
            max_connections=settings.redis_pool_size,
            retry=Retry(NoBackoff(), retries, supported_errors=(RedisConnectionError,)),
            health_check_interval=0,
            **options,
        )

    command_s = settings.redis_timeout_s
    return Clients(
        data=client(settings.redis_url, command_s, 1),
        once=client(settings.redis_url, command_s, 0),
        control=client(settings.control, command_s, 1),
        blocking=client(settings.control, BLOCK_S + 5, 0),
        reader=client(settings.redis_url, BLOCK_S + 5, 0),
        rq=client(settings.control, BLOCK_S + 30, 1, decode=False),
    )


def shared(client: Any, rq: Any = None) -> Clients:
    """Every role played by one client: for tests on a fake server."""
    return Clients(client, client, client, client, client, rq or client)
