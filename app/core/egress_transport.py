"""The transport under :func:`app.core.egress.client`; apart, so that httpx is imported late."""

import ipaddress
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from app.core import addresses
from app.core.addresses import Address, Allowed
from app.core.egress import (
    SCHEMES,
    SETTING,
    WATCH,
    WATCH_S,
    AddressRefused,
    AnswerEncoded,
    AnswerTooLarge,
    AnswerTooSlow,
    Bounds,
    HostUnresolved,
    RedirectRefused,
    Resolve,
    UrlRefused,
)

WRITE_BYTES = 16_384
REDIRECTS = frozenset({300, 301, 302, 303, 305, 307, 308})


class Deadline:
    """When a whole exchange must be over, by this process's own clock."""

    def __init__(self, bounds: Bounds, watch: Callable[[], None] | None = None) -> None:
        self._bounds = bounds
        self._watch = watch
        self._started_at = self._watched_at = time.monotonic()

    @property
    def is_watched(self) -> bool:
        """Whether somebody wants to be called while an answer is waited for."""
        return self._watch is not None

    def look(self) -> float:
        """Call who watches, when it is time; in how many seconds again."""
        if self._watch is None:
            return math.inf
        now = time.monotonic()
        if now - self._watched_at >= WATCH_S:
            self._watch()
            self._watched_at = now = time.monotonic()
        return max(0.001, WATCH_S - (now - self._watched_at))

    def left_s(self, phase_s: float | None) -> float | None:
        """How long the next step may take: its phase's limit, or what is left of the whole.

        Raises:
            AnswerTooSlow.
        """
        total_s = self._bounds.total_s
        if total_s is None:
            return phase_s
        measured_s = time.monotonic() - self._started_at
        if measured_s >= total_s:
            raise AnswerTooSlow(
                f"no whole answer within {total_s:g} s",
                mechanism="egress_time",
                limit_s=total_s,
                measured_s=round(measured_s, 3),
                setting=self._bounds.setting,
            )
        left_s = total_s - measured_s
        return left_s if phase_s is None else min(phase_s, left_s)


# Of the exchange that this thread is in: a pooled connection serves one after the other.
_deadline: ContextVar[Deadline | None] = ContextVar("egress deadline", default=None)


def _left_s(phase_s: float | None) -> float | None:
    deadline = _deadline.get()
    return phase_s if deadline is None else deadline.left_s(phase_s)


@contextmanager
def _within(deadline: Deadline) -> Iterator[None]:
    """Run a step of an exchange; a step cut off by the whole's end is told as that."""
    token = _deadline.set(deadline)
    try:
        yield
    except httpcore.TimeoutException:
        deadline.left_s(None)  # raises AnswerTooSlow where the whole is over
        raise
    finally:
        _deadline.reset(token)


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        # The text may quote what was sent or read; what happened is in the name.
        name = type(error).__name__
        kind: type[httpx.TransportError] = getattr(httpx, name, httpx.TransportError)
        raise kind(name) from error


def system_resolve(host: str, port: int) -> Sequence[Address]:
    """The system's addresses of a host; numbers in any notation (decimal, octal) become one."""
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise HostUnresolved(f"{host}: no address") from error
    found = []
    for row in rows:
        place: tuple[Any, ...] = row[4]
        text, zone = str(place[0]), place[3] if len(place) == 4 else 0
        if zone and "%" not in text:
            text = f"{text}%{zone}"
        found.append(ipaddress.ip_address(text))
    return list(dict.fromkeys(found))


def resolve_within(resolve: Resolve, host: str, port: int, limit_s: float) -> Sequence[Address]:
    """Resolve in a thread, for the system's resolver knows no deadline.

    Raises:
        HostUnresolved.
    """
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(resolve(host, port))
        except Exception as error:  # noqa: BLE001 - raised again in the thread that asked
            outcome.append(error)

    thread = threading.Thread(target=run, name="resolve", daemon=True)
    thread.start()
    thread.join(limit_s)
    if not outcome:
        raise HostUnresolved(
            f"{host}: no address within {limit_s:g} s", mechanism="resolve_time", limit_s=limit_s
        )
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    if not outcome[0]:
        raise HostUnresolved(f"{host}: no address")
    found: Sequence[Address] = outcome[0]
    return found


class Stream(httpcore.NetworkStream):
    """A connection whose every step ends with the exchange's deadline."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At most so many bytes."""
        deadline = _deadline.get()
        if deadline is None or not deadline.is_watched:
            return self._inner.read(max_bytes, _left_s(timeout))
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        while True:
            wait_s = min(deadline.look(), max(0.001, end - time.monotonic()))
            try:
                return self._inner.read(max_bytes, _left_s(wait_s))
            except httpcore.ReadTimeout:
                if time.monotonic() >= end:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """In pieces: a reader that takes one byte at a time does not stretch the deadline."""
        for at in range(0, len(buffer), WRITE_BYTES):
            self._inner.write(buffer[at : at + WRITE_BYTES], _left_s(timeout))

    def close(self) -> None:
        """Close the socket."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """The certificate must be that of the URL's name."""
        return Stream(self._inner.start_tls(ssl_context, server_hostname, _left_s(timeout)))

    def get_extra_info(self, info: str) -> Any:
        """What the socket knows."""
        return self._inner.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    """Connects to addresses that were checked, never to a name."""

    def __init__(self, allowed: Allowed, resolve: Resolve | None) -> None:
        self._allowed = allowed
        self._resolve = resolve or system_resolve
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve once, check all, try one after the other within the phase's time.

        Raises:
            AddressRefused, HostUnresolved.
        """
        end = time.monotonic() + (timeout or 5.0)
        found = resolve_within(self._resolve, host, port, _left_s(timeout) or 5.0)
        bad = addresses.refused(host, found, self._allowed)
        if bad is not None:
            raise AddressRefused(
                f"{host}: {bad} is not a public address and {SETTING} does not allow it",
                mechanism="egress_address",
                limit="public addresses",
                measured=str(bad),
                setting=SETTING,
            )
        for at, address in enumerate(found):
            share_s = _left_s(max(0.05, end - time.monotonic()) / (len(found) - at))
            try:
                stream = self._inner.connect_tcp(str(address), port, share_s, None, socket_options)
                return Stream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if at + 1 == len(found):
                    raise
        raise HostUnresolved(f"{host}: no address")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """No URL leads to a local socket."""
        raise AddressRefused("a local socket is not a public address", mechanism="egress_address")


class Body(httpx.SyncByteStream):
    """An answer's body, read under the exchange's deadline and up to its bound."""

    def __init__(
        self, inner: Iterable[bytes], deadline: Deadline, bounds: Bounds, encoding: str
    ) -> None:
        self._inner, self._deadline, self._bounds = inner, deadline, bounds
        self._encoding = encoding

    def __iter__(self) -> Iterator[bytes]:
        if self._encoding not in ("", "identity"):
            raise AnswerEncoded("the answer is compressed", mechanism="egress_encoding")
        parts, limit, measured = iter(self._inner), self._bounds.body_max_bytes, 0
        while True:
            with _as_httpx(), _within(self._deadline):
                part = next(parts, None)
            if part is None:
                return
            measured += len(part)
            if limit is not None and measured > limit:
                raise AnswerTooLarge(
                    f"more than {limit} bytes",
                    mechanism="egress_body",
                    limit_bytes=limit,
                    measured_bytes=measured,
                    setting=self._bounds.setting,
                )
            yield part

    def close(self) -> None:
        """Give the connection back, or close it where it was not read to its end."""
        with suppress(httpcore.NetworkError, httpcore.ProtocolError):
            getattr(self._inner, "close", lambda: None)()


class Transport(httpx.BaseTransport):
    """httpx's own over a pool with our backend, with what httpx does not refuse refused."""

    def __init__(
        self, allowed: Allowed, bounds: Bounds, resolve: Resolve | None, connections_max: int
    ) -> None:
        self._bounds = bounds
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=connections_max,
            max_keepalive_connections=connections_max,
            keepalive_expiry=30.0,
            network_backend=Backend(allowed, resolve),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send and read the head of the answer; the body is read by the caller.

        Raises:
            EgressError, httpx.TransportError.
        """
        if request.url.scheme not in SCHEMES or not request.url.host:
            raise UrlRefused
        deadline = Deadline(self._bounds, request.extensions.get(WATCH))
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx(), _within(deadline):
            got = self._pool.handle_request(asked)
        assert isinstance(got.stream, Iterable)  # noqa: S101 - a sync pool gives a sync stream
        headers = httpx.Headers(got.headers)
        encoding = headers.get("content-encoding", "identity").strip().lower()
        body = Body(got.stream, deadline, self._bounds, encoding)
        if got.status in REDIRECTS:
            body.close()
            raise RedirectRefused(
                f"status {got.status}: no redirect is followed",
                mechanism="egress_redirect",
                limit="no redirect",
                measured=got.status,
            )
        return httpx.Response(
            status_code=got.status, headers=headers, stream=body, extensions=got.extensions
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
