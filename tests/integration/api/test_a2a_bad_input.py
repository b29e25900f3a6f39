"""Made-up calls of both bindings over a real server, about tasks that are there in every state:
never a fault of ours, never an answer that cannot be read."""

import json
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from app.api.a2a import new_methods, old_methods
from app.api.a2a.faults import KINDS
from tests.integration.api.conftest import over
from tests.integration.api.streaming import chunks
from tests.support import servers
from tests.unit.api.a2a.calls import BASE, JSON, act, message, old_message, send
from tests.unit.api.web import Web

CODES = {kind.code for reason, kind in KINDS.items() if reason != "INTERNAL_ERROR"}
METHODS = {
    *("SendMessage", *new_methods.METHODS, *new_methods.STREAMS),
    *(old_methods.SEND[0], *old_methods.METHODS, *old_methods.STREAMS),
}
STATES = ("queued", "running", "input_required", "completed", "canceled")


class Place:
    """A web process with tasks in it, by state; no dataclass: a failure would print all of it."""

    def __init__(self, site: Web) -> None:
        self.site, self.tasks = site, filled(site)


def filled(site: Web) -> dict[str, str]:
    """A task of each state."""
    found: dict[str, str] = {}
    site.workspace("w1")
    for state in ("completed", "input_required"):
        found[state] = send(site, name=state)
        act(site, state, result={"text": "so"})
    found["running"] = send(site, name="running")
    claim = site.bound("w1")
    path = f"/workspaces/w1/sessions/{claim.session.id}/start"
    site.ok("POST", path, {"fence": claim.session.fence})
    found["canceled"] = send(site, name="canceled")
    site.ok("POST", f"/workspaces/w1/turns/{found['canceled']}/cancel", {})
    found["queued"] = send(site, name="queued")
    return found


@pytest.fixture(scope="module")
def place(redis62: servers.RedisServer) -> Iterator[Place]:
    """One for all examples: nothing may depend on what came before."""
    with redis62.client() as client:
        client.flushall()
    with ExitStack() as stack:
        site = stack.enter_context(over(redis62, queue_depth_max=100_000))
        yield Place(site)


ODD = st.sampled_from(
    [
        *("", " ", "0", "-1", "x", "\x00", "\n", "é", "😀", "{w1}", "a:b", "..", "x" * 300),
        *("9" * 400, "1e400", "true", "null", "w7w=", "LTk5OTk5OTk5OTk5OTk5OTk5OTkgeA=="),
        *("OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkgeA==", "MSA=", "0001-01-01T00:00:00Z"),
        *("9999-12-31T23:59:59.999999999Z", "2026-01-01T00:00:00+99:99", "TASK_STATE_WORKING"),
        *("TASK_STATE_NONE", "http://[::1", "https://e.com/", "ROLE_USER", "user", "text"),
    ]
)
NUMBER = st.sampled_from(
    [0, 1, -1, 100, 101, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, 0.5, 1e308]
)
LEAF = st.none() | st.booleans() | NUMBER | ODD | st.text(max_size=4)
TREE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3),
    max_leaves=5,
)
TASK_ID = st.sampled_from([f"<{state}>" for state in STATES]) | ODD
TASK = "<queued>"
TASKS = [f"<{state}>" for state in STATES]
NEW_MESSAGE = {
    **message("hi", "m", contextId="c", metadata={"k": [1]}, extensions=["https://e.com/x"]),
    "parts": [{"text": "a"}, {"data": {"b": 1}}, {"raw": "dGNr", "filename": "f"}, {"url": "u"}],
}
OLD_MESSAGE = {
    **old_message("hi", "m", contextId="c", metadata={"k": [1]}),
    "parts": [
        {"kind": "text", "text": "a", "metadata": {}},
        {"kind": "data", "data": {"b": 1}},
        {"kind": "file", "file": {"bytes": "dGNr", "name": "f", "mimeType": "text/plain"}},
    ],
}
HOOK = {"url": "https://e.com/", "id": "p", "token": "t"}
NEW_HOOK = {**HOOK, "authentication": {"scheme": "Bearer", "credentials": "c"}}
OLD_HOOK = {**HOOK, "authentication": {"schemes": ["Bearer"], "credentials": "c"}}
NEW_SEND = {
    "message": NEW_MESSAGE,
    "configuration": {"returnImmediately": True, "historyLength": 1},
    "metadata": {"origin": "agent"},
}
OLD_SEND = {"message": OLD_MESSAGE, "configuration": {"blocking": False, "historyLength": 1}}
PAGE = {"pageSize": 2, "status": "TASK_STATE_WORKING", "historyLength": 1, "contextId": "c"}
# A good call of each method: what is sent is one of these with a few places broken.
GOOD: dict[str, Any] = {
    "SendMessage": NEW_SEND,
    "SendStreamingMessage": NEW_SEND
    | {"configuration": {"historyLength": 0, "taskPushNotificationConfig": NEW_HOOK}},
    "GetTask": {"id": TASK, "historyLength": 1},
    "ListTasks": PAGE | {"includeArtifacts": True, "statusTimestampAfter": "2026-01-01T00:00:00Z"},
    "CancelTask": {"id": TASK, "metadata": {}},
    "SubscribeToTask": {"id": "<running>"},
    "CreateTaskPushNotificationConfig": {**NEW_HOOK, "taskId": TASK},
    "GetTaskPushNotificationConfig": {"taskId": TASK, "id": "p"},
    "ListTaskPushNotificationConfigs": {"taskId": TASK, "pageSize": 5},
    "DeleteTaskPushNotificationConfig": {"taskId": TASK, "id": "p"},
    "GetExtendedAgentCard": {},
    "message/send": OLD_SEND,
    "message/stream": OLD_SEND
    | {"configuration": {"pushNotificationConfig": OLD_HOOK, "historyLength": 0}},
    "tasks/get": {"id": TASK, "historyLength": 1},
    "tasks/cancel": {"id": TASK},
    "tasks/resubscribe": {"id": "<running>"},
    "tasks/pushNotificationConfig/set": {"taskId": TASK, "pushNotificationConfig": OLD_HOOK},
    "tasks/pushNotificationConfig/get": {"id": TASK, "pushNotificationConfigId": "p"},
    "tasks/pushNotificationConfig/list": {"id": TASK},
    "tasks/pushNotificationConfig/delete": {"id": TASK, "pushNotificationConfigId": "p"},
    "agent/getAuthenticatedExtendedCard": {},
}
OTHERS = ["taskId", "message", "pushNotificationConfig", "pageToken", "priority", "tenant"]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree: what holds it, and under which name or number."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


@st.composite
def broken(draw: st.DrawFn, good: Any) -> Any:
    """A good tree with up to three places replaced, taken out or put in."""
    whole = {"whole": json.loads(json.dumps(good))}
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(whole))
        holder, key = found[draw(st.integers(0, len(found) - 1))]
        action = draw(st.sampled_from(["replace", "replace", "task", "take out", "put in"]))
        if action == "task":
            holder[key] = draw(st.sampled_from(TASKS))
        elif action == "take out" and holder is not whole:
            del holder[key]
        elif action == "put in" and isinstance(holder[key], dict):
            holder[key][draw(st.sampled_from(OTHERS) | ODD)] = draw(TREE | st.sampled_from(TASKS))
        else:
            holder[key] = draw(TREE)
    return whole["whole"]


CALLS = st.sampled_from(sorted(GOOD)).flatmap(
    lambda method: st.tuples(st.just(method), broken(GOOD[method]))
)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "A2A-Version": st.sampled_from(["", "1.0", "0.3", "1.x", "9", " "]) | HEADER,
        "A2A-Extensions": HEADER,
        "traceparent": HEADER,
        "Idempotency-Key": HEADER,
        "Last-Event-ID": st.sampled_from(["0-0", "9-9", "-", f"{2**64}-0", f"{10**30}-1"]) | HEADER,
        "Content-Type": st.sampled_from(["application/a2a+json", "text/plain", "x/y;"]),
        "Accept": HEADER,
    },
)
MOSTLY_NONE = st.just({}) | st.just({}) | HEADERS


def test_every_method_has_a_good_call_to_break(place: Place) -> None:
    assert GOOD.keys() == METHODS
    for method, params in GOOD.items():
        sent = {"jsonrpc": "2.0", "id": "c", "method": method, "params": named(place, params)}
        response = place.site.ask("POST", BASE, sent, headers=JSON)
        (told,) = read(response, sent)[:1]
        response.close()
        assert told.get("error", {}).get("code") not in (-32600, -32601, -32602), (method, told)


def named(place: Place, given: Any) -> Any:
    """With the ids of the tasks that are there in place of their states."""
    if isinstance(given, dict):
        return {key: named(place, value) for key, value in given.items()}
    if isinstance(given, list):
        return [named(place, value) for value in given]
    if isinstance(given, str) and given.startswith("<"):
        return place.tasks.get(given.strip("<>"), given)
    return given


def frames(response: TestResponse) -> list[Any]:
    """What a stream says at once: an error, or its first event."""
    found = []
    for text in chunks(response):
        for line in text.split("\n"):
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
        if found:
            break
    return found


def read(response: TestResponse, sent: Any) -> list[Any]:
    """The answer's objects; a fault of ours has none."""
    assert response.status_code < 500, (sent, response.status_code, response.text[:500])
    if response.mimetype == "text/event-stream":
        found = frames(response)
        assert found, sent
        return found
    assert response.mimetype.endswith("json"), (sent, response.mimetype)
    return [json.loads(response.get_data())]


def closing(check: Callable[[TestResponse], None], response: TestResponse) -> None:
    try:
        check(response)
    finally:
        response.close()


@hypothesis_settings(max_examples=600, deadline=None)
@given(call=CALLS, headers=MOSTLY_NONE)
def test_json_rpc_is_answered_by_the_table(
    place: Place, call: tuple[str, Any], headers: dict[str, str]
) -> None:
    method, params = call
    sent = {"jsonrpc": "2.0", "id": "c", "method": method, "params": named(place, params)}

    def check(response: TestResponse) -> None:
        for told in read(response, sent):
            assert told["jsonrpc"] == "2.0" and told["id"] == "c", (sent, told)
            assert ("result" in told) != ("error" in told), (sent, told)
            if "error" in told:
                error = told["error"]
                is_ours = response.status_code in (409, 422, 429) and error["code"] == -32603
                assert error["code"] in CODES or is_ours or ours(error), (sent, told)
                assert isinstance(error["message"], str) and error["message"]

    body = json.dumps(sent).encode()
    closing(check, place.site.ask("POST", BASE, body, headers={**JSON, **headers}))


def ours(error: dict[str, Any]) -> bool:
    """Whether an error that the specification has no code for names one of ours."""
    data = error["data"]
    named = data.get("code") if isinstance(data, dict) else data[0]["reason"].lower()
    return error["code"] == -32603 and named in ("too_many_push_configs", "idempotency_conflict")


def paths(task: str, config: str) -> list[tuple[str, str]]:
    one, hook = f"/tasks/{task}", f"/pushNotificationConfigs/{config}"
    return [
        *(("POST", "/message:send"), ("POST", "/message:stream"), ("GET", "/tasks")),
        *(("GET", one), ("POST", f"{one}:cancel"), ("POST", f"{one}:subscribe")),
        *(("GET", f"{one}:subscribe"), ("POST", f"{one}/pushNotificationConfigs")),
        *(("GET", f"{one}/pushNotificationConfigs"), ("GET", one + hook), ("DELETE", one + hook)),
        *(("GET", "/extendedAgentCard"), ("POST", f"{one}:nonsense"), ("PUT", one)),
    ]


@hypothesis_settings(max_examples=600, deadline=None)
@given(
    number=st.integers(0, 13),
    task=st.sampled_from(TASKS) | ODD,
    config=st.just("p") | ODD,
    query=st.dictionaries(
        st.sampled_from(
            [
                *("pageSize", "pageToken", "status", "historyLength", "contextId", "tenant"),
                *("includeArtifacts", "statusTimestampAfter", "novel"),
            ]
        ),
        ODD,
        max_size=3,
    ),
    body=broken(NEW_SEND) | broken(NEW_HOOK) | TREE,
    headers=MOSTLY_NONE,
)
def test_http_json_is_answered_by_the_table(
    place: Place,
    number: int,
    task: str,
    config: str,
    query: dict[str, str],
    body: Any,
    headers: dict[str, str],
) -> None:
    quoted = (urllib.parse.quote(text or "-", safe="") for text in (named(place, task), config))
    method, path = paths(*quoted)[number]
    sent = (method, path, query, body)

    def check(response: TestResponse) -> None:
        for told in read(response, sent):
            if response.status_code >= 400 and "error" in told:
                assert told["error"]["code"] == response.status_code, (sent, told)
                assert told["error"]["message"] and told["error"]["details"], (sent, told)

    text = json.dumps(named(place, body)).encode()
    whole = f"{BASE}{path}?{urllib.parse.urlencode(query)}"
    given_body = text if method == "POST" else None
    closing(check, place.site.ask(method, whole, given_body, headers={**JSON, **headers}))
