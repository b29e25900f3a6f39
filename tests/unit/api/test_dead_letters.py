"""The routes of dead letters: listed by filter, replayed once, in a run, discarded."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.core import sessions
from tests.unit.api.test_routes import asked
from tests.unit.api.web import Web, fake_clients, web
from workers import replaying

BASE = "/admin/dead-letters"


@pytest.fixture
def site() -> Iterator[Web]:
    with web(fake_clients()) as made:
        for name in ("w1", "w2"):
            made.workspace(name)
        yield made


def dead(site: Web, workspace_id: str, text: str = "hello") -> str:
    turn_id = site.send(workspace_id, text, metadata={"redeliver": "never"})
    session = site.bound(workspace_id).session
    here = (site.platform, workspace_id, session.id, session.fence)
    sessions.release(*here, "lost", "as told", counts=True)
    return turn_id


def listed(site: Web, query: str = "") -> list[str]:
    found = asked(site, "GET", f"{BASE}{query}")
    assert found["total"] == len(found["dead_letters"])
    return [row["id"] for row in found["dead_letters"]]


def test_dead_letters_are_listed_by_workspace_reason_origin_and_age(site: Web) -> None:
    first, second = dead(site, "w1"), dead(site, "w2")
    assert listed(site) == [first, second]
    assert listed(site, "?workspace_id=w2") == [second]
    assert listed(site, "?reason=idle_timeout") == []
    assert listed(site, "?reason=lost&origin=chat&newer_than_s=3600") == [first, second]
    assert listed(site, "?older_than_s=3600") == []
    assert site.ask("GET", f"{BASE}?workspace_id=nowhere").status_code == 404


def test_a_letter_is_replayed_once_unless_again_is_said(site: Web) -> None:
    path = f"/workspaces/w1/turns/{dead(site, 'w1')}/replay"
    first = asked(site, "POST", path)
    assert asked(site, "POST", path, {})["id"] == first["id"]
    assert asked(site, "POST", path, {"again": True})["id"] != first["id"]
    assert listed(site) == []


def test_a_run_is_planned_begun_shown_and_canceled(site: Web) -> None:
    for name in ("w1", "w1", "w2"):
        dead(site, name)
    site.platform.clock.wait(site.platform.stopping, 0.002)  # younger letters are not meant
    plan = asked(site, "POST", f"{BASE}/replay", {"dry_run": True, "workspace_id": "w1"})
    assert (plan["state"], plan["total"], plan["letters"]["workspace_id"]) == ("planned", 2, "w1")
    assert asked(site, "GET", f"{BASE}/replays")["runs"] == []
    run = asked(site, "POST", f"{BASE}/replay", {"at_once": 2, "stop_after": 1})
    assert (run["state"], run["total"], run["settled"]) == ("running", 3, 0)
    replaying.step_all(site.platform)
    shown = asked(site, "GET", f"{BASE}/replays/{run['id']}")
    assert len(shown["under_way"]) == 2
    done = asked(site, "POST", f"{BASE}/replays/{run['id']}/cancel", {"reason": "enough"})
    assert (done["state"], done["reason"]) == ("canceled", "canceled by an operator: enough")
    assert [row["id"] for row in asked(site, "GET", f"{BASE}/replays")["runs"]] == [run["id"]]
    assert site.ask("GET", f"{BASE}/replays/rpl_none").status_code == 404


def test_letters_are_discarded_one_or_many_and_counted(site: Web) -> None:
    one, others = dead(site, "w1"), [dead(site, "w2") for _ in range(3)]
    path = f"/workspaces/w1/turns/{one}/discard"
    for _ in range(2):
        assert asked(site, "POST", path, {"reason": "known"})["discarded_at"]
    planned = asked(site, "POST", f"{BASE}/discard", {"dry_run": True})
    assert planned == {"discarded": 3, "left": 0, "dry_run": True}
    assert listed(site) == others
    done = asked(site, "POST", f"{BASE}/discard", {"limit": 2, "discard_reason": "known"})
    assert done == {"discarded": 2, "left": 1, "dry_run": False}
    assert listed(site) == others[2:]
    assert "turnkeeper_dead_letters 1.0" in site.ask("GET", "/metrics").text


@pytest.mark.parametrize(
    "body",
    [{"at_once": 0}, {"at_once": 101}, {"stop_after": 0}, {"older_than_s": -1}, {"resaon": "x"}],
)
def test_bad_input_is_refused_and_begins_nothing(site: Web, body: dict[str, Any]) -> None:
    assert site.ask("POST", f"{BASE}/replay", body).status_code == 422
    assert asked(site, "GET", f"{BASE}/replays")["runs"] == []
