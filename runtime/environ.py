"""The environment of a child: what it may see, and what it is told about its turn."""

from collections.abc import Mapping
from pathlib import Path

from runtime.agents.base import Command
from runtime.files import SessionFiles
from runtime.kill import MARK_NAME
from runtime.settings import RuntimeSettings
from runtime.wire import Turn

# Where agents look for their state besides HOME: with a HOME of its own they must not.
HOME_ASIDES = (
    "CLAUDE_CONFIG_DIR",
    "CODEX_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
)


def child_environ(
    settings: RuntimeSettings,
    workspace_id: str,
    turn: Turn,
    files: SessionFiles,
    command: Command,
    launch: Mapping[str, str],
) -> dict[str, str]:
    """Names and values for one child; ``launch`` is the agent kind's, the operator's own go before
    its values. A command without ``home`` has the supervisor's. The token is the session's own."""
    mine = {
        "TURNKEEPER_URL": settings.url,
        "TURNKEEPER_WORKSPACE": workspace_id,
        "TURNKEEPER_TURN_ID": turn.turn_id,
        "TURNKEEPER_SESSION_ID": turn.session_id,
        "TURNKEEPER_CONTROL_FILE": str(files.control),
        "TURNKEEPER_CHECKPOINT_FILE": str(files.checkpoint),
        "TURNKEEPER_TURN_FILE": str(files.turn),
        MARK_NAME: turn.session_id,
    }
    if turn.raw.get("session_mode"):
        mine["TURNKEEPER_SESSION_MODE"] = str(turn.raw["session_mode"])
    if turn.ceiling_at:
        mine["TURNKEEPER_DEADLINE"] = turn.ceiling_at
    if turn.traceparent:
        mine["TRACEPARENT"] = turn.traceparent
    if turn.session_token and command.mcp_url:
        mine["TURNKEEPER_TOKEN"] = turn.session_token
        mine["TURNKEEPER_MCP_URL"] = command.mcp_url
    inherited = dict(settings.child_environ)
    if command.home:
        inherited = {k: v for k, v in inherited.items() if k not in HOME_ASIDES}
        mine["HOME"] = str(Path(command.home).expanduser().resolve())
    forced = {name: value for name, value in launch.items() if name.startswith("TURNKEEPER_")}
    return {**launch, **inherited, **mine, **forced}
