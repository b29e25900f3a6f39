"""The one way out: HTTP to addresses that users name (webhooks, agents, push notifications).

The client made here resolves a name itself, once, checks every address, connects to a checked
one and to no other, follows no redirect, and bounds bytes and time. Name and certificate stay
those of the URL. Environment proxies are not used: a proxy would resolve again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from app.core.addresses import Address, Allowed
from app.core.errors import TurnkeeperError

if TYPE_CHECKING:
    import httpx

SETTING = "TURNKEEPER_EGRESS_ALLOW"
SCHEMES = ("http", "https")
URL_MAX = 2048
Resolve = Callable[[str, int], Sequence[Address]]
# The request extension under which a function is called about once a second while an answer is
# waited for; what it raises ends the exchange.
WATCH = "watch"
WATCH_S = 1.0


class EgressError(TurnkeeperError):
    """A request to another host was refused here or cut off."""

    code = "egress_error"


class UrlRefused(EgressError):
    """Not a URL that may be called: http or https, a host, no user name or password in it."""

    code = "url_refused"


class AddressRefused(EgressError):
    """The host's address is private, local or reserved, and the settings do not allow it."""

    code = "address_refused"


class HostUnresolved(EgressError):
    """The host's name has no address, or none came in time."""

    code = "host_unresolved"


class RedirectRefused(EgressError):
    """The other host answered with a redirect; none is followed."""

    code = "redirect_refused"


class AnswerTooLarge(EgressError):
    """The other host's answer has more bytes than are read."""

    code = "answer_too_large"


class AnswerTooSlow(EgressError):
    """The other host did not answer within the time for the whole exchange."""

    code = "answer_too_slow"


class ExchangeCut(EgressError):
    """The exchange was ended by who began it, before its answer."""

    code = "exchange_cut"


class AnswerEncoded(EgressError):
    """The other host compressed its answer although none was asked for."""

    code = "answer_encoded"


@dataclass(frozen=True)
class Bounds:
    """Limits of one exchange in seconds and bytes; ``total_s`` None: an answer may go on for ever
    (an event stream), ``body_max_bytes`` None: it may be of any size."""

    connect_s: float = 5.0
    read_s: float = 10.0
    write_s: float = 10.0
    total_s: float | None = 15.0
    body_max_bytes: int | None = 65_536
    setting: str = "fixed"


def check_url(url: str) -> str:
    """The URL if it may be called at all; its address is checked when it is connected to.

    Raises:
        UrlRefused: never repeating the URL, for it may hold a password.
    """

    def refuse(rule: str) -> UrlRefused:
        return UrlRefused(f"url: {rule}", errors=[{"field": "url", "rule": rule}])

    if len(url) > URL_MAX:
        raise refuse(f"at most {URL_MAX} characters")
    if any(character <= " " or character == "\x7f" for character in url):
        raise refuse("no blanks and no control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refuse("must be a URL") from None
    if parts.scheme not in SCHEMES or not parts.hostname or port == 0:
        raise refuse("must begin with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise refuse("must not carry a user name or password")
    return url


def shown(url: str) -> str:
    """A URL for logs and errors: scheme, host and port; path and query may be secrets."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a malformed URL"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def client(
    allow: str,
    bounds: Bounds = Bounds(),
    *,
    resolve: Resolve | None = None,
    connections_max: int = 100,
    **options: Any,
) -> "httpx.Client":
    """A client that reaches only what may be reached; close it after use. Safe between threads.

    Its requests raise ``EgressError`` and its kinds for what is refused or cut off here, and
    ``httpx.TransportError`` for what fails on the way (``httpx.InvalidURL`` before it).

    Args:
        allow: ``settings.egress_allow``.
        bounds: limits of each request.
        resolve: name and port to addresses, instead of the system's resolver.
        connections_max: open connections at most.
        options: of ``httpx.Client``: headers, base_url.
    """
    import httpx  # here: it takes 60 ms, and few processes call out

    from app.core.egress_transport import Transport

    transport = Transport(Allowed.parse(allow), bounds, resolve, connections_max)
    return httpx.Client(
        transport=transport,
        timeout=httpx.Timeout(
            bounds.read_s,
            connect=bounds.connect_s,
            write=bounds.write_s,
            pool=bounds.connect_s,
        ),
        follow_redirects=False,
        trust_env=False,
        **{**options, "headers": {"accept-encoding": "identity", **options.get("headers", {})}},
    )


def told(error: Exception) -> tuple[str, str]:
    """Code and one sentence for what a request raised, without the URL and what was sent."""
    if isinstance(error, EgressError):
        return error.code, error.detail
    name = type(error).__name__
    return {
        "InvalidURL": (UrlRefused.code, "not a URL that may be called"),
        "ConnectTimeout": ("connect_timeout", "no connection in time"),
        "ReadTimeout": ("read_timeout", "no answer in time"),
        "WriteTimeout": ("write_timeout", "the request was not taken in time"),
        "PoolTimeout": ("pool_timeout", "no free connection in time"),
        "ConnectError": ("connect_failed", "no connection, or its certificate is not good"),
        "ReadError": ("read_failed", "the connection broke before the answer"),
        "WriteError": ("write_failed", "the connection broke while sending"),
        "RemoteProtocolError": ("not_http", "the answer is not HTTP, or ends in the middle"),
    }.get(name, ("egress_error", name))
