"""``turnkeeper schedules``: what fires when, in a workspace. A schedule goes by id or by name."""

from collections.abc import Callable
from typing import IO, Any

import click

from app.cli import ledger
from app.cli.client import workspace_path
from app.cli.connection import Cli, connected, show_done, show_row, show_rows
from app.cli.ledger import schedule_path
from app.cli.names import schedule_argument, workspace_argument
from app.cli.parameters import FIELD, body_of, required_change
from app.cli.plain_text import plain
from app.cli.schedule_files import (
    explain,
    export_crontab,
    forecast,
    import_crontab,
    percent,
    tell_need,
)

COLUMNS = "id name cron_expr timezone enabled next_run_at run_count last_status needs paused_reason"
# Left out in this order where the terminal is narrow.
SPARE = "run_count timezone paused_reason needs id last_status"


@click.group()
def schedules() -> None:
    """List and change schedules."""


for command in (
    *(import_crontab, export_crontab, explain, forecast),
    *(ledger.backfill, ledger.history, ledger.fires, ledger.health),
):
    schedules.add_command(command)


def definition(function: Callable[..., None]) -> Callable[..., None]:
    """The fields that ``add`` and ``set`` share."""
    for option in (
        click.option("--field", "fields", type=FIELD, multiple=True, help="Any other field."),
        click.option("--enabled/--disabled", default=None),
        click.option("--prompt-file", type=click.File(encoding="utf-8"), help="- for stdin."),
        click.option("--prompt"),
        click.option("--timezone", help="IANA name."),
        click.option("--cron", "cron_expr", help="Five fields, or an alias such as @hourly."),
    ):
        function = option(function)
    return function


def definition_body(
    fields: tuple[tuple[str, Any], ...],
    prompt: str | None,
    prompt_file: IO[str] | None,
    **named: Any,
) -> dict[str, Any]:
    """The body that the shared options make."""
    if prompt is not None and prompt_file is not None:
        raise click.UsageError("give --prompt or --prompt-file, not both")
    text = prompt_file.read() if prompt_file else prompt
    return body_of(fields, prompt=text, **named)


@schedules.command("ls")
@workspace_argument
@connected
def list_all(cli: Cli, workspace: str) -> None:
    """List the schedules of a workspace."""
    rows = cli.api.call("GET", workspace_path(workspace, "schedules"))["schedules"]
    if cli.output == "table":
        for row in rows:
            row["next_run_at"] = row.get("next_run_at") if row.get("enabled", True) else "paused"
            row["needs"] = percent((row.get("forecast") or {}).get("share_percent"))
    show_rows(
        cli, rows, COLUMNS, f"no schedules yet: turnkeeper schedules add {workspace} …", SPARE
    )
    needs = [row["forecast"] for row in rows if row.get("forecast")]
    if cli.output == "table" and needs:
        click.echo(plain(needs[0]["sentence"]))


@schedules.command()
@workspace_argument
@click.option("--name", required=True)
@definition
@connected
def add(cli: Cli, workspace: str, **named: Any) -> None:
    """Add a schedule."""
    body = definition_body(**named)
    if "cron_expr" not in body or "prompt" not in body:
        raise click.UsageError("a schedule needs --cron and --prompt (or --prompt-file)")
    others = _namesakes(cli, workspace, body["name"])
    row = cli.api.call("POST", workspace_path(workspace, "schedules"), body)
    made = row.get("id", body["name"])
    show_done(cli, row, f"added {made}; see: turnkeeper schedules preview {workspace} {made}")
    if others:
        told = f"also named {body['name']}: {', '.join(others)}; from now on use their ids"
        click.echo(plain(told), err=True)
    tell_need(row.get("forecast"))


def _namesakes(cli: Cli, workspace: str, name: str) -> list[str]:
    """The ids of those that have this name: it need not be unique, but then goes for none."""
    listed = cli.api.call("GET", workspace_path(workspace, "schedules"))["schedules"]
    return [row["id"] for row in listed if row.get("name") == name]


@schedules.command()
@workspace_argument
@schedule_argument
@connected
def show(cli: Cli, workspace: str, schedule: str) -> None:
    """Show one schedule."""
    show_row(cli, cli.api.call("GET", schedule_path(cli, workspace, schedule)))


@schedules.command("set")
@workspace_argument
@schedule_argument
@click.option("--name")
@definition
@connected
def change(cli: Cli, workspace: str, schedule: str, **named: Any) -> None:
    """Change a schedule; its waiting fires run with the new prompt."""
    body = required_change(definition_body(**named))
    row = cli.api.call("PATCH", schedule_path(cli, workspace, schedule), body)
    show_done(cli, row, f"changed {schedule}: {', '.join(body)}")
    tell_need(row.get("forecast"))


@schedules.command()
@workspace_argument
@schedule_argument
@connected
def run(cli: Cli, workspace: str, schedule: str) -> None:
    """Fire a schedule now."""
    answer = cli.api.call("POST", schedule_path(cli, workspace, schedule, "run"), {})
    show_done(cli, answer, f"fired {schedule}; see: turnkeeper turns ls {workspace}")


@schedules.command()
@workspace_argument
@schedule_argument
@click.option("--reason", default="")
@connected
def pause(cli: Cli, workspace: str, schedule: str, reason: str) -> None:
    """Make no more fires."""
    path = schedule_path(cli, workspace, schedule, "pause")
    answer = cli.api.call("POST", path, {"reason": reason})
    show_done(cli, answer, f"paused {schedule}")


@schedules.command()
@workspace_argument
@schedule_argument
@connected
def resume(cli: Cli, workspace: str, schedule: str) -> None:
    """Make fires again."""
    answer = cli.api.call("POST", schedule_path(cli, workspace, schedule, "resume"), {})
    show_done(cli, answer, f"resumed {schedule}")


@schedules.command("rm")
@workspace_argument
@schedule_argument
@connected
def remove(cli: Cli, workspace: str, schedule: str) -> None:
    """Delete a schedule."""
    answer = cli.api.call("DELETE", schedule_path(cli, workspace, schedule))
    show_done(cli, answer, f"deleted {schedule}")


@schedules.command()
@workspace_argument
@schedule_argument
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True)
@connected
def preview(cli: Cli, workspace: str, schedule: str, count: int) -> None:
    """Show when it fires next."""
    path = schedule_path(cli, workspace, schedule, "preview")
    answer = cli.api.call("GET", path, query={"count": count})
    if cli.output == "table":
        for moment in answer["next"]:
            click.echo(moment)
        row = cli.api.call("GET", schedule_path(cli, workspace, schedule))
        if not row.get("enabled", True):
            next_step = f"turnkeeper schedules resume {workspace} {schedule}"
            click.echo(f"paused: none of these is made until {next_step}", err=True)
    else:
        show_done(cli, answer, "")
