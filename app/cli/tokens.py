"""``turnkeeper tokens``: who may do what."""

from typing import Any

import click

from app.cli.client import segment
from app.cli.connection import Cli, connected, show_done, show_rows
from app.cli.parameters import DURATION, body_of

COLUMNS = "id name prefix scopes workspaces teams created_at expires_at"
# Left out in this order where the terminal is narrow.
SPARE = "created_at prefix teams expires_at workspaces"
SCOPES = click.Choice(["read", "send", "runtime", "operate", "admin"])


@click.group()
def tokens() -> None:
    """List, create and revoke tokens (needs an admin token)."""


@tokens.command("ls")
@connected
def list_all(cli: Cli) -> None:
    """List tokens by prefix."""
    answer = cli.api.call("GET", "/admin/tokens")
    rows = answer["tokens"] if isinstance(answer, dict) else answer
    show_rows(cli, rows, COLUMNS, "no stored tokens", SPARE)


@tokens.command()
@click.option("--name", required=True)
@click.option("--scope", "scopes", type=SCOPES, multiple=True, required=True)
@click.option("--workspace", "workspaces", multiple=True, help="Default: every workspace.")
@click.option("--team", "teams", multiple=True, help="Every workspace that is in this team.")
@click.option("--expires-in", "expires_in_s", type=DURATION, help="Such as 30d. Default: never.")
@connected
def create(
    cli: Cli,
    scopes: tuple[str, ...],
    workspaces: tuple[str, ...],
    teams: tuple[str, ...],
    **named: Any,
) -> None:
    """Create a token; it is shown this once. Alone on stdout, so that $(…) takes it."""
    limits = {"workspaces": list(workspaces) or None, "teams": list(teams) or None}
    body = body_of((), scopes=list(scopes), **limits, **named)
    show_once(cli, cli.api.call("POST", "/admin/tokens", body))


@tokens.command()
@click.argument("token_id")
@click.option("--grace", "grace_s", type=DURATION, help="How long the old one works. Default: 1h.")
@connected
def rotate(cli: Cli, token_id: str, **named: Any) -> None:
    """Replace a token by one that may do the same; the old one works on for a while."""
    path = f"/admin/tokens/{segment(token_id)}/rotate"
    show_once(cli, cli.api.call("POST", path, body_of((), **named)))


def show_once(cli: Cli, row: Any) -> None:
    """A new token's text."""
    if cli.output == "table":
        click.echo(f"token {row.get('id')}, shown this once:", err=True)
    show_done(cli, row, str(row["token"]))


@tokens.command()
@click.argument("token_id")
@connected
def revoke(cli: Cli, token_id: str) -> None:
    """Revoke a token by its id."""
    answer = cli.api.call("DELETE", f"/admin/tokens/{segment(token_id)}")
    show_done(cli, answer, f"revoked {token_id}")
