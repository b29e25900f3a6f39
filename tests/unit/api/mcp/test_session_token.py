"""Who may call the tools: a session by its own token, a runtime for the session it names."""

import json
import logging

import pytest

from app.core import keys
from tests.unit.api.mcp.calls import Agent, running
from tests.unit.api.test_access import closed, status
from tests.unit.api.web import ADMIN, Web


@pytest.fixture
def agent(site: Web) -> Agent:
    return running(site)


def test_a_sessions_token_opens_its_tools_and_no_other_route(fake: Web) -> None:
    agent = running(fake)
    for one in closed(fake):
        given = status(fake, one, agent.token)
        expected = given != 403 if one.path.endswith("/mcp") else given == 403
        assert expected, (str(one), given)


def test_a_sessions_token_reaches_no_other_workspace(agent: Agent) -> None:
    agent.site.workspace("w2")
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert agent.post(body, workspace_id="w2").status_code == 403
    assert agent.post(body, workspace_id="nowhere").status_code == 403
    stolen = agent.token.removesuffix(".w1") + ".w2"
    there = Agent(agent.site, agent.claim, stolen, workspace_id="w2")
    assert there.post(body).status_code == 401


def test_a_sessions_token_acts_for_no_other_session(agent: Agent) -> None:
    other = running(agent.site, "w2")
    for named in (other.claim.session.id, "ses_unknown"):
        told = agent.request("tools/list", Turnkeeper_Session=named)
        assert told.status_code in (200, 403)
        params = {"name": "report_progress", "arguments": {"text": "x"}}
        assert agent.request("tools/call", params, Turnkeeper_Session=named).status_code == 403
    params = {"name": "get_policy"}
    own = agent.request("tools/call", params, Turnkeeper_Session=agent.claim.session.id)
    assert own.status_code == 200


@pytest.mark.parametrize("end", ["finish", "release", "end", "removed"])
def test_a_sessions_token_dies_with_its_session(agent: Agent, end: str) -> None:
    session = agent.claim.session
    path = f"/workspaces/w1/sessions/{session.id}"
    assert agent.request("tools/list").status_code == 200
    if end == "end":
        agent.site.ok("POST", f"{path}/end", {"reason": "enough"})
    elif end == "removed":
        agent.site.ok("POST", f"{path}/end", {"reason": "enough"})
        agent.site.ok("DELETE", "/workspaces/w1")
    else:
        agent.site.ok("POST", f"{path}/{end}", {"fence": session.fence})
    for _ in range(2):
        assert agent.request("tools/list").status_code == 401
        assert agent.request("tools/call", {"name": "get_policy"}).status_code == 401


def test_a_sessions_token_stands_nowhere_in_the_clear(
    fake: Web, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    agent = running(fake)
    agent.call("commit_memory", content="x")
    agent.call("report_progress", is_error=True)
    secret = agent.token.split(".")[2]
    told = [caplog.text, fake.ask("GET", "/workspaces/w1/events?limit=500").text]
    told += [fake.ask("GET", f"/workspaces/w1/sessions/{agent.claim.session.id}").text]
    told += [fake.ask("GET", "/admin/tokens").text, fake.ask("GET", "/admin/export").text]
    data = fake.platform.clients.data
    stored = json.dumps(
        [data.hgetall(key) for key in data.keys("tk:*") if data.type(key) == "hash"]
    )
    assert agent.claim.session.id in stored
    assert secret not in "\n".join([*told, stored])
    assert "tokens" not in fake.ok("GET", f"/workspaces/w1/sessions/{agent.claim.session.id}")
    assert data.hlen(keys.TOKENS) == 0, "it is no token that an operator must list or revoke"


def test_a_runtimes_token_acts_for_the_session_that_it_names(agent: Agent) -> None:
    session = agent.claim.session
    agent.token = agent.site.token("runtime", workspaces=("w1",))
    params = {"name": "report_progress", "arguments": {"text": "x"}}
    told = agent.request("tools/call", params, Turnkeeper_Session=session.id)
    assert not told.get_json()["result"]["isError"]
    unknown = agent.request("tools/call", params, Turnkeeper_Session="ses_unknown")
    assert unknown.status_code == 404
    refused = agent.call("report_progress", is_error=True, text="x")
    assert refused["error"]["code"] == "session_not_found"
    assert agent.call("commit_memory", content="of the workspace")["is_new"]
    assert agent.call("get_policy")["policy_version"]


def test_who_may_only_read_or_send_has_no_tools(agent: Agent) -> None:
    for scopes in (("read",), ("send",), ("operate",), ("read", "send", "operate")):
        agent.token = agent.site.token(*scopes)
        assert agent.request("tools/list").status_code == 403, scopes
    agent.token = ADMIN
    assert agent.request("tools/list").status_code == 200
