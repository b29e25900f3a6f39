"""What a stranger may send: refused by name, as problem+json, and never a 500."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.api.errors import STATUS
from app.core import errors
from tests.unit.api.web import Web, fake_clients, web

BASE = "/workspaces/w1"
ODD_IDS = [
    "%00",
    "%ff",
    "..%2e",
    "{w1}",
    "w1%7Csch",
    "a" * 300,
    "%20",
    "%F0%9F%98%80",
    "'\"<script>",
]
HUGE = b"9" * 5000
NASTY = [
    *(b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}}", b"\x00"),
    *(b'{"fence":NaN}', b'{"fence":Infinity}', b'{"fence":1e999}', b'{"fence":' + HUGE + b"}"),
    *(b'{"fence":9223372036854775807}', b'{"fence":-1}', b'{"fence":1.5}', b'{"fence":true}'),
    *(b'{"reason":"\\ud800"}', b'{"message":"\\udfff"}', b'{"x":{"\\ud800":1}}'),
    *(b'{"reason":"\\u0000"}', b'{"id":"\\u0000","name":"\\u0000"}', b'{"id":"w1","id":[]}'),
    *(b"[" * 100_000, b'{"a":' * 5_000, '{"reason":1}'.encode("utf-16")),
    *(b'{"agent_card":{"name":[1]},"id":"w1"}', b'{"agent_card":{"name":true},"id":"w1"}'),
    *(b'{"params":[]}', b'{"params":{"message":{"parts":[[]]}}}', b'{"method":{}}'),
    b'{"fence":1,"reports":[{"type":"finish","outcome":[]}]}',
    b'{"name":"n","scopes":["read"],"expires_in_s":1e300}',
    b'{"name":"n","scopes":[[]],"workspaces":{}}',
    b'{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"parts":[{}],"x":1e400}}}',
]
QUERIES = [
    *("wait_s=-1", "wait_s=nan", "wait_s=inf", "wait_s=301", "wait_s=x", "limit=0", "limit=1001"),
    *("limit=1e3", "limit=" + "9" * 400, "count=0", "count=101", "type=nope", "state=nope"),
    *("since=x", "since=1-", "since=%D9%A3-%D9%A3", "since=" + "9" * 20 + "-1"),
    *("since=99999999999999999999d", "since=999999999d", "instance=" + "x" * 200, "code=%ff"),
]


@pytest.fixture(scope="module")
def site() -> Iterator[Web]:
    """One web process for the whole table; what a row leaves behind must not matter."""
    with web(fake_clients(), body_max_bytes=1_000_000, poll_wait_max_s=0.001) as made:
        made.workspace()
        yield made


def problem(response: Any, status: int, code: str | None = None) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    told: dict[str, Any] = response.get_json()
    assert told["status"] == status and told["title"] and told["detail"] and told["type"]
    assert code in (None, told["code"])
    return told


def every_route(site: Web) -> Iterator[tuple[str, str]]:
    for rule in site.app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            if (method, rule.rule) != (
                "DELETE",
                "/workspaces/<workspace_id>",
            ):  # the others need it
                yield method, rule.rule


def filled(rule: str, odd: str) -> str:
    """A path with an odd id in every place but the workspace's (and once there too)."""
    path = rule.replace("<workspace_id>", "w1")
    return "/".join(odd if part.startswith("<") else part for part in path.split("/"))


def never_500(site: Web, method: str, path: str, body: bytes | None = None) -> int:
    response = site.ask(method, path, body)
    assert response.status_code < 500, f"{method} {path} {body!r:.80}: {response.text}"
    if response.status_code >= 400 and "html" not in (response.content_type or ""):
        told = response.get_json()
        assert "code" in told or "error" in told, f"{method} {path}: {response.text}"
    response.close()
    return response.status_code


def test_no_body_makes_any_route_fail(site: Web) -> None:
    for method, rule in every_route(site):
        if method in ("POST", "PATCH"):
            for body in NASTY:
                never_500(site, method, filled(rule, "x1"), body)
    never_500(site, "GET", f"{BASE}/activity")


def test_no_id_or_query_makes_any_route_fail(site: Web) -> None:
    for method, rule in every_route(site):
        for odd in ODD_IDS:
            never_500(site, method, filled(rule, odd), b"{}" if method != "GET" else None)
            never_500(
                site, method, rule.replace("<workspace_id>", odd).replace("<", "").replace(">", "")
            )
        if method == "GET" and "stream" not in rule:
            for query in QUERIES:
                never_500(site, method, f"{filled(rule, 'x1')}?{query}")


@pytest.mark.parametrize("query", [query for query in QUERIES if query.startswith("since")])
def test_a_stream_is_not_opened_from_a_place_that_cannot_be(site: Web, query: str) -> None:
    response = site.ask("GET", f"{BASE}/events/stream?{query}")
    status = response.status_code
    response.close()
    assert status == (200 if query == "since=999999999d" else 422)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            *("id", "name", "scopes", "workspaces", "fence", "kind"),
            *("text", "result", "error", "checkpoint", "reports", "params"),
            *("message", "parts", "method", "jsonrpc", "agent_card", "sessions"),
            *(
                "seq",
                "active_tasks",
                "idle_timeout_s",
                "error_rate",
                "runtime_metadata",
                "cron_expr",
            ),
            *("timezone", "prompt", "ttl_s", "window_s", "type", "reason"),
            *("limits"),
        ]
    ),
    JSON,
    max_size=5,
)


@hypothesis_settings(max_examples=40)
@given(fields=FIELDS)
def test_no_made_up_body_makes_any_route_fail(site: Web, fields: dict[str, Any]) -> None:
    body = json.dumps(fields).encode()
    for method, rule in every_route(site):
        if method in ("POST", "PATCH"):
            never_500(site, method, filled(rule, "x1"), body)


@pytest.mark.parametrize("path", ["", "/turns", "/schedules", "/activity", "/why", "/events"])
def test_an_unknown_workspace_is_404(site: Web, path: str) -> None:
    problem(site.ask("GET", f"/workspaces/nobody{path}"), 404, "workspace_not_found")


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"reason":NaN}', b'{"reason":"\\ud800"}'])
def test_what_is_no_json_is_400(site: Web, body: bytes) -> None:
    problem(site.ask("POST", f"{BASE}/pause", body), 400, "not_json")


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"text"'])
def test_a_body_that_is_no_object_is_422(site: Web, body: bytes) -> None:
    told = problem(site.ask("POST", f"{BASE}/pause", body), 422, "invalid_input")
    assert told["errors"][0]["field"] == "body"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cron_expr": "61 * * * *"}, "cron_expr"),
        ({"cron_expr": "* * * *"}, "cron_expr"),
        ({"cron_expr": "0 0 31 2 *"}, "cron_expr"),
        ({"cron_expr": 5}, "cron_expr"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"timezone": "\0"}, "timezone"),
        ({"name": ""}, "name"),
        ({"prompt": ""}, "prompt"),
        ({"ceiling_s": "60"}, "ceiling_s"),
        ({"ceiling_s": -1}, "ceiling_s"),
        ({"ttl_s": 0}, "ttl_s"),
        ({"enabled": "yes"}, "enabled"),
        ({"window_s": 86_401}, "window_s"),
        ({"cronexpr": "* * * * *"}, "cronexpr"),
    ],
)
def test_a_bad_field_of_a_schedule_is_named(site: Web, fields: dict[str, Any], field: str) -> None:
    good = {"name": "tick", "cron_expr": "*/30 * * * *", "prompt": "go"}
    told = problem(site.ask("POST", f"{BASE}/schedules", good | fields), 422)
    assert told["errors"][0]["field"] == field and told["errors"][0]["rule"]


def test_every_missing_field_is_named_at_once(site: Web) -> None:
    told = problem(site.ask("POST", f"{BASE}/schedules", {}), 422)
    assert [row["field"] for row in told["errors"]] == ["name", "cron_expr", "prompt"]


@pytest.mark.parametrize(
    "field", ["name", "cron_expr", "timezone", "prompt", "enabled", "window_s"]
)
def test_null_clears_no_field_that_a_schedule_needs(site: Web, field: str) -> None:
    path = f"{BASE}/schedules/{site.schedule('w1')}"
    told = problem(site.ask("PATCH", path, {field: None}), 422)
    assert told["errors"] == [{"field": field, "rule": "may not be null"}]


def test_a_body_that_is_too_large_is_413(site: Web) -> None:
    big = json.dumps({"reason": "x" * 1_000_001}).encode()
    told = problem(site.ask("POST", f"{BASE}/pause", big), 413, "body_too_large")
    assert (told["limit_bytes"], told["setting"]) == (1_000_000, "TURNKEEPER_BODY_MAX_BYTES")


def test_a_prompt_that_is_too_large_names_its_setting(site: Web) -> None:
    message = {"parts": [{"text": "ä" * 140_000}]}
    told = problem(site.ask("POST", f"{BASE}/a2a", {"params": {"message": message}}), 422)
    assert "TURNKEEPER_PROMPT_MAX_BYTES" in told["errors"][0]["rule"]


def test_a_full_queue_is_429_and_an_event() -> None:
    with web(fake_clients(), queue_depth_max=1) as site:
        site.workspace()
        site.send("w1", "first")
        message = {"parts": [{"text": "second"}]}
        response = site.ask("POST", f"{BASE}/a2a", {"params": {"message": message}})
        problem(response, 429, "queue_full")
        assert int(response.headers["Retry-After"]) > 0
        message = {"role": "user", "messageId": "m", "parts": [{"kind": "text", "text": "second"}]}
        call = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": message}}
        rpc = site.ask("POST", f"{BASE}/a2a", call)
        assert (rpc.status_code, rpc.get_json()["error"]["data"]["code"]) == (429, "queue_full")
        assert int(rpc.headers["Retry-After"]) > 0
        hit = site.ok("GET", f"{BASE}/events")["events"][-1]
        assert (hit["event"], hit["mechanism"]) == ("LIMIT_HIT", "queue_depth")
        assert hit["payload"]["setting"] == "TURNKEEPER_QUEUE_DEPTH_MAX"
        assert hit["payload"]["limit_count"] == hit["payload"]["measured_count"] == 1


@pytest.mark.parametrize("path", ["/nowhere", "/workspaces/w1/nothing", "/static/none.js"])
def test_an_unknown_route_is_404(site: Web, path: str) -> None:
    problem(site.ask("GET", path), 404)


def test_a_wrong_method_is_405_and_names_the_right_ones(site: Web) -> None:
    response = site.ask("DELETE", "/healthz")
    problem(response, 405)
    assert "GET" in response.headers["Allow"]


@pytest.mark.parametrize("path", ["/events/stream", f"{BASE}/events/stream", f"{BASE}/turns/next"])
def test_head_neither_opens_a_stream_nor_takes_a_turn(site: Web, path: str) -> None:
    assert site.ask("HEAD", path).status_code == 405


def test_a_doubled_slash_is_redirected_not_a_problem(site: Web) -> None:
    response = site.ask("GET", "/workspaces//w1")
    assert (response.status_code, response.headers["Location"]) == (
        308,
        "http://localhost/workspaces/w1",
    )


def test_every_refusal_of_the_kernel_has_a_status() -> None:
    def family(kind: type[errors.TurnkeeperError]) -> Iterator[type[errors.TurnkeeperError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from family(child)

    assert not {kind.code for kind in family(errors.TurnkeeperError)} - STATUS.keys()


def test_a_fault_of_ours_is_500_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with web(fake_clients()) as site:

        def broken() -> None:
            raise RuntimeError("inner secret")

        broken.scope = "public"  # type: ignore[attr-defined]
        site.app.view_functions["health.healthz"] = broken
        with caplog.at_level(logging.ERROR):
            told = problem(site.ask("GET", "/healthz"), 500, "error")
        assert "inner secret" not in json.dumps(told)
