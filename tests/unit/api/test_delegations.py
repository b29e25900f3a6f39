"""Delegations: who asked whom, told to both sides and to nobody else."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.api.web import Web, fake_clients, web


@pytest.fixture
def site() -> Iterator[Web]:
    with web(fake_clients()) as made:
        for name in ("lead", "writer", "third"):
            made.workspace(name)
        yield made


def rows(site: Web, workspace_id: str, query: str = "", **more: Any) -> list[dict[str, Any]]:
    path = f"/workspaces/{workspace_id}/delegations{query}"
    return list(site.ok("GET", path, **more))


def delegate(site: Web, text: str = "write", source: Any = "lead", target: str = "writer") -> str:
    return site.send(target, text, metadata={"from_workspace_id": source})


def test_both_sides_list_it_newest_first_and_by_direction(site: Web) -> None:
    first, second = delegate(site, "one"), delegate(site, "two")
    back = delegate(site, "three", "writer", "lead")
    shown = [(row["delegation_id"], row["direction"]) for row in rows(site, "lead")]
    assert shown[0] == (back, "received")
    assert shown[1:] == [(second, "sent"), (first, "sent")]
    assert [row["summary"] for row in rows(site, "lead", "?direction=sent")] == ["two", "one"]
    assert [row["summary"] for row in rows(site, "writer", "?direction=received&limit=1")] == [
        "two"
    ]
    assert rows(site, "third") == []
    assert site.ask("GET", "/workspaces/lead/delegations?direction=up").status_code == 422


def test_a_chat_message_is_no_delegation_and_a_nameless_agent_has_no_source(site: Web) -> None:
    site.send("writer", "from a person")
    nameless = site.send("writer", "from some agent", metadata={"origin": "agent"})
    (row,) = rows(site, "writer")
    assert (row["delegation_id"], row["source_id"]) == (nameless, None)


def test_only_its_own_agent_says_for_which_workspace_it_asks(site: Web) -> None:
    text = site.token("send", "runtime", workspaces=("writer", "third"))
    message = {"role": "user", "parts": [{"kind": "text", "text": "x"}]}

    def status(source: Any) -> int:
        params = {"message": message, "metadata": {"from_workspace_id": source}}
        return site.ask("POST", "/workspaces/writer/a2a", {"params": params}, text).status_code

    assert [status(source) for source in ("third", "lead", "", 7)] == [202, 403, 422, 422]
    assert rows(site, "lead") == [], "nobody writes to another's activity"
    params = {"message": message, "metadata": {"from_workspace_id": "nobody"}}
    assert site.ask("POST", "/workspaces/writer/a2a", {"params": params}).status_code == 404
    assert len(rows(site, "writer")) == 1


def test_a_repeat_is_noted_once(site: Web) -> None:
    params: dict[str, Any] = {
        "message": {"messageId": "m1", "parts": [{"text": "x"}]},
        "metadata": {"from_workspace_id": "lead"},
    }
    ids = {site.ok("POST", "/workspaces/writer/a2a", {"params": params})["queue_id"] for _ in "12"}
    assert len(ids) == len(rows(site, "lead")) == len(rows(site, "writer")) == 1


def test_how_it_stands_is_told_to_who_reaches_the_other_side(site: Web) -> None:
    delegate(site)
    reader = site.token("read", workspaces=("lead",))
    (row,) = rows(site, "lead", token=reader)
    assert (row["status"], row["updated_at"]) == (None, None)
    both = site.token("read", workspaces=("lead", "writer"))
    (row,) = rows(site, "lead", token=both)
    assert row["status"] == "queued" and row["updated_at"]


def test_what_an_agent_writes_to_its_activity_breaks_nothing(site: Web) -> None:
    for odd in ({"delegation_id": 7}, {"target_id": []}, {"delegation_id": "x", "target_id": "}"}):
        body = {"type": "a2a_send", "summary": "s", **odd}
        site.ok("POST", "/workspaces/lead/activity", body)
    found = rows(site, "lead")
    assert all(row["status"] is None for row in found) and len(found) <= 1


def test_a_replayed_turn_keeps_its_source_and_takes_the_callers_trace(site: Web) -> None:
    turn_id = delegate(site)
    site.ok("POST", f"/workspaces/writer/turns/{turn_id}/cancel", {})
    path, trace = f"/workspaces/writer/turns/{turn_id}/replay", f"00-{'ab' * 16}-{'cd' * 8}-01"
    again = site.ok("POST", path, headers={"traceparent": trace})
    assert again["request"]["traceparent"] == trace
    assert {row["source_id"] for row in rows(site, "writer")} == {"lead"}


def test_a_run_now_carries_the_callers_trace_to_the_runtime(site: Web) -> None:
    schedule_id, trace = site.schedule("lead"), f"00-{'ab' * 16}-{'cd' * 8}-01"
    path = f"/workspaces/lead/schedules/{schedule_id}/run"
    site.ok("POST", path, headers={"traceparent": trace})
    site.bound("lead")
    turn = site.ok("GET", "/workspaces/lead/turns/next?wait_s=0")["turn"]
    assert turn["traceparent"] == trace
    plain = site.ok("POST", path)["turn_id"]
    request = site.ok("GET", f"/workspaces/lead/turns/{plain}")["request"]
    assert "traceparent" not in request
