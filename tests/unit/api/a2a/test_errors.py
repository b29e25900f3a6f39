"""Every malformed request gets its code; nothing makes the entry answer 500 or in no form."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.api.a2a import new_methods, old_methods
from tests.unit.api.a2a.calls import BASE, JSON, call, code, message, old_message, send
from tests.unit.api.web import Web, fake_clients, web

METHODS = [
    *("SendMessage", "message/send", *new_methods.METHODS, *old_methods.METHODS),
    *(*new_methods.STREAMS, *old_methods.STREAMS),
]


@pytest.fixture(scope="module")
def site() -> Iterator[Web]:
    """One web process for all; nothing depends on what came before."""
    with web(fake_clients()) as made:
        made.workspace("w1")
        yield made


def errors_of(response: Any) -> list[dict[str, Any]]:
    """The error of an answer, whether it came as JSON or as a stream of one event."""
    if response.mimetype == "text/event-stream":
        frames = [row for row in response.text.split("\n\n") if row.startswith("data: ")]
        found = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    else:
        found = [response.get_json()]
    return [one["error"] for one in found if "error" in one]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"GetTask"}]', -32600),
        (b"7", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"GetTask"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"GetTask"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"GetTask"}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":""}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"getTask"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":[]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":7}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask"}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"x"}}', -32001),
        (b'{"jsonrpc":"2.0","id":1,"method":"SubscribeToTask","params":{"id":"x"}}', -32001),
        (b'{"jsonrpc":"2.0","id":1,"method":"tasks/resubscribe","params":{"id":"x"}}', -32001),
        (b'{"jsonrpc":"2.0","id":1,"method":"agent/getAuthenticatedExtendedCard"}', -32007),
    ],
)
def test_a_malformed_call_gets_its_code(site: Web, body: bytes, wanted: int) -> None:
    response = site.ask("POST", BASE, body, headers=JSON)
    (error,) = errors_of(response)
    assert error["code"] == wanted


@pytest.mark.parametrize(
    "change",
    [
        *({"messageId": ""}, {"messageId": None}, {"messageId": "x" * 257}, {"role": "robot"}),
        *({"role": "ROLE_AGENT"}, {"parts": []}, {"parts": [{}]}, {"parts": [7]}, {"parts": "x"}),
        *({"parts": [{"text": 7}]}, {"parts": [{"kind": "x"}]}),
        *({"contextId": 7}, {"taskId": "x" * 300}, {"metadata": []}, {"contextId": "x" * 300}),
    ],
)
def test_a_malformed_message_is_invalid_params_in_both_versions(
    site: Web, change: dict[str, Any]
) -> None:
    new = {name: value for name, value in {**message(), **change}.items() if value is not None}
    assert code(site, "SendMessage", {"message": new}) == -32602
    old = {name: value for name, value in {**old_message(), **change}.items() if value is not None}
    if change.get("role") != "ROLE_AGENT":
        assert code(site, "message/send", {"message": old}) == -32602


@pytest.mark.parametrize("version", ["2.0", "99.0", "0.3", "x"])
def test_another_version_is_refused_on_methods_of_1_0_only(site: Web, version: str) -> None:
    params = {"id": send(site)}
    assert code(site, "GetTask", params, **{"A2A-Version": version}) == -32009
    assert "result" in call(site, "tasks/get", params, **{"A2A-Version": version})
    http = site.ask("GET", f"{BASE}/tasks/{params['id']}", headers={"A2A-Version": version})
    assert (http.status_code, http.get_json()["error"]["code"]) == (400, 400)


@pytest.mark.parametrize("version", ["", "1", "1.0", "1.1"])
def test_a_version_of_ours_or_none_is_taken(site: Web, version: str) -> None:
    assert "result" in call(site, "GetTask", {"id": send(site)}, **{"A2A-Version": version})


def test_another_content_type_is_refused(site: Web) -> None:
    text = {"Content-Type": "text/plain"}
    assert code(site, "SendMessage", {"message": message()}, **text) == -32005
    unreadable = site.ask("POST", BASE, b"not json", headers=text)
    assert unreadable.get_json()["error"]["code"] == -32005
    http = site.ask("POST", f"{BASE}/message:send", {"message": message()}, headers=text)
    assert http.status_code == 415
    short = site.ask("POST", BASE, {"params": {"message": old_message()}}, headers=text)
    assert short.status_code == 202, "the short form never looked at it"


def test_an_error_names_its_reason_and_its_fields(site: Web) -> None:
    told = call(site, "GetTask", {"id": "trn_no"})["error"]["data"][0]
    assert (told["reason"], told["domain"]) == ("TASK_NOT_FOUND", "a2a-protocol.org")
    told = call(site, "SendMessage", {"message": {"role": "ROLE_USER"}})["error"]["data"]
    fields = {row["field"] for row in told[1]["fieldViolations"]}
    assert fields == {"message.messageId", "message.parts"}


def test_a_prompt_that_is_too_large_names_its_setting(site: Web) -> None:
    told = call(site, "SendMessage", {"message": message("x" * 300_000)})["error"]
    assert told["code"] == -32602
    assert "TURNKEEPER_PROMPT_MAX_BYTES" in told["message"]


def test_a_full_queue_is_429_in_every_form() -> None:
    with web(fake_clients(), queue_depth_max=1) as site:
        site.workspace("w1")
        send(site)
        for method, params in (
            ("SendMessage", {"message": message("b")}),
            ("message/send", {"message": old_message("b")}),
            ("SendStreamingMessage", {"message": message("b")}),
            ("message/stream", {"message": old_message("b")}),
        ):
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            response = site.ask("POST", BASE, body, headers=JSON)
            assert response.status_code == 429, method
            assert int(response.headers["Retry-After"]) > 0
        http = site.ask("POST", f"{BASE}/message:send", {"message": message("b")}, headers=JSON)
        assert http.status_code == 429
        assert http.get_json()["error"]["details"][0]["reason"] == "QUEUE_FULL"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "reason"),
    [
        ("POST", "/message:send", b"{", {}, 400, "PARSE_ERROR"),
        ("POST", "/message:send", b"[]", {}, 400, "INVALID_REQUEST"),
        ("POST", "/message:send", b"{}", {}, 400, "INVALID_PARAMS"),
        ("POST", "/message:stream", b"{}", {}, 400, "INVALID_PARAMS"),
        (
            "POST",
            "/message:send",
            b"{}",
            {"Content-Type": "text/plain"},
            415,
            "CONTENT_TYPE_NOT_SUPPORTED",
        ),
        ("POST", "/message:send", b"{}", {"A2A-Version": "9.0"}, 400, "VERSION_NOT_SUPPORTED"),
        ("GET", "/tasks?pageSize=0", None, {}, 400, "INVALID_PARAMS"),
        ("GET", "/tasks?pageToken=x", None, {}, 400, "INVALID_PARAMS"),
        ("GET", "/tasks?status=none", None, {}, 400, "INVALID_PARAMS"),
        ("GET", "/tasks/none", None, {}, 404, "TASK_NOT_FOUND"),
        ("POST", "/tasks/none:cancel", None, {}, 404, "TASK_NOT_FOUND"),
        ("POST", "/tasks/none:subscribe", None, {}, 404, "TASK_NOT_FOUND"),
        ("GET", "/tasks/none/pushNotificationConfigs", None, {}, 404, "TASK_NOT_FOUND"),
        ("POST", "/tasks/ENDED:cancel", None, {}, 409, "TASK_NOT_CANCELABLE"),
        ("POST", "/tasks/ENDED:subscribe", None, {}, 400, "UNSUPPORTED_OPERATION"),
        ("GET", "/tasks/ENDED:subscribe", None, {}, 400, "UNSUPPORTED_OPERATION"),
        ("GET", "/tasks/ENDED/pushNotificationConfigs/none", None, {}, 404, "TASK_NOT_FOUND"),
        ("POST", "/tasks/ENDED/pushNotificationConfigs", b"{}", {}, 400, "INVALID_PARAMS"),
    ],
)
def test_http_json_has_the_same_table(
    site: Web,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    reason: str,
) -> None:
    ended = send(site, name="ended")
    site.ok("POST", f"/workspaces/w1/turns/{ended}/cancel", {})
    address = BASE + path.replace("ENDED", ended)
    response = site.ask(method, address, body, headers={**JSON, **headers})
    told = response.get_json()["error"]
    assert (response.status_code, told["code"]) == (status, status), told
    assert told["details"][0]["reason"] == reason
    assert told["status"] and told["message"]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
KNOWN = st.dictionaries(
    st.sampled_from(
        [
            *("id", "taskId", "task_id", "message", "configuration", "metadata", "pageSize"),
            *("pageToken", "status", "historyLength", "url", "authentication", "tenant"),
            *("pushNotificationConfig", "pushNotificationConfigId", "statusTimestampAfter"),
        ]
    ),
    ANY
    | st.fixed_dictionaries({"messageId": ANY, "role": ANY, "parts": ANY | st.lists(ANY)})
    | st.fixed_dictionaries({"url": ANY, "id": ANY, "token": ANY, "authentication": ANY}),
    max_size=4,
)


def answered(site: Web, body: bytes) -> None:
    response = site.ask("POST", BASE, body, headers=JSON)
    assert response.status_code < 500, (body[:200], response.text[:300])
    if response.mimetype == "text/event-stream":
        response.close()
        return
    told = response.get_json()
    if response.mimetype == "application/problem+json":  # the short form
        assert told["code"]
    elif "queued" not in told:
        assert told["jsonrpc"] == "2.0"
        assert ("result" in told) != ("error" in told)
        assert "error" not in told or told["error"]["code"] != -32603, told


@hypothesis_settings(max_examples=400, deadline=None)
@given(method=st.sampled_from(METHODS), params=KNOWN | ANY, call_id=ANY)
def test_no_made_up_call_makes_the_entry_fail(
    site: Web, method: str, params: Any, call_id: Any
) -> None:
    body = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}
    answered(site, json.dumps(body).encode())


@hypothesis_settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=60) | ANY.map(lambda value: json.dumps(value).encode()))
def test_no_made_up_body_makes_the_entry_fail(site: Web, body: bytes) -> None:
    answered(site, body)


@pytest.mark.parametrize("depth", [50, 150, 199])
@pytest.mark.parametrize("place", ["data", "metadata"])
def test_deep_data_is_taken_or_refused_never_a_fault(site: Web, depth: int, place: str) -> None:
    deep: Any = "x"
    for _ in range(depth):
        deep = {"a": [deep]} if place == "data" else {"a": deep}
    part = {"text": "x", "metadata": deep} if place == "metadata" else {"data": deep}
    for method, whole in (
        ("SendMessage", message() | {"parts": [part]}),
        ("message/send", old_message() | {"parts": [{"kind": "data", "data": {"a": deep}}]}),
    ):
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": whole}}
        answered(site, json.dumps(body).encode())
    http = site.ask("GET", f"{BASE}/tasks?pageSize=100", headers=JSON)
    assert http.status_code == 200


@pytest.mark.parametrize("query", ["pageSize=--5", "pageSize=-", "historyLength=--1"])
def test_a_query_that_only_looks_like_a_number_is_refused(site: Web, query: str) -> None:
    assert site.ask("GET", f"{BASE}/tasks?{query}", headers=JSON).status_code == 400


@pytest.mark.parametrize("token", ["t\u00f6ken", " token", "to\nken"])
def test_a_push_token_that_no_header_can_carry_is_refused(site: Web, token: str) -> None:
    given = {"taskId": send(site), "url": "https://h.example/", "token": token}
    assert code(site, "CreateTaskPushNotificationConfig", given) == -32602


def test_the_same_push_configuration_with_each_message_is_one(site: Web) -> None:
    ids = set()
    for name in ("one", "two"):
        wanted = {"taskPushNotificationConfig": {"url": "https://h.example/", "token": "t"}}
        given = {"message": message(name=name), "configuration": wanted}
        task = call(site, "SendMessage", given)["result"]["task"]
        found = call(site, "ListTaskPushNotificationConfigs", {"taskId": task["id"]})["result"]
        ids.add(found["configs"][0]["id"])
    assert len(ids) == 1
