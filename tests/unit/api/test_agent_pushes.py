"""Who may push about a session, and what that does: nothing but have it looked at."""

import json
import logging
from typing import Any

import pytest

from app.core import agent_pushes, agents, keys, sessions
from app.core.agent_pushes import Invitation
from tests.unit.api.test_access import closed, status
from tests.unit.api.web import Web, fake_clients, web

PUBLIC = {"public_url": "https://here.example/x/"}


def pushing(site: Web, workspace_id: str = "w1") -> tuple[sessions.Claim, Invitation]:
    """A session whose agent was told where to push."""
    site.workspace(workspace_id)
    site.send(workspace_id)
    site.ok("POST", f"/workspaces/{workspace_id}/heartbeat", {"active_tasks": 0})
    claim = sessions.claim(site.platform, workspace_id)
    assert isinstance(claim, sessions.Claim), claim
    invited = agent_pushes.invite(site.platform, workspace_id, claim.session.id)
    assert invited is not None
    here = (site.platform, workspace_id, claim.session.id, "t", 5, True)
    agents.hold(*here, invited.digest)
    return claim, invited


def push(
    site: Web, session_id: str, secret: str | None, workspace_id: str = "w1", body: Any = None
) -> int:
    headers = {} if secret is None else {"X-A2A-Notification-Token": secret}
    path = f"/workspaces/{workspace_id}/a2a/push/{session_id}"
    return site.ask("POST", path, body, token=None, headers=headers).status_code


@pytest.fixture
def told() -> Any:
    with web(fake_clients(), **PUBLIC) as site:
        yield site


def test_a_push_by_its_token_wakes_a_worker_and_moves_the_count(told: Web) -> None:
    claim, invited = pushing(told)
    session_id, control = claim.session.id, told.platform.clients.control
    assert invited.url == f"https://here.example/x/workspaces/w1/a2a/push/{session_id}"
    control.delete(keys.AGENTS_WAKE)
    assert push(told, session_id, invited.secret, body={"task": {"id": "t"}}) == 204
    assert push(told, session_id, invited.secret, body=b"no JSON") == 204
    assert sessions.get(told.platform, "w1", session_id).pushes == 2
    assert control.lrange(keys.AGENTS_WAKE, 0, -1) == ["w1", "w1"]
    assert agents.due(told.platform, 10, 5) == ["w1"]


def test_without_its_token_nothing_moves(told: Web) -> None:
    claim, invited = pushing(told)
    _, other = pushing(told, "w2")
    session_id, control = claim.session.id, told.platform.clients.control
    control.delete(keys.AGENTS_WAKE)
    for secret in (None, "", "nonsense", "ä", invited.digest, other.secret):
        assert push(told, session_id, secret) == 401, secret
    assert push(told, "ses_unknown", invited.secret) == 404
    assert push(told, session_id, invited.secret, "w2") == 404
    assert push(told, session_id, invited.secret, "nowhere") == 404
    assert sessions.get(told.platform, "w1", session_id).pushes == 0
    assert not control.exists(keys.AGENTS_WAKE)


def test_a_session_that_was_told_of_no_token_takes_none(told: Web) -> None:
    told.workspace("w1")
    told.send("w1")
    claim = told.bound("w1")
    for secret in (None, "", "x"):
        assert push(told, claim.session.id, secret) == 401


def test_after_its_end_a_session_wants_no_more_pushes(told: Web) -> None:
    claim, invited = pushing(told)
    session = claim.session
    told.ok("POST", f"/workspaces/w1/sessions/{session.id}/end", {"reason": "enough"})
    assert push(told, session.id, invited.secret) == 410
    assert push(told, session.id, "nonsense") == 401


def test_the_token_opens_no_route(told: Web) -> None:
    _, invited = pushing(told)
    for one in closed(told):
        assert status(told, one, invited.secret) == 401, str(one)


def test_a_body_beyond_the_limit_is_refused_and_was_a_hint(told: Web) -> None:
    claim, invited = pushing(told)
    body = b"x" * (told.platform.settings.body_max_bytes + 1)
    assert push(told, claim.session.id, "nonsense", body=body) == 401
    assert push(told, claim.session.id, invited.secret, body=body) == 413
    assert sessions.get(told.platform, "w1", claim.session.id).pushes == 1


def test_one_sessions_pushes_are_counted_as_an_agents_reports() -> None:
    with web(fake_clients(), agent_rate_limit_per_min=3, **PUBLIC) as site:
        claim, invited = pushing(site)
        other, its = pushing(site, "w2")
        given = [push(site, claim.session.id, invited.secret) for _ in range(5)]
        assert given == [204, 204, 204, 429, 429]
        assert push(site, other.session.id, its.secret, "w2") == 204


def test_the_secret_stands_nowhere_in_the_clear(
    told: Web, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    claim, invited = pushing(told)
    push(told, claim.session.id, invited.secret)
    path = f"/workspaces/w1/sessions/{claim.session.id}"
    shown = [caplog.text, repr(invited), told.ask("GET", path).text]
    shown += [told.ask("GET", "/workspaces/w1/events?limit=500").text]
    assert invited.digest not in "\n".join(shown)
    data = told.platform.clients.data
    stored = [data.hgetall(key) for key in data.keys("tk:*") if data.type(key) == "hash"]
    assert claim.session.id in json.dumps(stored)
    assert invited.secret not in "\n".join([*shown, json.dumps(stored)])
