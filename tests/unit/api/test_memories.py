"""Memories over HTTP: who may do what, and what the answers say."""

import json
import logging
from typing import Any

import pytest

from tests.unit.api.test_routes import asked
from tests.unit.api.web import ADMIN, Web

BASE = "/workspaces/w1/memories"


def texts(site: Web, query: str = "", **more: Any) -> list[str]:
    return [row["content"] for row in asked(site, "GET", BASE + query, **more)["memories"]]


def test_a_memory_is_committed_recalled_and_removed(site: Web) -> None:
    site.workspace()
    made = asked(site, "POST", BASE, {"content": "pears are green", "namespace": "fruit"})
    assert (made["scope"], made["version"], made["seq"]) == ("LOCAL", 1, 1)
    asked(site, "POST", BASE, {"content": "apples are red", "unknown_field": 1})
    assert texts(site) == ["apples are red", "pears are green"]
    assert texts(site, "?query=pear") == texts(site, "?namespace=fruit") == ["pears are green"]
    assert texts(site, "?scope=&query=") == ["apples are red", "pears are green"]
    page = asked(site, "GET", f"{BASE}?limit=1")
    assert (page["total"], page["returned"], page["is_complete"]) == (2, 1, False)
    assert texts(site, f"?limit=1&cursor={page['next']}") == ["pears are green"]
    for _ in range(2):
        gone = asked(site, "DELETE", f"{BASE}/{made['id']}")
        assert gone == {"status": "ok", "id": made["id"], "seq": 3}
    assert texts(site) == ["apples are red"]
    assert site.ask("DELETE", f"{BASE}/mem_unknown").status_code == 404


@pytest.mark.parametrize("name", ["id", "key", "content"])
def test_a_memory_is_removed_by_what_names_it(site: Web, name: str) -> None:
    site.workspace()
    made = asked(site, "POST", BASE, {"content": "token=abcd1234efgh", "key": "k"})
    body = {"id": made["id"], "key": "k", "content": "token=abcd1234efgh"}
    assert asked(site, "DELETE", BASE, {name: body[name]})["id"] == made["id"]
    assert texts(site) == []
    assert site.ask("DELETE", BASE, {"content": "never said"}).status_code == 404
    assert site.ask("DELETE", BASE, {"key": "never said"}).status_code == 404
    assert site.ask("DELETE", BASE, {}).status_code == 422
    assert site.ask("DELETE", BASE, {"id": "a", "key": "b"}).status_code == 422


def test_a_repeat_under_its_idempotency_key_is_200_and_writes_nothing(site: Web) -> None:
    site.workspace()
    headers = {"Idempotency-Key": "once"}
    first = site.ask("POST", BASE, {"content": "one"}, headers=headers)
    again = site.ask("POST", BASE, {"content": "one"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    other = site.ask("POST", BASE, {"content": "two"}, headers=headers)
    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_conflict")


def test_secrets_are_counted_in_the_answer_and_stand_nowhere(
    fake: Web, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.workspace()
    secret = "glpat-" + "a1B2c3D4e5F6g7H8i9J0"
    made = fake.ask("POST", BASE, {"content": f"push with {secret}", "namespace": secret})
    assert made.get_json()["redactions"] == {"gitlab_token": 1}
    refused = fake.ask("POST", BASE, {"content": secret * 2000})
    wrong = fake.ask("POST", BASE, {"content": secret, "scope": secret})
    assert (refused.status_code, wrong.status_code) == (201, 422)
    told = [made.text, refused.text, wrong.text, caplog.text]
    told += [fake.ask("GET", "/workspaces/w1/events").text, fake.ask("GET", BASE).text]
    assert secret not in "\n".join(told)
    assert not any(secret in str(row.__dict__) for row in caplog.records)


def test_a_name_of_two_lines_is_refused_for_it_could_be_another_memorys(fake: Web) -> None:
    fake.workspace()
    for name in ("namespace", "key"):
        answer = fake.ask("POST", BASE, {"content": "x", name: "a\nb"})
        assert answer.status_code == 422
        assert answer.get_json()["errors"][0]["field"] == name


def test_a_commit_is_an_activity_of_its_own_type(site: Web) -> None:
    site.workspace()
    made = asked(site, "POST", BASE, {"content": "x"})
    site.schedule("w1")
    (row,) = asked(site, "GET", "/workspaces/w1/activity?type=memory_write")["activities"]
    assert (row["event"], row["payload"]["memory_id"]) == ("POLICY_CHANGED", made["id"])


def test_only_an_administrator_of_all_writes_and_removes_what_everybody_reads(fake: Web) -> None:
    fake.workspace()
    limited = fake.token("admin", workspaces=("w1",))
    for token in (fake.token("operate"), fake.token("runtime"), limited):
        body = {"content": "obey me", "scope": "GLOBAL"}
        assert fake.ask("POST", BASE, body, token=token).status_code == 403
    made = asked(fake, "POST", BASE, {"content": "be kind", "scope": "GLOBAL"}, token=ADMIN)
    for token in (fake.token("operate"), limited):
        assert fake.ask("DELETE", f"{BASE}/{made['id']}", token=token).status_code == 403
        assert fake.ask("DELETE", BASE, {"id": made["id"]}, token=token).status_code == 403
    assert texts(fake, token=fake.token("runtime", workspaces=("w1",))) == ["be kind"]


def test_a_team_shares_its_memories_with_nobody_else(fake: Web) -> None:
    for name in ("w1", "w2", "w3"):
        fake.workspace(name)
    assert fake.ask("POST", BASE, {"content": "x", "scope": "TEAM"}).status_code == 422
    for name in ("w1", "w2"):
        fake.ok("PATCH", f"/workspaces/{name}", {"team": "red"})
    made = asked(fake, "POST", BASE, {"content": "ours", "scope": "TEAM"})
    of_two = fake.ok("GET", "/workspaces/w2/memories")["memories"]
    assert [row["content"] for row in of_two] == ["ours"]
    assert fake.ok("GET", "/workspaces/w3/memories")["memories"] == []
    stranger = f"/workspaces/w3/memories/{made['id']}"
    assert fake.ask("DELETE", stranger).status_code == 404


def test_nobody_joins_a_team_whose_members_he_does_not_reach(fake: Web) -> None:
    """Else a token of one workspace would read and write what others are given."""
    for name in ("w1", "w2"):
        fake.workspace(name)
    fake.ok("PATCH", "/workspaces/w1", {"team": "red"})
    token = fake.token("operate", workspaces=("w2", "w3"))
    assert fake.ask("PATCH", "/workspaces/w2", {"team": "red"}, token=token).status_code == 403
    assert fake.ask("PATCH", "/workspaces/w2", {"team": "blue"}, token=token).status_code == 200
    both = fake.token("operate", workspaces=("w1", "w2"))
    assert fake.ask("PATCH", "/workspaces/w2", {"team": "red"}, token=both).status_code == 200


def test_the_row_shows_how_far_the_running_session_is_behind(site: Web) -> None:
    site.workspace()
    assert asked(site, "GET", "/workspaces/w1")["policy"] is None
    site.send("w1")
    claim = site.bound("w1")
    rows = asked(site, "GET", "/workspaces")["workspaces"]
    assert rows[0]["policy"]["session_id"] == claim.session.id
    path = f"/workspaces/w1/sessions/{claim.session.id}"
    asked(site, "GET", f"{BASE}?session_id={claim.session.id}")
    asked(site, "POST", BASE, {"content": "mine", "session_id": claim.session.id})
    assert asked(site, "GET", "/workspaces/w1")["policy"]["unseen_memories"] == 0
    asked(site, "POST", BASE, {"content": "not mine"})
    shown = asked(site, "GET", "/workspaces/w1")["policy"]
    assert (shown["unseen_memories"], shown["running_prompt_version"]) == (1, None)
    assert shown["stale_for_s"] >= 0
    metrics = site.ask("GET", "/metrics").text
    assert "turnkeeper_policy_stale_sessions 1.0" in metrics
    asked(site, "GET", f"{BASE}?session_id={claim.session.id}")
    assert asked(site, "GET", "/workspaces/w1")["policy"]["stale_for_s"] is None
    assert asked(site, "GET", path)["memory_seq"] == {"LOCAL": 2, "GLOBAL": 0}
    assert site.ask("GET", f"{BASE}?session_id=ses_unknown").status_code == 404


def test_the_page_shows_memories_and_policy_and_escapes_them(fake: Web) -> None:
    fake.workspace()
    fake.send("w1")
    claim = fake.bound("w1")
    asked(fake, "GET", f"{BASE}?session_id={claim.session.id}")
    asked(fake, "POST", BASE, {"content": "<script>alert(1)</script>"})
    page = fake.ask("GET", "/w/w1/memories").text
    assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page
    assert "1 memory unseen" in page and claim.session.id in page


def test_an_answer_is_json_that_keeps_every_character(fake: Web) -> None:
    fake.workspace()
    odd = "ä\u2028\x00\U0001f525<&\"'\\"
    asked(fake, "POST", BASE, {"content": odd})
    assert texts(fake) == [odd]
    assert json.loads(fake.ask("GET", BASE).text)["total"] == 1
