"""How agents are told of the platform's tools: an MCP server named ``a2a``, so that they see
``mcp__a2a__recall_memory``. The token stays in the environment: arguments are seen by everybody."""

import json
from collections.abc import Sequence

from runtime.agents.base import Command
from runtime.wire import Turn

SERVER = "a2a"


def offered(command: Command, turn: Turn) -> bool:
    """Whether the platform has tools for this session."""
    return bool(command.mcp_url and turn.session_token)


def claude_config() -> str:
    """For ``claude --mcp-config``, which puts the environment's values in. Without ``alwaysLoad``
    the model would first have to search for the tools."""
    server = {
        "type": "http",
        "url": "${TURNKEEPER_MCP_URL}",
        "headers": {"Authorization": "Bearer ${TURNKEEPER_TOKEN}"},
        "alwaysLoad": True,
    }
    return json.dumps({"mcpServers": {SERVER: server}})


def codex_options(argv: Sequence[str], url: str) -> list[str]:
    """For ``codex``, as TOML; nothing where the command configures a server of this name. That the
    tools need no approval, which nobody could give, their own annotations say."""
    if any(part.startswith(f"mcp_servers.{SERVER}") for part in argv):
        return []
    server = f'{{url={json.dumps(url)},bearer_token_env_var="TURNKEEPER_TOKEN"}}'
    return ["-c", f"mcp_servers.{SERVER}={server}"]
