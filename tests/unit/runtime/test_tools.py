"""How claude and codex are told of the platform's tools."""

import json
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from runtime.agents import kinds
from runtime.agents.base import Command
from runtime.wire import parse_turn
from tests.unit.runtime.conftest import Start
from tests.unit.runtime.fake_platform import FakePlatform

TURN = parse_turn(
    {"turn_id": "t", "session_id": "s", "fence": 1, "prompt": "it", "session_token": "tks.secret"}
)
URL = "http://tk.example/workspaces/w/mcp"


def argv_of(kind: str, *argv: str, url: str = URL, turn: Any = TURN) -> list[str]:
    agent = kinds()[kind](Command(argv, mcp_url=url))
    return list(agent.launch(turn, "/f", None).argv)


def after(argv: list[str], flag: str) -> list[str]:
    return [argv[at + 1] for at, part in enumerate(argv) if part == flag]


def test_claude_is_given_the_server_and_may_call_it() -> None:
    argv = argv_of("claude", "claude", "-p")
    (config,) = after(argv, "--mcp-config")
    assert json.loads(config)["mcpServers"]["a2a"] == {
        "type": "http",
        "url": "${TURNKEEPER_MCP_URL}",
        "headers": {"Authorization": "Bearer ${TURNKEEPER_TOKEN}"},
        "alwaysLoad": True,
    }
    (settings,) = after(argv, "--settings")
    assert json.loads(settings)["permissions"] == {"allow": ["mcp__a2a"]}
    assert json.loads(settings)["hooks"]


def test_claude_keeps_what_the_operator_wrote_beside_it() -> None:
    argv = argv_of("claude", "claude", "-p", "--settings", "{}", "--mcp-config", "own.json")
    assert after(argv, "--settings") == ["{}"]
    assert after(argv, "--mcp-config")[0] == "own.json"
    assert len(after(argv, "--mcp-config")) == 2


def test_codex_is_given_the_server_by_its_address() -> None:
    argv = argv_of("codex", "codex", "exec", "{prompt}")
    (config,) = after(argv, "-c")
    server = tomllib.loads(config)["mcp_servers"]["a2a"]
    assert server == {"url": URL, "bearer_token_env_var": "TURNKEEPER_TOKEN"}
    assert argv[-1] == "it"


def test_codex_with_a_server_of_that_name_keeps_its_own() -> None:
    own = ("codex", "exec", "-c", 'mcp_servers.a2a={command="x"}')
    assert after(argv_of("codex", *own), "-c") == ['mcp_servers.a2a={command="x"}']


@pytest.mark.parametrize("kind", ["claude", "codex", "plain"])
def test_the_token_is_in_no_argument_and_in_no_words(kind: str) -> None:
    assert "tks.secret" not in " ".join(argv_of(kind, kind, "{prompt}"))
    assert "tks.secret" not in repr(TURN)


@pytest.mark.parametrize("kind", ["claude", "codex"])
def test_a_platform_without_tools_is_none_to_tell_of(kind: str) -> None:
    for argv in (
        argv_of(kind, kind, turn=replace(TURN, session_token=None)),
        argv_of(kind, kind, url=""),
    ):
        assert "a2a" not in " ".join(argv)


def test_the_child_gets_its_sessions_token_and_where_its_tools_are(
    platform: FakePlatform, start: Start
) -> None:
    script = "env; cat $TURNKEEPER_TURN_FILE"
    start("sh", "-c", script, child_environ={"TURNKEEPER_TOKEN": "of the operator's shell"})
    session_id = platform.offer("p", session_token="tks.mine")
    said = platform.finish_of(session_id)["result"]["text"]
    lines = said.splitlines()
    assert "TURNKEEPER_TOKEN=tks.mine" in lines
    assert f"TURNKEEPER_MCP_URL={platform.url}/workspaces/ws_test/mcp" in lines
    assert said.count("tks.mine") == 1, "it stands in the environment, and in no file"
