"""``turnkeeper turns``: the units of work of a workspace."""

import click

from app.cli.client import workspace_path
from app.cli.connection import Cli, connected, show_done, show_row, show_rows
from app.cli.names import workspace_argument

COLUMNS = "id state lane origin attempt accepted_at ended_at mechanism"
# Left out in this order where the terminal is narrow.
SPARE = "ended_at origin attempt accepted_at"
TERMINAL = frozenset(
    {
        "completed",
        "failed",
        "yielded",
        "force_idled",
        "canceled",
        "expired",
        "coalesced",
        "skipped",
        "dead",
    }
)


@click.group()
def turns() -> None:
    """List, cancel and replay turns."""


@turns.command("ls")
@workspace_argument
@click.option("--state", help="Only turns in this state.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@connected
def list_all(cli: Cli, workspace: str, state: str | None, limit: int | None) -> None:
    """List the turns of a workspace."""
    query = {"state": state, "limit": limit}
    rows = cli.api.call("GET", workspace_path(workspace, "turns"), query=query)["turns"]
    show_rows(cli, rows, COLUMNS, "no such turns", SPARE)


@turns.command()
@workspace_argument
@click.argument("turn")
@connected
def show(cli: Cli, workspace: str, turn: str) -> None:
    """Show one turn."""
    show_row(cli, cli.api.call("GET", workspace_path(workspace, "turns", turn)))


@turns.command()
@workspace_argument
@click.argument("turn")
@connected
def cancel(cli: Cli, workspace: str, turn: str) -> None:
    """Cancel a turn; asking twice does no harm."""
    answer = cli.api.call("POST", workspace_path(workspace, "turns", turn, "cancel"), {})
    show_done(cli, answer, f"cancel of {turn} asked")


@turns.command()
@workspace_argument
@click.argument("turn")
@click.option("--again", is_flag=True, help="Also where it was replayed before.")
@connected
def replay(cli: Cli, workspace: str, turn: str, again: bool) -> None:
    """Queue an ended turn's work again; asked twice, it is queued once."""
    body = {"again": True} if again else {}
    answer = cli.api.call("POST", workspace_path(workspace, "turns", turn, "replay"), body)
    row = answer if isinstance(answer, dict) else {}
    made = row.get("id") or row.get("turn_id") or row.get("queue_id") or turn
    show_done(cli, answer, f"queued again as {made}")
