"""``turnkeeper webhooks``: who is sent events."""

from typing import Any

import click

from app.cli.client import segment
from app.cli.connection import Cli, connected, show_done, show_row, show_rows
from app.cli.parameters import DURATION, body_of, required_change

COLUMNS = "id url events workspaces enabled disabled_reason last_delivered_at"
# Left out in this order where the terminal is narrow.
SPARE = "last_delivered_at workspaces events disabled_reason"
ATTEMPTS = "at workspace_id event event_id outcome attempt status duration_s code"
ATTEMPTS_SPARE = "duration_s event_id status attempt workspace_id"
OUTCOMES = click.Choice(["acked", "retry", "dead", "disabled"])
FORMATS = click.Choice(["event", "slack"])


@click.group()
def webhooks() -> None:
    """Send events to URLs of yours (needs an admin token)."""


def _path(webhook_id: str, rest: str = "") -> str:
    return f"/admin/webhooks/{segment(webhook_id)}{rest}"


@webhooks.command("ls")
@connected
def list_all(cli: Cli) -> None:
    """List webhooks."""
    show_rows(
        cli, cli.api.call("GET", "/admin/webhooks")["webhooks"], COLUMNS, "no webhooks", SPARE
    )


@webhooks.command()
@click.argument("address", metavar="URL")
@click.option("--event", "events", multiple=True, help="Default: every event.")
@click.option("--workspace", "workspaces", multiple=True, help="Default: every workspace.")
@click.option("--description", help="For people.")
@click.option("--format", type=FORMATS, help="event: all of it; slack: one sentence.")
@connected
def create(
    cli: Cli, address: str, events: tuple[str, ...], workspaces: tuple[str, ...], **named: Any
) -> None:
    """Create a webhook; its secret is shown this once. Alone on stdout, so that $(…) takes it."""
    lists = {"events": list(events) or None, "workspaces": list(workspaces) or None}
    row = cli.api.call("POST", "/admin/webhooks", body_of((), url=address, **lists, **named))
    _show_secret(cli, row)


def _show_secret(cli: Cli, row: dict[str, Any]) -> None:
    if cli.output == "table":
        click.echo(f"webhook {row.get('id')}, its secret, shown this once:", err=True)
    show_done(cli, row, str(row["secret"]))


@webhooks.command()
@click.argument("webhook_id")
@click.option("--to", "address", metavar="URL", help="Where to send from now on.")
@click.option("--event", "events", multiple=True)
@click.option("--workspace", "workspaces", multiple=True)
@click.option("--format", type=FORMATS)
@click.option("--enable/--disable", "enabled", default=None)
@connected
def change(cli: Cli, webhook_id: str, address: str | None, **named: Any) -> None:
    """Change a webhook; enabled again, it goes on where it stopped."""
    lists = {name: list(named.pop(name)) or None for name in ("events", "workspaces")}
    body = required_change(body_of((), url=address, **lists, **named))
    show_row(cli, cli.api.call("PATCH", _path(webhook_id), body))


@webhooks.command()
@click.argument("webhook_id")
@connected
def rotate(cli: Cli, webhook_id: str) -> None:
    """Give a webhook a new secret; the old one signs beside it for a day."""
    _show_secret(cli, cli.api.call("POST", _path(webhook_id, "/rotate"), {}))


@webhooks.command("rm")
@click.argument("webhook_id")
@connected
def remove(cli: Cli, webhook_id: str) -> None:
    """Remove a webhook and what it is owed."""
    answer = cli.api.call("DELETE", _path(webhook_id))
    show_done(cli, answer, f"removed {webhook_id}")


@webhooks.command()
@click.argument("webhook_id")
@connected
def test(cli: Cli, webhook_id: str) -> None:
    """Send a test event now and show what the receiver answered."""
    show_row(cli, cli.api.call("POST", _path(webhook_id, "/test"), {}))


@webhooks.command()
@click.argument("webhook_id")
@click.option("--workspace", "workspace_id")
@click.option("--outcome", type=OUTCOMES)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@connected
def deliveries(cli: Cli, webhook_id: str, **named: Any) -> None:
    """List the newest attempts, newest first."""
    answer = cli.api.call("GET", _path(webhook_id, "/deliveries"), query=body_of((), **named))
    show_rows(cli, answer["deliveries"], ATTEMPTS, "no deliveries", ATTEMPTS_SPARE)


@webhooks.command()
@click.argument("webhook_id")
@click.option("--workspace", "workspace_id")
@click.option("--event-id", help="One event of that workspace.")
@click.option("--outcome", type=OUTCOMES, help="All of this outcome.  [default: dead]")
@click.option("--since", "since_s", type=DURATION, help="Tried no longer ago, such as 2h.")
@connected
def replay(cli: Cli, webhook_id: str, **named: Any) -> None:
    """Deliver again: one event, or every one that was given up."""
    answer = cli.api.call("POST", _path(webhook_id, "/replay"), body_of((), **named))
    lost = f"; {answer['not_kept']} are not kept any more" if answer["not_kept"] else ""
    show_done(cli, answer, f"{answer['replayed']} will be delivered again{lost}")
