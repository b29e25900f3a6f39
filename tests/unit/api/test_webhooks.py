"""The routes of webhooks: secrets shown once, bad input refused, tests, deliveries, replays."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import standardwebhooks

from app.core import events, lines
from app.core.lines import Attempt, Settlement, Taken
from tests.support import receiver as receivers
from tests.support.receiver import receiver, status
from tests.unit.api.web import Web, fake_clients, web

PATH = "/admin/webhooks"


@pytest.fixture
def site() -> Iterator[Web]:
    with web(fake_clients(), egress_allow="127.0.0.0/8") as made:
        made.workspace("w1")
        yield made


def made(site: Web, url: str = "https://hooks.example/x", **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = site.ok("POST", PATH, {"url": url, **fields})
    return answer


def given_up(site: Web, webhook_id: str, outcome: str = "dead") -> str:
    """An event that was tried once and came to this outcome."""
    event_id = events.append(site.platform, "w1", "ACTIVITY_LOGGED", {"text": "x"})
    taken = lines.take(site.platform, "w1", webhook_id, "t", 5)
    assert isinstance(taken, Taken)
    attempt = Attempt(outcome, 1, "https://hooks.example", "ACTIVITY_LOGGED", 500, 12, "refused")
    lines.settle(site.platform, "w1", webhook_id, "t", Settlement(event_id, outcome, attempt))
    return event_id


def test_the_secret_is_shown_once_and_again_when_it_is_rotated(site: Web) -> None:
    one = made(site)
    assert one["secret"].startswith("whsec_")
    for path in (PATH, f"{PATH}/{one['id']}"):
        assert one["secret"] not in site.ask("GET", path).text
    new = site.ok("POST", f"{PATH}/{one['id']}/rotate", {})["secret"]
    assert new != one["secret"]
    assert new not in site.ask("PATCH", f"{PATH}/{one['id']}", {"description": "d"}).text


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "ftp://x/"}, "url_refused"),
        ({"url": "http://u:p@x/"}, "url_refused"),
        ({"url": "https://x/", "events": ["NO_SUCH"]}, "invalid_input"),
        ({"url": "https://x/", "workspaces": ["a b"]}, "invalid_input"),
        ({"url": "https://x/", "workspaces": []}, "invalid_input"),
        ({"url": "https://x/", "secret": "mine"}, "invalid_input"),
        ({}, "invalid_input"),
    ],
)
def test_bad_input_is_refused_by_its_code(site: Web, body: dict[str, Any], code: str) -> None:
    response = site.ask("POST", PATH, body)
    assert (response.status_code, response.get_json()["code"]) == (422, code)
    assert "u:p" not in response.text


def test_a_webhook_is_changed_disabled_enabled_and_removed(site: Web) -> None:
    one = f"{PATH}/{made(site)['id']}"
    row = site.ok("PATCH", one, {"enabled": False})
    assert (row["enabled"], row["disabled_reason"]) == (False, "disabled by the operator")
    row = site.ok("PATCH", one, {"enabled": True, "events": ["AGENT_MESSAGE"]})
    assert (row["enabled"], row["disabled_reason"], row["events"]) == (
        True,
        None,
        ["AGENT_MESSAGE"],
    )
    site.ok("DELETE", one)
    assert site.ask("GET", one).status_code == 404
    assert site.ask("PATCH", one, {"enabled": True}).status_code == 404
    assert site.ok("GET", PATH)["webhooks"] == []


def test_a_test_event_is_sent_signed_and_its_answer_told(site: Web) -> None:
    with receiver(status(202), status(500)) as told:
        one = made(site, told.url)
        path = f"{PATH}/{one['id']}/test"
        assert site.ok("POST", path, {})["outcome"] == "acked"
        got = told.got[0]
        body = standardwebhooks.Webhook(one["secret"]).verify(got.body, got.headers)
        assert body["event"] == "WEBHOOK_TEST"
        answer = site.ok("POST", path, {})
        assert (answer["outcome"], answer["status"]) == ("failed", 500)


def test_a_test_event_without_an_answer_ends_with_the_time_of_a_delivery() -> None:
    settings: dict[str, Any] = {"egress_allow": "127.0.0.0/8", "webhook_timeout_s": 0.5}
    with web(fake_clients(), **settings) as site, receiver(receivers.hang) as told:
        slow = site.ok("POST", f"{PATH}/{made(site, told.url)['id']}/test", {})
        assert slow["code"] in ("answer_too_slow", "read_timeout")
        assert slow["duration_s"] < 8, "the default is 15 s, the receiver hangs 30"


def test_a_test_of_an_address_that_is_not_public_is_refused() -> None:
    with web(fake_clients()) as site, receiver() as told:
        one = made(site, told.url)
        answer = site.ok("POST", f"{PATH}/{one['id']}/test", {})
        assert answer["code"] == "address_refused"
        assert told.got == []


def test_deliveries_are_listed_by_outcome(site: Web) -> None:
    one = made(site)["id"]
    given_up(site, one, "acked")
    event_id = given_up(site, one)
    rows = site.ok("GET", f"{PATH}/{one}/deliveries")["deliveries"]
    assert [row["outcome"] for row in rows] == ["dead", "acked"]
    [dead] = site.ok("GET", f"{PATH}/{one}/deliveries?outcome=dead&workspace_id=w1")["deliveries"]
    assert (dead["event_id"], dead["status"], dead["duration_s"]) == (event_id, 500, 0.012)
    assert site.ask("GET", f"{PATH}/{one}/deliveries?outcome=other").status_code == 422


def test_what_was_given_up_is_replayed_and_one_event_on_request(site: Web) -> None:
    one = made(site)["id"]
    dead, good = given_up(site, one), given_up(site, one, "acked")
    answer = site.ok("POST", f"{PATH}/{one}/replay", {})
    assert answer == {"replayed": 1, "not_kept": 0}
    site.ok("POST", f"{PATH}/{one}/replay", {"workspace_id": "w1", "event_id": good})
    [found] = lines.standing(site.platform, ["w1"])
    assert set(found.lines) == {one, f"{one}|{dead}", f"{one}|{good}"}
    missing = {"workspace_id": "w1", "event_id": "1-0"}
    assert site.ask("POST", f"{PATH}/{one}/replay", missing).status_code == 404
    assert site.ask("POST", f"{PATH}/{one}/replay", {"event_id": good}).status_code == 422
    site.ok("PATCH", f"{PATH}/{one}", {"enabled": False})
    assert site.ask("POST", f"{PATH}/{one}/replay", {}).status_code == 422


def test_what_was_delivered_since_is_not_replayed(site: Web) -> None:
    one = made(site)["id"]
    event_id = given_up(site, one)
    single = f"{one}|{event_id}"
    lines.open_one(site.platform, "w1", single, event_id, event_id)
    lines.take(site.platform, "w1", single, "t", 5)
    attempt = Attempt("acked", 2, "https://hooks.example", "ACTIVITY_LOGGED", 200)
    lines.settle(site.platform, "w1", single, "t", Settlement(event_id, "acked", attempt))
    assert site.ok("POST", f"{PATH}/{one}/replay", {})["replayed"] == 0


def test_deliveries_and_what_is_owed_are_metrics(site: Web) -> None:
    one = made(site)["id"]
    given_up(site, one, "acked")
    events.append(site.platform, "w1", "ACTIVITY_LOGGED", {"text": "owed"})
    text = site.ask("GET", "/metrics").text
    assert 'turnkeeper_webhook_deliveries_total{outcome="acked"} 1.0' in text
    assert "turnkeeper_webhook_lines_owing 1.0" in text
    assert "turnkeeper_webhook_oldest_owed_seconds" in text


def test_no_secret_is_in_what_a_webhook_says_of_itself(site: Web) -> None:
    from app.core import webhooks

    one = made(site)
    [found] = webhooks.listing(site.platform)
    assert one["secret"] not in repr(found)
    assert json.loads(site.ask("GET", PATH).text)["webhooks"][0].keys() >= {"id", "url"}
