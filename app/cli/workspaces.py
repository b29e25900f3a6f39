"""``turnkeeper workspaces``: one agent's place, its capacity and its limits."""

from collections.abc import Callable
from typing import Any

import click

from app.cli.client import workspace_path
from app.cli.connection import Cli, connected, show_done, show_row, show_rows
from app.cli.names import optional_workspace, workspace_argument
from app.cli.parameters import DURATION, FIELD, body_of, required_change
from app.cli.plain_text import duration

COLUMNS = "id name status live_sessions max_concurrent waiting oldest_wait_s current_task"
# Left out in this order where the terminal is narrow.
SPARE = "max_concurrent current_task live_sessions"


@click.group()
def workspaces() -> None:
    """List and change workspaces."""


def limits(function: Callable[..., None]) -> Callable[..., None]:
    """The fields that ``create`` and ``set`` share."""
    for option in (
        click.option("--field", "fields", type=FIELD, multiple=True, help="Any other field."),
        click.option("--idle-timeout", "idle_timeout_s", type=DURATION, help="0: never."),
        click.option("--ceiling", "ceiling_s", type=DURATION, help="0: no ceiling."),
        click.option("--max-concurrent", type=click.IntRange(min=0)),
        click.option("--name"),
    ):
        function = option(function)
    return function


def policy_text(policy: dict[str, Any] | None) -> str:
    """How far the running session's policy is behind, in one line; empty while nothing runs."""
    if not policy:
        return ""
    running, current = policy["running_prompt_version"], policy["current_prompt_version"]
    behind = [f"prompt {running} → {current}"] if running != current else []
    if policy["unseen_memories"]:
        behind.append(f"memories unseen: {policy['unseen_memories']}")
    if policy["stale_for_s"] is None:
        return f"session {policy['session_id']} is up to date"
    since = duration(policy["stale_for_s"])
    return f"session {policy['session_id']} is behind for {since}: {', '.join(behind)}"


@workspaces.command("ls")
@connected
def list_all(cli: Cli) -> None:
    """List the workspaces this token reaches."""
    rows = cli.api.call("GET", "/workspaces")["workspaces"]
    show_rows(cli, rows, COLUMNS, "no workspaces yet: turnkeeper workspaces create ID", SPARE)


@workspaces.command()
@workspace_argument
@connected
def show(cli: Cli, workspace: str) -> None:
    """Show one workspace."""
    row = cli.api.call("GET", workspace_path(workspace))
    if cli.output == "table":
        row["policy"] = policy_text(row.get("policy"))
    show_row(cli, row)


@workspaces.command()
@optional_workspace
@limits
@connected
def create(
    cli: Cli, workspace: str | None, fields: tuple[tuple[str, Any], ...], **named: Any
) -> None:
    """Create a workspace (the server makes an id when none is given)."""
    row = cli.api.call("POST", "/workspaces", body_of(fields, id=workspace, **named))
    made = row.get("id", workspace)
    runtime = f"run -w {made} -- COMMAND {{prompt}}"
    command = f"send {made} hello --wait" if row.get("agent_url") else runtime
    show_done(cli, row, f"created {made}; next: turnkeeper {command}")


@workspaces.command("set")
@workspace_argument
@limits
@connected
def change(cli: Cli, workspace: str, fields: tuple[tuple[str, Any], ...], **named: Any) -> None:
    """Change a workspace."""
    body = required_change(body_of(fields, **named))
    row = cli.api.call("PATCH", workspace_path(workspace), body)
    show_done(cli, row, f"changed {workspace}: {', '.join(body)}")


@workspaces.command()
@workspace_argument
@click.option("--reason", default="", help="Shown to whoever asks why nothing runs.")
@connected
def pause(cli: Cli, workspace: str, reason: str) -> None:
    """Give out no more turns; running ones go on."""
    row = cli.api.call("POST", workspace_path(workspace, "pause"), {"reason": reason})
    show_done(cli, row, f"paused {workspace}; undo: turnkeeper workspaces resume {workspace}")


@workspaces.command()
@workspace_argument
@connected
def resume(cli: Cli, workspace: str) -> None:
    """Give out turns again."""
    row = cli.api.call("POST", workspace_path(workspace, "resume"), {})
    show_done(cli, row, f"resumed {workspace}")


@workspaces.command("rm")
@workspace_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@connected
def remove(cli: Cli, workspace: str, yes: bool) -> None:
    """Remove a workspace with its schedules and waiting turns."""
    if not yes:
        row = cli.api.call("GET", workspace_path(workspace))
        question = (
            f"Remove {workspace}: {row.get('waiting', 0)} waiting turns, "
            f"{row.get('live_sessions', 0)} live sessions?"
        )
        click.confirm(question, abort=True, err=True)
    answer = cli.api.call("DELETE", workspace_path(workspace))
    show_done(cli, answer, f"removed {workspace}")
