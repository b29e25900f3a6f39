"""HTTP to the platform: one method per route, explicit timeouts, three kinds of failure."""

import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0
WRITE_TIMEOUT_S = 15.0
POOL_TIMEOUT_S = 5.0
LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")

Json = dict[str, Any]


class PlatformError(Exception):
    """The platform did not do what was asked."""


class Interrupted(PlatformError):  # noqa: N818
    """The request was ended by interrupt()."""


class Unreachable(PlatformError):  # noqa: N818 - a state, and the name callers read best
    """No usable answer: try again later. ``retry_after_s`` is the platform's own wish."""

    def __init__(self, why: str, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Refused(PlatformError):  # noqa: N818
    """A definite no: the same request will be refused again."""

    def __init__(self, status: int, code: str, title: str) -> None:
        super().__init__(f"{status} {code} {title}".strip())
        self.status = status
        self.code = code
        self.title = title

    @property
    def is_about_the_token(self) -> bool:
        """True for 401 and 403."""
        return self.status in (401, 403)


class StaleFence(Refused):
    """The platform ended this session; whatever it still reports is refused."""


class Token:
    """The bearer token all clients of one runtime share. ``given`` never changes."""

    def __init__(self, given: str) -> None:
        self.given = given
        self.current = given


class Platform:
    """The routes of one workspace over one connection pool. Thread-safe.

    Every method raises Unreachable, Refused or StaleFence, and nothing else of httpx;
    next_turn() also Interrupted.
    """

    def __init__(
        self,
        url: str,
        workspace_id: str,
        token: Token,
        instance: str,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``tls``: shared between clients, since each loads the certificates anew (1 MB)."""
        self._token = token
        self._instance = instance
        self._workspace_id = workspace_id
        self._base = f"/workspaces/{quote(workspace_id, safe='')}"
        self._is_aborted = threading.Event()
        self._is_interrupted = threading.Event()
        self._sockets: list[socket.socket] = []
        is_loopback = urlsplit(url).hostname in LOOPBACK_NAMES
        self._http = httpx.Client(
            base_url=url, trust_env=not is_loopback, verify=True if tls is None else tls
        )

    def close(self) -> None:
        """Close the pool."""
        self._http.close()

    def abort(self) -> None:
        """End the request in flight, from another thread, and refuse every later one."""
        self._is_aborted.set()
        self._wake()

    def interrupt(self) -> None:
        """End the request in flight, or the next one, until rearm() is called."""
        self._is_interrupted.set()
        self._wake()

    def rearm(self) -> None:
        """Let requests be sent again after interrupt()."""
        self._is_interrupted.clear()

    def register(self, agent_card: Json, max_concurrent: int) -> Json:
        """Register and adopt the workspace-scoped token, if the platform gives one."""
        body = {
            "id": self._workspace_id,
            "agent_card": agent_card,
            "max_concurrent": max_concurrent,
        }
        reply = self._post("/registry/register", body, token=self._token.given)
        scoped = reply.get("auth_token")
        self._token.current = scoped if isinstance(scoped, str) and scoped else self._token.given
        return reply

    def heartbeat(self, body: Json) -> Json:
        """One beat."""
        return self._post(f"{self._base}/heartbeat", body)

    def next_turn(self, wait_s: float, room: int) -> Json:
        """Wait up to ``wait_s`` on the platform's side for a turn or a directive.

        With ``room`` 0 the platform answers with directives only, never with a turn.
        """
        params = {"wait_s": f"{wait_s:g}", "instance": self._instance, "room": str(room)}
        return self._send("GET", f"{self._base}/turns/next", params=params, extra_wait_s=wait_s)

    def start(self, session_id: str, fence: int) -> Json:
        """Say that the session begins here."""
        return self._report(session_id, "start", {"fence": fence, "instance": self._instance})

    def progress(self, session_id: str, fence: int, report: Mapping[str, Any]) -> Json:
        """Say that the work advanced."""
        return self._report(session_id, "progress", {"fence": fence, **report})

    def finish(self, session_id: str, fence: int, report: Mapping[str, Any]) -> Json:
        """Give the outcome; may be repeated."""
        return self._report(session_id, "finish", {"fence": fence, **report})

    def release(self, session_id: str, fence: int, reason: str) -> Json:
        """Hand the turn back unfinished."""
        return self._report(session_id, "release", {"fence": fence, "reason": reason})

    def spool(self, session_id: str, fence: int, reports: list[Json]) -> Json:
        """Deliver what could not be delivered when it happened, oldest first."""
        return self._report(session_id, "spool", {"fence": fence, "reports": reports})

    def _report(self, session_id: str, verb: str, body: Json) -> Json:
        return self._post(f"{self._base}/sessions/{quote(session_id, safe='')}/{verb}", body)

    def _post(self, path: str, body: Json, token: str | None = None) -> Json:
        return self._send("POST", path, json=body, token=token)

    def _send(
        self,
        method: str,
        path: str,
        *,
        extra_wait_s: float = 0.0,
        token: str | None = None,
        **content: Any,
    ) -> Json:
        if self._is_aborted.is_set():
            raise Unreachable("stopping")
        timeout = httpx.Timeout(
            connect=CONNECT_TIMEOUT_S,
            read=READ_TIMEOUT_S + extra_wait_s,
            write=WRITE_TIMEOUT_S,
            pool=POOL_TIMEOUT_S,
        )
        bearer = token if token is not None else self._token.current
        try:
            response = self._http.request(
                method,
                path,
                timeout=timeout,
                headers={"Authorization": f"Bearer {bearer}"} if bearer else {},
                extensions={"trace": self._trace},
                **content,
            )
        except (httpx.TransportError, httpx.DecodingError, OSError) as error:
            if self._is_interrupted.is_set():
                raise Interrupted(method + " " + path) from error
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        return _reply_of(response)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the socket, so that another thread can wake the one that waits on it.

        The flags are looked at again once the socket is known: a wish that came before had
        nothing to shut down.
        """
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            sock = info["return_value"].get_extra_info("socket")
            self._sockets = [known for known in self._sockets if known.fileno() >= 0] + [sock]
        elif event != "http11.send_request_headers.started":
            return
        if self._is_aborted.is_set() or self._is_interrupted.is_set():
            self._wake()

    def _wake(self) -> None:
        for sock in list(self._sockets):
            _shut_down(sock)


def _shut_down(sock: socket.socket) -> None:
    try:
        # The base class on purpose: SSLSocket.shutdown() drops the TLS state under its reader.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return  # already closed: nothing waits on it


def _reply_of(response: httpx.Response) -> Json:
    """Raises: Unreachable for 429, 5xx and what is not JSON; StaleFence; Refused."""
    body = _json_object(response)
    if response.is_success:
        if body is None:
            raise Unreachable(f"{response.status_code} without a JSON object")
        return body
    problem = body or {}
    code, title = str(problem.get("code") or ""), str(problem.get("title") or "")
    if response.status_code == 429 or response.status_code >= 500:
        why = f"{response.status_code} {code} {title}".strip()
        raise Unreachable(why, _retry_after_s(response))
    kind = StaleFence if code == "stale_fence" else Refused
    raise kind(response.status_code, code, title)


def _json_object(response: httpx.Response) -> Json | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), 60.0) if text.isdigit() else 0.0
