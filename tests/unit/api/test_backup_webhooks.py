"""Webhooks in a backup: out without secrets, in disabled with a new one, and twice is once."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.core import lines, webhooks
from tests.unit.api.web import Web, fake_clients, web

PATH = "/admin/webhooks"
URL = "https://hooks.example/x?key=1"


@pytest.fixture
def site() -> Iterator[Web]:
    with web(fake_clients()) as made:
        made.workspace("w1")
        yield made


@pytest.fixture
def other() -> Iterator[Web]:
    """Another, empty platform."""
    with web(fake_clients()) as made:
        yield made


def made(site: Web, **fields: Any) -> Any:
    return site.ok("POST", PATH, {"url": URL, **fields})


def taken(site: Web, document: Any, is_dry: bool = False) -> list[tuple[str, list[str]]]:
    rows = site.ok("POST", f"/admin/import?dry_run={str(is_dry).lower()}", document)["items"]
    return [(row["outcome"], row["changed"]) for row in rows if row["kind"] == "webhook"]


def with_one(site: Web, **change: Any) -> Any:
    document = site.ok("GET", "/admin/export")
    document["webhooks"][0] |= change
    return document


def test_a_webhook_goes_out_without_its_secrets(site: Web) -> None:
    one = made(site, events=["SESSION_ENDED"], workspaces=["w1"], description="chat")
    new = site.ok("POST", f"{PATH}/{one['id']}/rotate", {})["secret"]
    text = site.ask("GET", "/admin/export").text
    assert one["secret"] not in text and new not in text and "whsec" not in text
    assert site.ok("GET", "/admin/export")["webhooks"] == [
        {
            "id": one["id"],
            "url": URL,
            "events": ["SESSION_ENDED"],
            "workspaces": ["w1"],
            "description": "chat",
            "format": "event",
        }
    ]


def test_it_comes_in_disabled_with_a_secret_of_its_own_and_owes_nothing(
    site: Web, other: Web
) -> None:
    one = made(site)
    document = site.ok("GET", "/admin/export")
    assert taken(other, document, is_dry=True) == [("created", [])]
    assert other.ok("GET", PATH)["webhooks"] == []
    assert taken(other, document) == [("created", [])]
    shown = other.ok("GET", f"{PATH}/{one['id']}")
    assert shown["enabled"] is False and "rotate" in shown["disabled_reason"]
    assert webhooks.get(other.platform, one["id"]).secret != one["secret"]
    (standing,) = lines.standing(other.platform, ["w1"])
    assert standing.lines == {}
    again = other.ok("GET", "/admin/export")
    assert {**again, "exported_at": ""} == {**document, "exported_at": ""}
    assert taken(other, document) == [("unchanged", [])]
    other.ok("PATCH", f"{PATH}/{one['id']}", {"enabled": True})
    assert taken(other, document) == [("unchanged", [])]
    assert other.ok("GET", f"{PATH}/{one['id']}")["enabled"] is True, "what runs goes on"
    (standing,) = lines.standing(other.platform, ["w1"])
    assert standing.lines[one["id"]].is_open


def test_over_one_that_is_there_only_what_differs_is_changed(site: Web) -> None:
    one = made(site, events=["SESSION_ENDED"])
    document = with_one(site, url="https://hooks.example/y", events=["*"])
    assert taken(site, document, is_dry=True) == [("updated", ["events", "url"])]
    assert taken(site, document) == [("updated", ["events", "url"])]
    found = webhooks.get(site.platform, one["id"])
    assert (found.url, found.events) == ("https://hooks.example/y", ("*",))
    assert (found.secret, found.enabled) == (one["secret"], True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "https://me:s3cret@hooks.example/"}, "url"),
        ({"events": ["NO_SUCH"]}, "events"),
        ({"workspaces": []}, "workspaces"),
        ({"secret": "whsec_x"}, "secret"),
        ({"id": "a:b"}, "id"),
    ],
)
def test_a_bad_one_is_named_and_nothing_is_applied(
    site: Web, other: Web, change: dict[str, Any], field: str
) -> None:
    made(site)
    answer = other.ask("POST", "/admin/import", with_one(site, **change))
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == f"webhooks.0.{field}"
    assert other.ok("GET", "/workspaces")["workspaces"] == []
