"""The HTTP API as the command line calls it: one request, or one stream of events."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from app.cli.faults import FAILED, REFUSED, TIMED_OUT, UNREACHABLE, USAGE, Fault, from_problem

if TYPE_CHECKING:
    import httpx

# The server pings a quiet stream every 15 s; three missed pings mean that the line is dead.
STREAM_SILENCE_S = 45.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream; ``id`` is what ``Last-Event-ID`` takes."""

    name: str
    data: str
    id: str


@dataclass(frozen=True)
class Api:
    """Where the API is and who asks."""

    url: str
    token: str = ""
    timeout_s: float = 30.0

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request; the decoded JSON answer, or ``None`` when there is no body.

        Never repeated here: a repeat of a send without a key could be a second turn.

        Raises:
            Fault: for any answer of 400 and above, and when no answer came.
        """
        with self._client(self.timeout_s) as client:
            response = client.request(
                method, path, json=body, params=_present(query), headers=dict(headers or {})
            )
            return self._answer(response, f"{method} {path}")

    def stream(
        self, path: str, query: Mapping[str, Any] | None = None, last_id: str = ""
    ) -> Iterator[ServerEvent]:
        """The events of one connection, until the server ends it.

        Raises:
            Fault: as ``call``; also when the line breaks or stays silent for too long.
        """
        import httpx_sse

        headers = {"Last-Event-ID": last_id} if last_id else {}
        with (
            self._client(STREAM_SILENCE_S) as client,
            httpx_sse.connect_sse(
                client, "GET", path, params=_present(query), headers=headers
            ) as source,
        ):
            if source.response.status_code != 200:
                source.response.read()
                self._answer(source.response, f"GET {path}")
            for event in source.iter_sse():
                # httpx-sse hands out an event without data for each comment ping after an id.
                if not event.data and event.event != "bye":
                    continue
                yield ServerEvent(event.event, event.data, event.id)

    @contextmanager
    def _client(self, read_s: float) -> Iterator["httpx.Client"]:
        import httpx

        headers = {"Accept": "application/json", "User-Agent": "turnkeeper-cli"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            with httpx.Client(
                base_url=self.url,
                headers=headers,
                timeout=httpx.Timeout(read_s, connect=5.0),
                trust_env=urlsplit(self.url).hostname not in LOOPBACK,
            ) as client:
                yield client
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Fault(f"not a usable URL: {self.url}", str(error), exit_code=USAGE) from error
        except httpx.ReadTimeout as error:
            raise Fault(
                f"no answer from {self.url} within {read_s:g} s",
                "the request may still be carried out",
                exit_code=TIMED_OUT,
            ) from error
        except httpx.TransportError as error:
            raise Fault(
                f"cannot reach {self.url}",
                str(error) or type(error).__name__,
                "turnkeeper up   (or name another server with --url / TURNKEEPER_URL)",
                UNREACHABLE,
            ) from error

    def _answer(self, response: "httpx.Response", asked: str) -> Any:
        try:
            body = json.loads(response.content) if response.content.strip() else None
        except ValueError:
            body = response.text
        if response.status_code >= 400:
            retry_after = response.headers.get("Retry-After", "")
            raise from_problem(response.status_code, body, asked, retry_after)
        if response.status_code >= 300 or isinstance(body, str):
            raise Fault(
                f"{asked}: {self.url} answered {response.status_code} but not as Turnkeeper does",
                "another server may listen there",
                "check --url / TURNKEEPER_URL",
                REFUSED if response.status_code < 400 and not body else FAILED,
            )
        return body


def segment(text: str) -> str:
    """One path segment: an id with a slash in it must not become two."""
    if text in ("", ".", ".."):
        raise Fault(f"not an id: {text!r}", exit_code=USAGE)
    return quote(text, safe="")


def workspace_path(workspace: str, *rest: str) -> str:
    """``/workspaces/<id>/…`` with every part quoted."""
    return "/".join(["/workspaces", segment(workspace), *map(segment, rest)])


def _present(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (query or {}).items() if value is not None}
