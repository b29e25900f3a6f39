"""What the six tools do, and the news that every answer carries."""

from typing import Any

import pytest

from app.core import scripts, sessions
from app.core.errors import StaleFence
from tests.unit.api.mcp.calls import OLD, Agent, begun, running, send
from tests.unit.api.web import Web

W = "/workspaces/w1"


@pytest.fixture
def agent(site: Web) -> Agent:
    return running(site, context_id="c")


def events(agent: Agent, name: str) -> list[dict[str, Any]]:
    rows = agent.site.ok("GET", f"/workspaces/{agent.workspace_id}/events?limit=500")["events"]
    return [row for row in rows if row["event"] == name]


def ask(agent: Agent, kind: str, within_s: float = 60) -> None:
    asked = sessions.Ask(kind, "operator", "as told", within_s)
    sessions.ask(agent.site.platform, agent.workspace_id, agent.claim.session, asked)


# Memories.


def test_what_one_session_commits_the_next_recalls(agent: Agent) -> None:
    assert agent.call("recall_memory")["memories"] == []
    made = agent.call("commit_memory", content="pears are green", namespace="fruit")
    assert (made["scope"], made["version"], made["is_new"]) == ("LOCAL", 1, True)
    found = agent.call("recall_memory", query="pear")
    assert [one["content"] for one in found["memories"]] == ["pears are green"]
    assert (found["total"], found["returned"], found["is_complete"]) == (1, 1, True)
    row = agent.site.ok("GET", f"{W}/memories")["memories"][0]
    assert (row["session_id"], row["author"]) == (
        agent.claim.session.id,
        f"session {agent.claim.session.id}",
    )


def test_a_commit_repeated_after_a_lost_answer_is_one_memory(agent: Agent) -> None:
    first = agent.call("commit_memory", content="once")
    again = agent.call("commit_memory", content="once")
    assert (again["id"], again["version"], again["is_new"]) == (first["id"], 1, False)
    assert agent.call("commit_memory", content="twice")["id"] != first["id"]
    assert agent.call("commit_memory", content="once", namespace="n")["id"] != first["id"]


def test_a_key_names_one_memory_through_all_that_it_said(agent: Agent) -> None:
    versions = [
        agent.call("commit_memory", content=text, key="colour")["version"]
        for text in ("red", "red", "blue", "blue", "red")
    ]
    assert versions == [1, 1, 2, 2, 3]
    assert [one["content"] for one in agent.call("recall_memory")["memories"]] == ["red"]


def test_what_was_removed_is_written_again_when_it_is_said_again(agent: Agent) -> None:
    made = agent.call("commit_memory", content="on, then off")
    agent.site.ok("DELETE", f"{W}/memories/{made['id']}")
    assert agent.call("commit_memory", content="on, then off")["is_new"]
    assert len(agent.call("recall_memory")["memories"]) == 1


def test_a_recall_in_pages_misses_nothing_and_says_what_is_left(agent: Agent) -> None:
    texts = [f"{number} " + "x" * 20_000 for number in range(8)]
    for text in texts:
        agent.call("commit_memory", content=text)
    found, page = [], agent.call("recall_memory")
    while True:
        assert sum(len(one["content"]) for one in page["memories"]) <= 65_536, "too much at once"
        assert page["total"] == 8
        found += [one["content"] for one in page["memories"]]
        if page["next"] is None:
            break
        page = agent.call("recall_memory", cursor=page["next"])
    assert found == texts[::-1]


def test_a_secret_goes_no_further_and_global_is_not_an_agents_to_write(agent: Agent) -> None:
    secret = "glpat-" + "a1B2c3D4e5F6g7H8i9J0"
    assert agent.call("commit_memory", content=f"use {secret}")["redactions"] == {"gitlab_token": 1}
    assert secret not in agent.words("recall_memory")
    refused = agent.call("commit_memory", is_error=True, content="for all", scope="GLOBAL")
    assert refused["error"]["code"] == "invalid_input"
    refused = agent.call("commit_memory", is_error=True, content="for us", scope="TEAM")
    assert "in no team" in refused["error"]["message"]


# Policy.


def test_the_policy_is_the_prompt_as_it_is_now(site: Web) -> None:
    site.workspace()
    schedule_id = site.schedule("w1", prompt="do one thing")
    agent = running(site, schedule_id=schedule_id)
    before = agent.call("get_policy")
    assert (before["prompt"], before["policy_changed"]) == ("do one thing", None)
    site.ok("PATCH", f"{W}/schedules/{schedule_id}", {"prompt": "do another"})
    told = agent.call("report_progress", text="on")
    assert told["policy_version"] != before["policy_version"]
    assert "prompt 1 → 2" in told["policy_changed"]
    assert "prompt 1 → 2" in agent.words("report_progress", text="on")
    now = agent.call("get_policy")
    assert (now["prompt"], now["running_prompt_version"], now["current_prompt_version"]) == (
        "do another",
        1,
        2,
    )
    assert now["ceiling_at"] and now["checkpoint_at"]


def test_a_memory_of_somebody_else_is_news_until_it_was_recalled(agent: Agent) -> None:
    sessions.bind(
        agent.site.platform,
        "w1",
        agent.claim.session,
        {"prompt": "", "memory_seq": {"LOCAL": 0, "GLOBAL": 0}, "memory_team": ""},
        inbox=False,
    )
    before = agent.call("get_policy")["policy_version"]
    agent.site.ok("POST", f"{W}/memories", {"content": "from outside"})
    told = agent.call("report_progress", text="on")
    assert told["policy_version"] != before
    assert told["policy_changed"] == "1 memory unseen"
    assert agent.call("recall_memory")["policy_changed"] is None
    agent.call("commit_memory", content="from inside")
    assert agent.call("get_policy")["policy_changed"] is None, "its own word is no news"


def test_a_message_is_its_own_policy(agent: Agent) -> None:
    assert agent.call("get_policy")["prompt"] == "hello"


# Wrap-up.


@pytest.mark.parametrize("tool", ["get_policy", "recall_memory", "report_progress"])
@pytest.mark.parametrize("era", ["2026-07-28", OLD])
def test_every_answer_carries_a_pending_wrap_up_with_its_deadline(
    agent: Agent, tool: str, era: str
) -> None:
    agent.era = era
    given = {"text": "on"} if tool == "report_progress" else {}
    assert agent.call(tool, **given)["wrap_up"] is None
    assert "WRAP-UP" not in agent.words(tool, **given)
    ask(agent, "checkpoint")
    told = agent.call(tool, **given)["wrap_up"]
    row = agent.site.ok("GET", f"{W}/sessions/{agent.claim.session.id}")
    assert told == {
        "action": "checkpoint",
        "deadline_at": row["checkpoint_by"],
        "reason": "as told",
    }
    words = agent.words(tool, **given)
    assert "WRAP-UP" in words and row["checkpoint_by"] in words
    ask(agent, "cancel", 5)
    assert agent.call(tool, **given)["wrap_up"]["action"] == "cancel"


def test_a_call_that_is_refused_carries_the_wrap_up_too(agent: Agent) -> None:
    ask(agent, "checkpoint")
    assert agent.call("report_progress", is_error=True)["wrap_up"]["action"] == "checkpoint"


# Progress, notes, words.


def test_progress_is_shown_and_moves_the_stall_clock(agent: Agent) -> None:
    agent.call("report_progress", text="half way", percent=50)
    (told,) = events(agent, "TURN_PROGRESS")
    assert told["payload"] == {"text": "half way", "percent": 50.0, "kind": "text"}
    assert told["fence"] == agent.claim.session.fence


def test_a_checkpoint_reaches_the_next_session_though_this_one_is_ended(agent: Agent) -> None:
    told = agent.call("checkpoint", summary="half", next_step="the rest")
    assert told["kept_for_next_session"]
    agent.site.ok("POST", f"{W}/sessions/{agent.claim.session.id}/end", {"reason": "enough"})
    send(agent.site, "w1", "go on", "c")
    wanted = {"summary": "half", "next_step": "the rest", "artifacts": []}
    assert begun(agent.site, "w1").claim.note == wanted


def test_a_message_reaches_the_user_at_once(agent: Agent) -> None:
    agent.call("send_message_to_user", text="I am at it")
    (told,) = events(agent, "AGENT_MESSAGE")
    assert told["payload"]["text"] == "I am at it"
    assert told["session_id"] == agent.claim.session.id


def test_a_write_for_a_session_that_has_ended_is_fenced_and_says_so(agent: Agent) -> None:
    """By a runtime's token, which outlives its sessions."""
    session = agent.claim.session
    agent.token = agent.site.token("runtime", workspaces=("w1",))
    body = {"fence": session.fence}
    agent.site.ok("POST", f"{W}/sessions/{session.id}/finish", body)
    for name, given in (
        ("report_progress", {"text": "more"}),
        ("checkpoint", {"summary": "more"}),
        ("send_message_to_user", {"text": "more"}),
    ):
        params = {"name": name, "arguments": given}
        response = agent.request("tools/call", params, Turnkeeper_Session=session.id)
        told = response.get_json()["result"]
        assert told["isError"]
        assert told["structuredContent"]["error"]["code"] == StaleFence.code
        assert told["structuredContent"]["wrap_up"]["action"] == "ended"
    assert len(events(agent, "WRITE_FENCED")) == 3


def is_write(words: tuple[Any, ...]) -> bool:
    """Whether a script runs, that which lets the request in aside."""
    return words[0] in ("EVALSHA", "EVAL") and words[1] != scripts.load()["admit"].sha


def test_a_tool_that_did_its_work_says_so_though_the_news_cannot_be_read(
    fake: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = running(fake)
    data = fake.platform.clients.data
    real = data.execute_command

    def broken(*words: Any, **more: Any) -> Any:
        answer = real(*words, **more)
        if is_write(words):  # the tool's own; from then on the store is away
            monkeypatch.setattr(data, "execute_command", away)
        return answer

    def away(*words: Any, **more: Any) -> Any:
        raise ConnectionError("away")

    from redis.exceptions import ConnectionError

    monkeypatch.setattr(data, "execute_command", broken)
    told = agent.call("report_progress", text="done")
    monkeypatch.undo()
    assert (told["status"], told["policy_version"]) == ("ok", None)
    assert len(events(agent, "TURN_PROGRESS")) == 1


def test_a_tool_that_cannot_reach_the_store_says_when_to_try_again(
    fake: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.exceptions import ConnectionError

    agent = running(fake)
    data = fake.platform.clients.data
    real = data.execute_command

    def away(*words: Any, **more: Any) -> Any:
        if is_write(words):
            raise ConnectionError("away")
        return real(*words, **more)

    monkeypatch.setattr(data, "execute_command", away)
    told = agent.call("report_progress", is_error=True, text="done")
    monkeypatch.undo()
    assert (told["error"]["code"], told["error"]["retry_after_s"]) == ("store_unavailable", 2)
