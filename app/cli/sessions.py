"""``turnkeeper sessions``: the bounded attempts of a workspace, and the kill button by id."""

import click

from app.cli.client import workspace_path
from app.cli.connection import Cli, connected, show_done, show_row, show_rows
from app.cli.names import workspace_argument

COLUMNS = "id turn_id state fence started_at age_s ceiling_at mechanism"
# Left out in this order where the terminal is narrow.
SPARE = "fence ceiling_at started_at turn_id"


@click.group()
def sessions() -> None:
    """List and end sessions."""


@sessions.command("ls")
@workspace_argument
@connected
def list_all(cli: Cli, workspace: str) -> None:
    """List the sessions of a workspace."""
    rows = cli.api.call("GET", workspace_path(workspace, "sessions"))["sessions"]
    show_rows(cli, rows, COLUMNS, "no sessions", SPARE)


@sessions.command()
@workspace_argument
@click.argument("session")
@connected
def show(cli: Cli, workspace: str, session: str) -> None:
    """Show one session."""
    show_row(cli, cli.api.call("GET", workspace_path(workspace, "sessions", session)))


@sessions.command()
@workspace_argument
@click.argument("session")
@connected
def checkpoint(cli: Cli, workspace: str, session: str) -> None:
    """Ask the agent to save its work and exit."""
    path = workspace_path(workspace, "sessions", session, "checkpoint")
    show_done(cli, cli.api.call("POST", path, {}), f"checkpoint of {session} asked")


@sessions.command()
@workspace_argument
@click.argument("session")
@connected
def end(cli: Cli, workspace: str, session: str) -> None:
    """End a session now; its slot is free at once."""
    path = workspace_path(workspace, "sessions", session, "end")
    show_done(cli, cli.api.call("POST", path, {}), f"ended {session}")
