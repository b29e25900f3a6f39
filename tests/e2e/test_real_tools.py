"""The real codex and claude call the platform's tools, in a whole platform: make agents."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_real_agents import binary
from tests.support.fake_models import FakeModels
from tests.support.processes import module
from tests.support.wait import wait_until
from tests.support.world import World, world

pytestmark = [pytest.mark.agents]
SLOWLY = {
    "TURNKEEPER_IDLE_TIMEOUT_S": "300",
    "TURNKEEPER_STALL_AFTER_S": "300",
    "TURNKEEPER_CEILING_S": "600",
    "TURNKEEPER_CHECKPOINT_GRACE_S": "30",
    "TURNKEEPER_CANCEL_GRACE_S": "5",
}


@pytest.fixture
def models() -> Iterator[FakeModels]:
    fake = FakeModels()
    yield fake
    fake.close()


@pytest.fixture(params=["claude", "codex"])
def platform(request: Any, models: FakeModels, tmp_path: Path) -> Iterator[World]:
    """A platform whose workspace "w" is served by a real agent, with the rights it has as it comes:
    it may call these tools, and no other asks for leave."""
    kind: str = request.param
    path = binary(kind)
    home = tmp_path / "home"
    home.mkdir()
    own = {"ANTHROPIC_BASE_URL": models.url, "ANTHROPIC_API_KEY": "none", "FAKE_KEY": "none"}
    command = [path, "-p"]
    if kind == "codex":
        provider = f'{{name="fake",base_url="{models.url}/v1",wire_api="responses",'
        provider += 'env_key="FAKE_KEY",request_max_retries=0,stream_max_retries=0}'
        command = [path, "exec", "-c", f"model_providers.fake={provider}"]
        command += ["-c", "model_provider=fake", "-m", "gpt-5", "--skip-git-repo-check"]
    with world(tmp_path, **SLOWLY) as here:
        here.add_web()
        here.add_workers()
        here.add_scheduler()
        here.ask("POST", "/workspaces", {"id": "w"})
        spool = {"TURNKEEPER_SPOOL_DIR": str(tmp_path / "spool")}
        words = ["-w", "w", "--agent", kind, "--home", str(home), "--", *command]
        here.add("w", module("runtime", *words), **own, **spool)
        wait_until(lambda: here.ask("GET", "/workspaces/w")["status"] == "online", 30)
        yield here


def ended(here: World, text: str) -> Any:
    """How a message's turn ended."""
    turn_id = here.send("w", text)

    def over() -> Any:
        turn = here.turn("w", turn_id)
        return turn if turn["state"] in ("completed", "failed", "yielded") else None

    return wait_until(over, 90)


def events(here: World, name: str) -> list[Any]:
    rows = here.ask("GET", "/workspaces/w/events?limit=500")["events"]
    return [row for row in rows if row["event"] == name]


def test_the_agent_sees_the_tools_recalls_commits_and_reports(
    platform: World, models: FakeModels
) -> None:
    platform.ask("POST", "/workspaces/w/memories", {"content": "the sea is green"})
    turn = ended(platform, '[mcp recall_memory {"query": "sea"}]')
    assert turn["state"] == "completed", turn
    assert "the sea is green" in turn["result"]["text"]
    assert "policy_version" in turn["result"]["text"]
    assert names_of(models, "mcp__a2a__recall_memory")
    for call in ('report_progress {"text": "on my way"}', 'commit_memory {"content": "seen"}'):
        turn = ended(platform, f"[mcp {call}]")
        assert turn["state"] == "completed", turn
    assert "on my way" in [row["payload"].get("text") for row in events(platform, "TURN_PROGRESS")]
    texts = [row["content"] for row in platform.ask("GET", "/workspaces/w/memories")["memories"]]
    assert texts == ["seen", "the sea is green"]
    tools = [row["payload"].get("tool") for row in events(platform, "TURN_PROGRESS")]
    assert "mcp__a2a__recall_memory" in tools


def names_of(models: FakeModels, name: str) -> bool:
    """Whether the model was offered a tool of this name, alone or in a group."""
    server, _, tool = name.rpartition("__")
    for request in models.requests:
        for one in request.get("tools", []):
            inner = [each.get("name") for each in one.get("tools", [])]
            if one.get("name") == name or (one.get("name") == server and tool in inner):
                return True
    return False
