"""One agent behind a URL, over HTTP: its card, requests, streams; what went wrong, by kind."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from httpx_sse import EventSource, SSEError

from app.core import agents, egress, ids
from app.core.agent_pushes import Invitation
from app.core.settings import Settings
from workers.adapters import a2a_wire as wire
from workers.adapters.a2a_wire import METHODS, NEW, Endpoint, Said

RETRY_AFTER_MAX_S = 3600.0
ANSWER_MAX_BYTES = 8_388_608
STREAM_SILENT_S = 30.0
FOR_EVER_S = 31_536_000.0
BUSY = re.compile(r"\bbusy\b|\bat capacity\b|\boverloaded\b", re.IGNORECASE)
METHOD_UNKNOWN, VERSION_UNKNOWN, TASK_UNKNOWN = -32601, -32009, -32001
PUSH_UNKNOWN = -32003
CARD_PATH = "/.well-known/agent-card.json"
Watch = Callable[[], None]


class Unreachable(Exception):
    """No answer that could be read: nobody knows what the agent did with the request."""


class Declined(Exception):
    """The agent takes no work now."""

    def __init__(self, mechanism: str, reason: str, retry_after_s: float = 0) -> None:
        super().__init__(reason)
        self.mechanism, self.reason, self.retry_after_s = mechanism, reason, retry_after_s


class AgentError(Exception):
    """The agent answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Clients:
    """HTTP clients of one worker; each kind of exchange has bounds of its own."""

    def __init__(self, settings: Settings) -> None:
        allow, limit_s = settings.egress_allow, settings.agent_timeout_s
        most = settings.hold_slots + settings.follow_slots
        connect_s = min(5.0, limit_s)

        def client(read_s: float, total_s: float | None, body_bytes: int | None) -> httpx.Client:
            bounds = egress.Bounds(
                connect_s, read_s, limit_s, total_s, body_bytes, "TURNKEEPER_AGENT_TIMEOUT_S"
            )
            return egress.client(allow, bounds, connections_max=most)

        self.quick = client(limit_s, limit_s, ANSWER_MAX_BYTES)
        self.held = client(FOR_EVER_S, None, ANSWER_MAX_BYTES)
        self.stream = client(STREAM_SILENT_S, None, None)

    def close(self) -> None:
        """Close every connection."""
        for one in (self.quick, self.held, self.stream):
            one.close()


@dataclass
class Agent:
    """One agent; which version it speaks is settled by its first answer."""

    clients: Clients
    endpoint: Endpoint
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    protocol: str = ""

    def __post_init__(self) -> None:
        self.protocol = self.protocol or self.endpoint.protocols[0]

    def send(
        self,
        build: Callable[[str], Mapping[str, Any]],
        watch: Watch,
        push: Invitation | None = None,
    ) -> Said:
        """Send a message (made for the version that the agent speaks) and wait for its answer,
        however long it is held. An agent that takes no pushes after all gets it without ``push``.

        Raises:
            Unreachable, Declined, AgentError, NotA2A, and what ``watch`` raises.
        """

        def send(push: Invitation | None) -> Any:
            shown = wire.send_params(self.protocol, build(self.protocol), push)
            return self._call("send", shown, self.clients.held, watch)

        try:
            return wire.said(self._spoken(lambda: send(push)))
        except AgentError as error:
            if push is None or error.code != PUSH_UNKNOWN:
                raise
        return wire.said(self._spoken(lambda: send(None)))

    def task(self, task_id: str) -> Said:
        """How a task stands."""
        shown = {"id": task_id}
        return wire.said(self._spoken(lambda: self._call("get", shown, self.clients.quick)))

    def cancel(self, task_id: str) -> None:
        """Ask for the end of a task."""
        self._call("cancel", {"id": task_id}, self.clients.quick)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message to a running task; its answer is of no interest."""
        self._call("send", wire.send_params(self.protocol, message), self.clients.quick)

    def subscribe(self, task_id: str, watch: Watch) -> Iterator[Said]:
        """What happens to a task, until the agent ends the stream.

        Raises:
            Unreachable, Declined, AgentError, NotA2A, and what ``watch`` raises.
        """
        request = self._request("subscribe", {"id": task_id}, watch, "text/event-stream")
        try:
            with self.clients.stream.stream(**request) as answer:
                if "text/event-stream" not in answer.headers.get("content-type", ""):
                    answer.read()
                    self._result(answer)
                    return
                for event in EventSource(answer).iter_sse():
                    if event.data:
                        yield wire.said(_unwrapped(json.loads(event.data)))
        except (httpx.HTTPError, httpx.InvalidURL, SSEError, ValueError) as error:
            raise Unreachable(egress.told(error)[1]) from error
        except egress.ExchangeCut:
            raise
        except egress.EgressError as error:
            raise Unreachable(error.detail) from error

    def _spoken(self, call: Callable[[], Any]) -> Any:
        """The answer to a call; in the other version where the agent does not know this one."""
        try:
            return call()
        except AgentError as error:
            others = [one for one in self.endpoint.protocols if one != self.protocol]
            if not others or error.code not in (METHOD_UNKNOWN, VERSION_UNKNOWN):
                raise
            self.protocol = others[0]
        return call()

    def _request(
        self, name: str, params: Mapping[str, Any], watch: Watch | None, accept: str
    ) -> dict[str, Any]:
        body = {
            "jsonrpc": "2.0",
            "id": ids.new("rpc"),
            "method": METHODS[self.protocol][name],
            "params": params,
        }
        headers = {**self.headers, "accept": accept, "content-type": "application/json"}
        if self.protocol == NEW:
            headers["a2a-version"] = NEW
        return {
            "method": "POST",
            "url": egress.check_url(self.endpoint.url),
            "content": json.dumps(body, ensure_ascii=False).encode(),
            "headers": headers,
            "extensions": {egress.WATCH: watch} if watch else {},
        }

    def _call(
        self,
        name: str,
        params: Mapping[str, Any],
        http: httpx.Client,
        watch: Watch | None = None,
    ) -> Any:
        try:
            answer = http.request(**self._request(name, params, watch, "application/json"))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(egress.told(error)[1]) from error
        except egress.ExchangeCut:
            raise
        except egress.EgressError as error:
            raise Unreachable(error.detail) from error
        return self._result(answer)

    def _result(self, answer: httpx.Response) -> Any:
        if answer.status_code in (429, 503):
            mechanism = "rate_limited" if answer.status_code == 429 else "busy"
            reason = f"the agent answered {answer.status_code}"
            raise Declined(mechanism, reason, _retry_after_s(answer.headers))
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, Mapping) or not ("result" in content or "error" in content):
            raise Unreachable(f"the agent answered {answer.status_code}, and not in JSON-RPC")
        return _unwrapped(content)


def _unwrapped(content: Any) -> Any:
    """The result of a JSON-RPC answer.

    Raises:
        Declined, AgentError, NotA2A.
    """
    if not isinstance(content, Mapping):
        raise wire.NotA2A("not JSON-RPC")
    error = content.get("error")
    if not error:
        return content.get("result")
    if not isinstance(error, Mapping):
        raise AgentError(0, str(error)[:500])
    code, text = error.get("code"), str(error.get("message", ""))[:500]
    data = error.get("data")
    if BUSY.search(text) or (isinstance(data, Mapping) and data.get("reason") == "busy"):
        seconds = data.get("retry_after") if isinstance(data, Mapping) else None
        wait_s = float(seconds) if isinstance(seconds, int | float) else 0.0
        raise Declined("busy", f"the agent said: {text[:200]}", min(wait_s, RETRY_AFTER_MAX_S))
    raise AgentError(code if isinstance(code, int) else 0, text)


def _retry_after_s(headers: Mapping[str, str]) -> float:
    text = headers.get("retry-after", "")
    return min(float(text), RETRY_AFTER_MAX_S) if text.isascii() and text.isdigit() else 0.0


def headers_of(stored: Mapping[str, str]) -> dict[str, str]:
    """What authorises us to the agent; never to be logged."""
    given = json.loads(stored.get("agent_auth") or "{}")
    url = stored.get("agent_url", "")
    if not given.get("credentials") or given.get("origin") != agents.origin_of(url):
        return {}
    return {"authorization": f"{given.get('scheme') or 'Bearer'} {given['credentials']}"}


def fetch_card(clients: Clients, agent_url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """The agent's card, where it shows one; looked for under its URL, then at its host's root.

    Raises:
        Unreachable: nobody answers there, or only with an error of the server.
    """
    reason = "no answer"
    for url in dict.fromkeys((_under(agent_url), str(httpx.URL(agent_url).join(CARD_PATH)))):
        try:
            answer = clients.quick.get(egress.check_url(url), headers=dict(headers))
        except (httpx.HTTPError, httpx.InvalidURL, egress.EgressError) as error:
            raise Unreachable(egress.told(error)[1]) from error
        if answer.status_code == 200:
            with suppress(ValueError):
                card = answer.json()
                return dict(card) if isinstance(card, Mapping) else {}
        reason = f"the agent answered {answer.status_code}"
    if answer.status_code >= 500:
        raise Unreachable(reason)
    return {}


def _under(agent_url: str) -> str:
    return agent_url.partition("?")[0].rstrip("/") + CARD_PATH
