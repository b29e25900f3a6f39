"""Every entry that makes a turn takes ``traceparent``, and the agent gets it with its turn."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.api.a2a.calls import BASE, JSON, act, message, old_message
from tests.unit.api.web import Web, fake_clients, web

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"


@pytest.fixture
def site() -> Iterator[Web]:
    with web(fake_clients()) as made:
        made.workspace("w1")
        yield made


def rpc(method: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": given}}


def run_path(site: Web) -> str:
    return f"/workspaces/w1/schedules/{site.schedule('w1')}/run"


ENTRIES: dict[str, Callable[[Web], tuple[str, Any]]] = {
    "short form": lambda site: (BASE, {"params": {"message": old_message()}}),
    "JSON-RPC 1.0": lambda site: (BASE, rpc("SendMessage", message())),
    "JSON-RPC 1.0 stream": lambda site: (BASE, rpc("SendStreamingMessage", message())),
    "JSON-RPC 0.3": lambda site: (BASE, rpc("message/send", old_message())),
    "JSON-RPC 0.3 stream": lambda site: (BASE, rpc("message/stream", old_message())),
    "HTTP+JSON": lambda site: (f"{BASE}/message:send", {"message": message()}),
    "HTTP+JSON stream": lambda site: (f"{BASE}/message:stream", {"message": message()}),
    "schedule": lambda site: (run_path(site), None),
}


def handed_over(site: Web) -> Any:
    site.bound("w1")
    return site.ok("GET", "/workspaces/w1/turns/next?wait_s=0")["turn"]


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    ("given", "passed_on"),
    [(TRACE, TRACE), ("00-1-2-01", None), (None, None), (f"{TRACE},{TRACE}", None)],
    ids=["good", "malformed", "none", "twice"],
)
def test_a_trace_reaches_the_agent_by_every_entry(
    site: Web, entry: str, given: str | None, passed_on: str | None
) -> None:
    path, body = ENTRIES[entry](site)
    headers = JSON | ({"traceparent": given} if given else {})
    response = site.ask("POST", path, body, headers=headers)
    assert response.status_code < 300, "a malformed trace refuses nothing"
    response.close()
    assert handed_over(site)["traceparent"] == passed_on


@pytest.mark.parametrize(("given", "passed_on"), [(OTHER, OTHER), (None, TRACE), ("x", TRACE)])
def test_an_answer_brings_its_own_trace_or_keeps_the_first(
    site: Web, given: str | None, passed_on: str
) -> None:
    asked = site.ok("POST", BASE, rpc("SendMessage", message()), headers={"traceparent": TRACE})
    act(site, "input_required")
    body = rpc("SendMessage", message("blue", "m2", taskId=asked["result"]["task"]["id"]))
    headers = JSON | ({"traceparent": given} if given else {})
    site.ok("POST", BASE, body, headers=headers)
    assert handed_over(site)["traceparent"] == passed_on
