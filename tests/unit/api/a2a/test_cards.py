"""Agent cards: two forms by the client's version, two addresses, and what caches may know."""

from collections.abc import Iterator
from typing import Any

import pytest
from a2a.compat.v0_3 import types
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from tests.unit.api.a2a.calls import result
from tests.unit.api.web import Web, fake_clients, web

CARD = "/workspaces/w1/.well-known/agent-card.json"
BESIDE = "/workspaces/w1/a2a/.well-known/agent-card.json"
NEW = {"A2A-Version": "1.0"}


@pytest.fixture
def site() -> Iterator[Web]:
    with web(fake_clients()) as made:
        made.workspace("w1")
        yield made


def card(site: Web, path: str = CARD, **headers: str) -> Any:
    response = site.ask("GET", path, headers=headers)
    assert response.status_code == 200, response.text
    return response.get_json()


def test_both_addresses_show_one_card_with_and_without_a_slash(site: Web) -> None:
    assert card(site) == card(site, BESIDE) == card(site, CARD + "/")


def test_a_client_of_1_0_gets_nothing_but_1_0(site: Web) -> None:
    shown = card(site, **NEW)
    ParseDict(shown, pb.AgentCard())  # which refuses what it does not know
    assert [one["protocolBinding"] for one in shown["supportedInterfaces"]] == [
        *("JSONRPC", "HTTP+JSON", "JSONRPC")
    ]
    assert shown["defaultInputModes"] == ["*/*"]
    assert result(site, "GetExtendedAgentCard", {}) == shown


def test_a_client_that_names_no_version_gets_a_card_that_both_read(site: Web) -> None:
    shown = card(site)
    ParseDict(shown, pb.AgentCard(), ignore_unknown_fields=True)
    old = types.AgentCard.model_validate(shown)
    assert (old.protocol_version, old.url) == ("0.3.0", shown["supportedInterfaces"][0]["url"])
    assert old.security == [{"bearer": []}]


def test_a_workspace_may_leave_the_old_form_out(site: Web) -> None:
    site.ok("PATCH", "/workspaces/w1", {"legacy_card": False})
    assert site.ok("GET", "/workspaces/w1")["legacy_card"] is False
    assert card(site) == card(site, **NEW)
    site.ok("PATCH", "/workspaces/w1", {"legacy_card": None})
    assert "protocolVersion" in card(site)


def test_what_the_agent_said_of_itself_is_shown_and_its_addresses_are_not(site: Web) -> None:
    said = {
        "name": "Painter",
        "description": "Paints",
        "version": "9.1",
        "url": "http://inner.example/",
        "skills": [{"id": "p", "name": "paint", "tags": ["art"]}, {"id": 7}, "x"],
    }
    site.ok("POST", "/registry/register", {"id": "w1", "agent_card": said})
    shown = card(site, **NEW)
    assert (shown["name"], shown["version"]) == ("Painter", "9.1")
    assert shown["skills"] == [
        {"id": "p", "name": "paint", "description": "paint", "tags": ["art"]}
    ]
    assert "inner.example" not in str(shown)


@pytest.mark.parametrize("said", [[], 7, {"skills": "x"}, {"skills": [[]]}, {"name": []}])
def test_an_odd_card_of_an_agent_breaks_none_of_ours(site: Web, said: Any) -> None:
    import json

    key = "tk:{w1}:workspace"
    site.platform.clients.data.hset(key, "agent_card", json.dumps(said))
    assert card(site, **NEW)["name"]


def test_caches_are_told_when_it_changes(site: Web) -> None:
    first = site.ask("GET", CARD)
    assert "max-age=60" in first.headers["Cache-Control"]
    assert "A2A-Version" in first.headers["Vary"]
    assert first.headers["Last-Modified"].endswith("GMT")
    again = site.ask("GET", CARD, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    site.ok("PATCH", "/workspaces/w1", {"name": "another"})
    changed = site.ask("GET", CARD, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200


def test_cards_are_closed_unless_the_setting_opens_them() -> None:
    with web(fake_clients()) as site:
        site.workspace("w1")
        assert site.ask("GET", CARD, token=None).status_code == 401
    with web(fake_clients(), public_cards=True, public_url="https://agents.example/x/") as site:
        site.workspace("w1")
        response = site.ask("GET", CARD, token=None)
        assert response.get_json()["url"] == "https://agents.example/x/workspaces/w1/a2a"
        assert "public" in response.headers["Cache-Control"]
        assert site.ask("GET", "/workspaces/w1", token=None).status_code == 401
