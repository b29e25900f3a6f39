"""What the route says to well and badly made messages, in both eras."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.mcp import protocol, tools
from tests.unit.api.mcp.calls import KEY, NEW, OLD, Agent, running
from tests.unit.api.web import Web, fake_clients, web

TOOLS = [
    *("recall_memory", "commit_memory", "get_policy"),
    *("report_progress", "checkpoint", "send_message_to_user"),
]


@pytest.fixture
def agent(fake: Web) -> Agent:
    return running(fake)


@pytest.fixture
def old(fake: Web) -> Agent:
    return running(fake, era=OLD)


def failed(response: Any) -> tuple[int, int]:
    """The HTTP status and the JSON-RPC code."""
    return response.status_code, response.get_json()["error"]["code"]


def test_the_newest_era_discovers_lists_and_calls_without_a_handshake(agent: Agent) -> None:
    about = agent.result("server/discover")
    assert about["supportedVersions"][0] == NEW and OLD in about["supportedVersions"]
    assert about["capabilities"] == {"tools": {}}
    listed = agent.result("tools/list")
    assert [tool["name"] for tool in listed["tools"]] == TOOLS
    for result in (about, listed):
        assert (result["resultType"], result["cacheScope"]) == ("complete", "private")
        assert result["_meta"][f"{KEY}serverInfo"]["name"] == "turnkeeper"
    assert agent.result("tools/call", {"name": "get_policy"})["resultType"] == "complete"


@pytest.mark.parametrize("version", protocol.HANDSHAKE)
def test_clients_of_before_shake_hands_in_their_own_version(fake: Web, version: str) -> None:
    old = running(fake, era=version)
    given = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "c"}}
    agreed = old.result("initialize", given)
    assert (agreed["protocolVersion"], agreed["serverInfo"]["name"]) == (version, "turnkeeper")
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    told = old.post(note, headers={"MCP-Protocol-Version": version})
    assert (told.status_code, told.data) == (202, b"")
    assert "Mcp-Session-Id" not in told.headers
    assert old.result("ping") == {}
    listed = old.result("tools/list")
    assert [tool["name"] for tool in listed["tools"]] == TOOLS
    assert "resultType" not in listed
    assert old.call("get_policy")["policy_version"]


@pytest.mark.parametrize("asked", [NEW, "1999-01-01", "x"])
def test_a_handshake_for_a_version_that_has_none_gets_the_newest_that_has(
    old: Agent, asked: str
) -> None:
    assert old.result("initialize", {"protocolVersion": asked})["protocolVersion"] == "2025-11-25"


def test_without_a_version_header_a_request_is_of_the_handshakes_time(old: Agent) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert "resultType" not in old.post(body).get_json()["result"]


def test_what_a_method_is_depends_on_the_era(fake: Web) -> None:
    agent = running(fake)
    assert failed(agent.request("ping")) == (404, protocol.METHOD_NOT_FOUND)
    assert failed(agent.request("initialize")) == (404, protocol.METHOD_NOT_FOUND)
    agent.era = OLD
    assert failed(agent.request("resources/list")) == (200, protocol.METHOD_NOT_FOUND)


def test_an_unknown_tool_is_an_error_of_the_protocol_and_a_bad_argument_one_of_the_tool(
    agent: Agent,
) -> None:
    gone = agent.request("tools/call", {"name": "rm_rf"})
    assert failed(gone) == (400, protocol.INVALID_PARAMS)
    agent.era = OLD
    assert failed(agent.request("tools/call", {"name": "rm_rf"})) == (200, protocol.INVALID_PARAMS)
    told = agent.call("report_progress", is_error=True, text=3, percent="x", more=1)
    assert told["error"]["code"] == "invalid_input"
    assert {row["field"] for row in told["error"]["errors"]} == {
        *("arguments.text", "arguments.percent", "arguments.more")
    }
    assert told["policy_version"], "an answer that refuses carries the news too"


WRONG_BODIES: dict[str, tuple[Any, int]] = {
    "no JSON": (b"{", protocol.PARSE_ERROR),
    "nothing": (b"", protocol.PARSE_ERROR),
    "not UTF-8": (b'"\xff"', protocol.PARSE_ERROR),
    "a batch": ([{"jsonrpc": "2.0", "id": 1, "method": "ping"}], protocol.INVALID_REQUEST),
    "a text": ("x", protocol.INVALID_REQUEST),
    "no version": ({"id": 1, "method": "ping"}, protocol.INVALID_REQUEST),
    "no method": ({"jsonrpc": "2.0", "id": 1}, protocol.INVALID_REQUEST),
    "a null id": ({"jsonrpc": "2.0", "id": None, "method": "ping"}, protocol.INVALID_REQUEST),
    "a broken id": ({"jsonrpc": "2.0", "id": 1.5, "method": "ping"}, protocol.INVALID_REQUEST),
    "a true id": ({"jsonrpc": "2.0", "id": True, "method": "ping"}, protocol.INVALID_REQUEST),
    "both ends": (
        {"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}},
        protocol.INVALID_REQUEST,
    ),
}


@pytest.mark.parametrize("name", WRONG_BODIES)
def test_a_malformed_message_is_refused_with_its_code(agent: Agent, name: str) -> None:
    body, code = WRONG_BODIES[name]
    assert failed(agent.post(body)) == (400, code)


def test_params_that_are_no_object_are_refused(agent: Agent) -> None:
    for params in ([], "x", 3, None):
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}
        assert agent.post(body).get_json()["error"]["code"] == protocol.INVALID_PARAMS


def envelope(**change: Any) -> dict[str, Any]:
    meta = {f"{KEY}protocolVersion": NEW, f"{KEY}clientCapabilities": {}}
    meta = {name: value for name, value in {**meta, **change}.items() if value is not None}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}


HEADERS = {"MCP-Protocol-Version": NEW, "Mcp-Method": "tools/list"}
MISMATCHED: dict[str, tuple[dict[str, Any], dict[str, str], int]] = {
    "no envelope": (
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        HEADERS,
        protocol.INVALID_PARAMS,
    ),
    "no capabilities": (
        envelope(**{f"{KEY}clientCapabilities": None}),
        HEADERS,
        protocol.INVALID_PARAMS,
    ),
    "no version header": (
        envelope(),
        {"Mcp-Method": "tools/list"},
        protocol.HEADER_MISMATCH,
    ),
    "another version header": (
        envelope(),
        {**HEADERS, "MCP-Protocol-Version": OLD},
        protocol.HEADER_MISMATCH,
    ),
    "another method header": (
        envelope(),
        {**HEADERS, "Mcp-Method": "tools/call"},
        protocol.HEADER_MISMATCH,
    ),
    "a version of nobody": (
        envelope(**{f"{KEY}protocolVersion": "2099-01-01"}),
        {**HEADERS, "MCP-Protocol-Version": "2099-01-01"},
        protocol.UNSUPPORTED_VERSION,
    ),
    "an old version in the new envelope": (
        envelope(**{f"{KEY}protocolVersion": OLD}),
        {**HEADERS, "MCP-Protocol-Version": OLD},
        protocol.UNSUPPORTED_VERSION,
    ),
    "an old request under a version of nobody": (
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        {"MCP-Protocol-Version": "2099-01-01"},
        protocol.UNSUPPORTED_VERSION,
    ),
}


@pytest.mark.parametrize("name", MISMATCHED)
def test_headers_and_envelope_must_say_the_same(agent: Agent, name: str) -> None:
    body, headers, code = MISMATCHED[name]
    response = agent.post(body, headers=headers)
    assert failed(response) == (400, code)
    if code == protocol.UNSUPPORTED_VERSION:
        assert NEW in response.get_json()["error"]["data"]["supported"]


def test_the_name_header_must_be_the_tools_and_may_be_encoded(agent: Agent) -> None:
    wrong = agent.request("tools/call", {"name": "get_policy"}, Mcp_Name="checkpoint")
    assert failed(wrong) == (400, protocol.HEADER_MISMATCH)
    coded = agent.request(
        "tools/call", {"name": "get_policy"}, Mcp_Name="=?base64?Z2V0X3BvbGljeQ==?="
    )
    assert coded.status_code == 200
    broken = agent.request("tools/call", {"name": "get_policy"}, Mcp_Name="=?base64?Z?=")
    assert failed(broken) == (400, protocol.HEADER_MISMATCH)


def test_notifications_and_answers_are_acknowledged_and_do_nothing(agent: Agent) -> None:
    params = {"name": "send_message_to_user", "arguments": {"text": "hi"}}
    note = {"jsonrpc": "2.0", "method": "tools/call", "params": params}
    assert agent.post(note).status_code == 202
    assert agent.post({"jsonrpc": "2.0", "id": 1, "result": {}}).status_code == 202
    told = agent.site.ok("GET", "/workspaces/w1/events")["events"]
    assert not [event for event in told if event["event"] == "AGENT_MESSAGE"]


def test_only_post_is_allowed(agent: Agent) -> None:
    for method in ("GET", "DELETE", "PUT"):
        response = agent.site.ask(method, "/workspaces/w1/mcp", token=agent.token)
        assert response.status_code == 405
        assert "POST" in response.headers["Allow"]


def test_a_page_of_another_site_is_refused_and_one_of_ours_is_not(agent: Agent) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for origin, status in (
        ("http://evil.example", 403),
        ("null", 403),
        ("http://localhost", 200),
        ("https://localhost", 200),
    ):
        assert agent.post(body, headers={"Origin": origin}).status_code == status, origin


def test_other_formats_are_refused(agent: Agent) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for accept, status in (
        ("application/json, text/event-stream", 200),
        ("*/*", 200),
        ("application/json", 200),
        ("text/event-stream", 406),
    ):
        assert agent.post(body, headers={"Accept": accept}).status_code == status, accept
    assert agent.post(body, headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_body_over_the_limit_is_refused() -> None:
    with web(fake_clients(), body_max_bytes=2048) as site:
        response = running(site).post(b" " * 4096)
        assert (response.status_code, response.get_json()["code"]) == (413, "body_too_large")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
METHODS = st.sampled_from(["tools/call", "tools/list", "initialize", "server/discover", "ping"])
ENVELOPES = st.fixed_dictionaries({f"{KEY}protocolVersion": JSON | st.just(NEW)})
ARGUMENTS = st.dictionaries(
    st.sampled_from(["query", "scope", "limit", "cursor", "content", "key", "namespace", "text"])
    | st.sampled_from(["percent", "summary", "next_step"]),
    JSON,
    max_size=5,
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={"_meta": JSON | ENVELOPES, "name": st.sampled_from(TOOLS) | JSON, "arguments": JSON}
    | {"cursor": JSON, "protocolVersion": JSON},
) | st.fixed_dictionaries({"name": st.sampled_from(TOOLS), "arguments": ARGUMENTS})
BODIES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0")},
    optional={"id": JSON | st.just(1), "method": METHODS | JSON, "params": PARAMS | JSON},
)


def test_whatever_is_sent_the_answer_can_be_read_and_is_no_fault_of_ours() -> None:
    with web(fake_clients()) as site:
        agent = running(site)
        seen: set[int] = set()

        @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
        @given(BODIES | JSON, st.sampled_from([{}, {"MCP-Protocol-Version": NEW}, HEADERS]))
        def send(body: Any, headers: dict[str, str]) -> None:
            response = agent.post(json.dumps(body).encode(), headers=headers)
            seen.add(response.status_code)
            assert response.status_code in (200, 202, 400, 404), response.text
            if response.status_code == 202:
                assert response.data == b""
                return
            told = json.loads(response.text, parse_constant=pytest.fail)
            assert told["jsonrpc"] == "2.0" and ("result" in told) != ("error" in told)
            if "result" in told and isinstance(body, dict):
                assert told["id"] == body["id"]

        send()
        assert {200, 202, 400} <= seen, "too tame"


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=4))
def test_every_tools_schema_refuses_what_its_model_refuses(given_: dict[str, Any]) -> None:
    """The schema that agents see names every field that the model takes, and no other."""
    for tool in tools.TOOLS.values():
        shown = tool.shown()["inputSchema"]
        assert shown["additionalProperties"] is False
        assert set(shown["properties"]) == set(tool.takes.model_fields)
        unknown = set(given_) - set(shown["properties"])
        if unknown:
            with pytest.raises(ValueError, match="Extra inputs"):
                tool.takes.model_validate({**given_})
