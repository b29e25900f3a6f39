"""Who may do what: every operation of the OpenAPI document with every scope, in the token's own
workspace, a foreign one, one of its team, and without a token.

The rules are read from the document, so a new route is tested by being there. What the document
may say at all is ruled below (``test_the_document_keeps_to_the_rules``): a route that is open to
everybody, or changes something under ``read``, needs a line here.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.core import session_tokens, tokens
from app.core.admission import Pace
from tests.unit.api.web import Web, fake_clients, web

SCOPES = tokens.SCOPES
PUBLIC = {
    *("GET /healthz", "GET /readyz", "GET /openapi.json"),
    "POST /workspaces/{workspace_id}/a2a/push/{session_id}",  # by a token of its own, in a header
}
# Not in the document, for they are for a person; refusals there are pages.
PAGES = {
    **dict.fromkeys(("/", "/login", "/logout", "/static/<path:name>"), "public"),
    **dict.fromkeys(("/w/<workspace_id>", "/w/<workspace_id>/<tab>"), "read"),
    **dict.fromkeys(("/settings", "/health"), "admin"),
}
# A login carries no more than the token it comes from, so who may read may have one.
CHANGES_UNDER_READ = {"POST /admin/login-links"}
# A scaler holds a token of its own and is to change nothing with it: read, in all workspaces.
READ_EVERYWHERE = {"GET /admin/scale"}
ANYWHERE = {
    *("GET /workspaces", "GET /events/stream", "GET /cron/explain", "POST /admin/login-links"),
    *("GET /admin/schedules/health", "POST /registry/register", "POST /registry/heartbeat"),
    *("POST /registry/update-card", "GET /ws", "GET /fleet"),
}
# Under /admin, for they are about many workspaces; an operator of all of them needs no more.
OPERATED = "/admin/dead-letters"


@dataclass(frozen=True)
class Operation:
    """One operation as the document tells of it."""

    method: str
    path: str
    told: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def scopes(self) -> list[str]:
        """A token with any of these may call it."""
        return str(self.told["x-scope"]).split(" or ")

    @property
    def names_one(self) -> bool:
        """Whether it is about one workspace, by its path or by its body."""
        return self.told["x-reach"] == "workspace" or self.path.startswith("/registry")

    def lets(self, scope: str) -> bool:
        """Whether a token of this scope alone may call it, where it reaches."""
        implied = {"admin": set(SCOPES), "operate": {"operate", "read"}}.get(scope, {scope})
        return bool(implied & set(self.scopes))


@pytest.fixture
def site() -> Iterator[Web]:
    """A web process whose polls do not wait; two workspaces, and one of a team."""
    with web(fake_clients(), poll_wait_max_s=0.001) as made:
        for name in ("w1", "w2"):
            made.workspace(name)
        made.ok("POST", "/workspaces", {"id": "w3", "team": "blue"})
        yield made


def document(site: Web) -> dict[str, Any]:
    told: dict[str, Any] = site.ok("GET", "/openapi.json", token=None)
    return told


def operations(site: Web) -> list[Operation]:
    return [
        Operation(method.upper(), path, told)
        for path, methods in sorted(document(site)["paths"].items())
        for method, told in methods.items()
    ]


def closed(site: Web) -> list[Operation]:
    """Those that need a token; removing a workspace would end the walk."""
    return [one for one in operations(site) if one.told["x-scope"] != "public"]


def walked(site: Web) -> list[Operation]:
    return [one for one in closed(site) if str(one) != "DELETE /workspaces/{workspace_id}"]


def routes(site: Web) -> set[str]:
    """Every route of the application as the document would name it, pages aside."""
    return {
        f"{method} {rule.rule.replace('<', '{').replace('>', '}')}"
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.endpoint.startswith("ui.")
    }


def status(site: Web, one: Operation, token: str | None, workspace_id: str = "w1") -> int:
    path = re.sub(r"\{(\w+)\}", r"\1", one.path.replace("{workspace_id}", workspace_id))
    body = {"id": workspace_id, "workspace_id": workspace_id} if "/registry" in path else None
    response = site.ask(one.method, path, body, token=token)
    response.close()
    return response.status_code


def missing(site: Web) -> set[str]:
    """Routes of which the document does not tell, or not who may call them."""
    told = {
        str(one)
        for one in operations(site)
        if one.told.get("x-scope") and (one.told["x-scope"] == "public" or one.told.get("x-reach"))
    }
    return routes(site) ^ told


def test_the_document_tells_of_every_route_and_who_may_call_it(site: Web) -> None:
    assert missing(site) == set()


def test_control_a_route_without_a_rule_is_found(site: Web) -> None:
    with web(site.platform.clients) as other:
        other.app.add_url_rule("/workspaces/<workspace_id>/secrets", "open", lambda **_: "open")
        assert missing(other) == {"GET /workspaces/{workspace_id}/secrets"}
        assert other.ask("GET", "/workspaces/w1/secrets").status_code == 403


def broken_rules(found: list[Operation]) -> set[str]:
    broken = set()
    for one in found:
        name, scopes = str(one), one.scopes
        if "public" in scopes:
            broken |= {f"{name}: public"} - {f"{it}: public" for it in PUBLIC}
            continue
        if set(scopes) - {*SCOPES, session_tokens.SCOPE}:
            broken.add(f"{name}: unknown scope")
        if one.method != "GET" and "read" in scopes and name not in CHANGES_UNDER_READ:
            broken.add(f"{name}: changes under read")
        if one.told["x-reach"] == "any" and name not in ANYWHERE:
            broken.add(f"{name}: any token")
        needed = ["operate"] if one.path.startswith(OPERATED) else ["admin"]
        needed = ["read"] if name in READ_EVERYWHERE else needed
        if one.path.startswith("/admin") and scopes != needed and name not in ANYWHERE:
            broken.add(f"{name}: not for administrators alone")
        if one.told["security"] != [{"bearer": [scope]} for scope in scopes]:
            broken.add(f"{name}: security is not x-scope")
        if one.told["x-pace"] not in list(Pace) or {"401", "403", "429"} - set(
            one.told["responses"]
        ):
            broken.add(f"{name}: refusals")
        if is_stream(one) != (one.told["x-pace"] == Pace.STREAM):
            broken.add(f"{name}: a stream is counted as one, and nothing else is")
        if session_tokens.SCOPE in scopes and one.told["x-pace"] != Pace.TOOL:
            broken.add(f"{name}: a tool's loop must stop nothing but tools")
    return broken


def is_stream(one: Operation) -> bool:
    answers = one.told["responses"]
    is_sse = any("text/event-stream" in told.get("content", {}) for told in answers.values())
    return "101" in answers or is_sse


def test_the_document_keeps_to_the_rules(site: Web) -> None:
    assert broken_rules(operations(site)) == set()


def test_control_a_rule_too_open_is_found(site: Web) -> None:
    row = {
        "x-scope": "read",
        "x-reach": "any",
        "x-pace": "request",
        "security": [],
        "responses": {},
    }
    found = broken_rules([Operation("POST", "/admin/x", row)])
    assert {text.partition(": ")[2] for text in found} == {
        *("changes under read", "any token", "not for administrators alone"),
        *("security is not x-scope", "refusals"),
    }
    assert broken_rules([Operation("GET", "/x", {"x-scope": "public"})]) == {"GET /x: public"}


def test_pages_are_as_they_are_listed_here(site: Web) -> None:
    found = {
        rule.rule: site.app.view_functions[rule.endpoint].scope  # type: ignore[attr-defined]
        for rule in site.app.url_map.iter_rules()
        if rule.endpoint.startswith("ui.")
    }
    assert found == PAGES
    for path in ("/", "/w/w1"):
        assert site.ask("GET", path, token=None).status_code == 401


def test_without_a_good_token_every_route_is_401(site: Web) -> None:
    for one in closed(site):
        for token in (None, "nonsense", "ä" * 43, " "):
            assert status(site, one, token) == 401, (str(one), token)


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_opens_its_own_routes_and_no_others(site: Web, scope: str) -> None:
    token = site.token(scope)
    for one in walked(site):
        given = status(site, one, token)
        assert (given not in (401, 403)) == one.lets(scope), (str(one), given)


def check_limited(site: Web, token: str, scope: str, own: str, foreign: tuple[str, ...]) -> None:
    for one in walked(site):
        if one.names_one:
            assert (status(site, one, token, own) != 403) == one.lets(scope), str(one)
            for other in foreign:
                assert status(site, one, token, other) == 403, (str(one), other)
        else:
            expected = one.lets(scope) and one.told["x-reach"] == "any"
            assert (status(site, one, token) != 403) == expected, str(one)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_of_one_workspace_reaches_no_other(site: Web, scope: str) -> None:
    token = site.token(scope, workspaces=("w1",))
    check_limited(site, token, scope, "w1", ("w2", "nobody"))


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_of_a_team_reaches_its_workspaces_and_no_other(site: Web, scope: str) -> None:
    body = {"name": "t", "scopes": [scope], "teams": ["blue"]}
    token = site.ok("POST", "/admin/tokens", body)["token"]
    check_limited(site, token, scope, "w3", ("w2", "nobody"))


def test_who_leaves_the_team_is_out_of_its_tokens_reach(site: Web) -> None:
    body = {"name": "t", "scopes": ["operate"], "teams": ["blue"]}
    token = site.ok("POST", "/admin/tokens", body)["token"]
    listed = site.ok("GET", "/workspaces", token=token)["workspaces"]
    assert [row["id"] for row in listed] == ["w3"]
    site.ok("PATCH", "/workspaces/w3", {"team": None})
    assert site.ask("GET", "/workspaces/w3", token=token).status_code == 403
    assert site.ok("GET", "/workspaces", token=token)["workspaces"] == []
    site.ok("PATCH", "/workspaces/w2", {"team": "blue"})
    assert site.ask("GET", "/workspaces/w2", token=token).status_code == 200


def test_a_teams_token_does_not_join_another_team(site: Web) -> None:
    site.ok("PATCH", "/workspaces/w2", {"team": "red"})
    body = {"name": "t", "scopes": ["operate"], "teams": ["blue"]}
    token = site.ok("POST", "/admin/tokens", body)["token"]
    path = "/workspaces/w3"
    assert site.ask("PATCH", path, {"team": "red"}, token=token).status_code == 403
    assert site.ask("PATCH", path, {"team": "blue"}, token=token).status_code == 200


def test_a_refusal_says_what_is_missing(site: Web) -> None:
    reader = site.token("read", workspaces=("w1",))
    owner = site.token("operate", workspaces=("w1",))

    def told(method: str, path: str, token: str) -> str:
        return str(site.ask(method, path, {}, token=token).get_json()["detail"])

    assert told("POST", "/workspaces", reader) == "this needs a token with scope operate"
    assert told("POST", "/workspaces", owner) == (
        "this needs scope operate in all workspaces; this token is limited to some of them"
    )
    assert told("GET", "/workspaces/w2", reader) == "this needs scope read in workspace w2"
    assert told("POST", "/registry/register", reader) == "this needs a token with scope runtime"


def test_an_owner_sees_what_he_changes(site: Web) -> None:
    owner = site.token("operate", workspaces=("w1",))
    assert site.ok("GET", "/workspaces/w1", token=owner)["id"] == "w1"
    assert site.ask("POST", "/workspaces/w1/a2a", {}, token=owner).status_code == 403
    for scope in ("send", "runtime"):
        other = site.token(scope, workspaces=("w1",))
        assert site.ask("GET", "/workspaces/w1", token=other).status_code == 403


def test_control_a_view_that_declares_no_scope_answers_nobody(site: Web) -> None:
    site.app.view_functions["health.healthz"] = lambda: "open"
    assert site.ask("GET", "/healthz").status_code == 403
    assert site.ask("GET", "/healthz", token=None).status_code == 401


def test_the_document_holds_nothing_of_this_installation(site: Web) -> None:
    text = json.dumps(document(site))
    for name in ("w1", "w2", "blue", site.platform.settings.admin_token.get_secret_value()):
        assert f'"{name}"' not in text
