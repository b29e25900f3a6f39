"""``turnkeeper memories``: what a workspace, its team and everybody is to remember."""

import sys
from typing import Any

import click

from app.cli.client import workspace_path
from app.cli.connection import Cli, connected, show_done, show_rows
from app.cli.faults import USAGE, Fault
from app.cli.names import workspace_argument
from app.cli.parameters import body_of
from app.cli.plain_text import plain

COLUMNS = "id scope namespace key version at author content"
# Left out in this order where the terminal is narrow.
SPARE = "namespace version author at key"
SCOPE = click.Choice(["LOCAL", "TEAM", "GLOBAL"], case_sensitive=False)
scoped = click.option("--scope", type=SCOPE, help="LOCAL: this workspace; TEAM: its team; GLOBAL.")


@click.group()
def memories() -> None:
    """Recall, commit and remove memories."""


@memories.command("ls")
@workspace_argument
@scoped
@click.option("--namespace")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="From where the page before ended.")
@connected
def list_all(cli: Cli, workspace: str, **query: Any) -> None:
    """List memories, newest first."""
    _show(cli, workspace, query)


@memories.command()
@workspace_argument
@click.argument("query")
@scoped
@click.option("--namespace")
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--cursor", help="From where the page before ended.")
@connected
def recall(cli: Cli, workspace: str, **query: Any) -> None:
    """Find the memories that fit best to some words."""
    _show(cli, workspace, query)


@memories.command()
@workspace_argument
@click.argument("content")
@scoped
@click.option("--namespace")
@click.option("--key", help="The same key is the same memory: a new version of it.")
@connected
def commit(cli: Cli, workspace: str, content: str, **fields: Any) -> None:
    """Keep a memory ("-": read it from stdin); secrets in it are taken out."""
    text = sys.stdin.read() if content == "-" else content
    if not text.strip():
        raise Fault("an empty memory is not kept", exit_code=USAGE)
    body = body_of((), content=text, **fields)
    row = cli.api.call("POST", workspace_path(workspace, "memories"), body)
    taken = ", ".join(f"{count} {kind}" for kind, count in row["redactions"].items())
    note = f"; secrets taken out: {taken}" if taken else ""
    show_done(cli, row, plain(f"{row['id']} version {row['version']} ({row['scope']}){note}"))


@memories.command("rm")
@workspace_argument
@click.argument("memory")
@connected
def remove(cli: Cli, workspace: str, memory: str) -> None:
    """Remove a memory."""
    row = cli.api.call("DELETE", workspace_path(workspace, "memories", memory))
    show_done(cli, row, f"removed {memory}")


def _show(cli: Cli, workspace: str, query: dict[str, Any]) -> None:
    answer = cli.api.call("GET", workspace_path(workspace, "memories"), query=query)
    show_rows(cli, answer["memories"], COLUMNS, "no memories", SPARE)
    if answer["next"]:
        shown, total = answer["returned"], answer["total"]
        click.echo(f"{shown} of {total} shown; go on with: --cursor {answer['next']}", err=True)
