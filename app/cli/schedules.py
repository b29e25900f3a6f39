"""``turnkeeper schedules``: what fires when, in a workspace. A schedule goes by id or by name."""

import sys
import threading
from collections.abc import Callable
from typing import IO, Any

import click

from app.cli.client import workspace_path
from app.cli.connection import Cli, connected, show_done, show_rows
from app.cli.faults import REFUSED, Fault
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

FOLLOW_S = 0.5
COLUMNS = "id name cron_expr timezone enabled next_run_at run_count last_status needs paused_reason"


@click.group()
def schedules() -> None:
    """List and change schedules."""


for command in (import_crontab, export_crontab, explain, forecast):
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


def schedule_path(cli: Cli, workspace: str, given: str, *rest: str) -> str:
    """The path of a schedule given by id or by name; an unknown name is left to the server."""
    if not given.startswith("sch_"):
        listed = cli.api.call("GET", workspace_path(workspace, "schedules"))["schedules"]
        found = [row["id"] for row in listed if given in (row.get("name"), row["id"])]
        if len(found) > 1:
            raise Fault(
                f"{len(found)} schedules are named {given}",
                "a name need not be unique",
                f"name one by its id: {', '.join(found)}",
                REFUSED,
            )
        given = found[0] if found else given
    return workspace_path(workspace, "schedules", given, *rest)


@schedules.command("ls")
@click.argument("workspace")
@connected
def list_all(cli: Cli, workspace: str) -> None:
    """List the schedules of a workspace."""
    rows = cli.api.call("GET", workspace_path(workspace, "schedules"))["schedules"]
    if cli.output == "table":
        for row in rows:
            row["needs"] = percent((row.get("forecast") or {}).get("share_percent"))
    show_rows(cli, rows, COLUMNS, f"no schedules yet: turnkeeper schedules add {workspace} …")
    needs = [row["forecast"] for row in rows if row.get("forecast")]
    if cli.output == "table" and needs:
        click.echo(plain(needs[0]["sentence"]))


@schedules.command()
@click.argument("workspace")
@click.option("--name", required=True)
@definition
@connected
def add(cli: Cli, workspace: str, **named: Any) -> None:
    """Add a schedule."""
    body = definition_body(**named)
    if "cron_expr" not in body or "prompt" not in body:
        raise click.UsageError("a schedule needs --cron and --prompt (or --prompt-file)")
    row = cli.api.call("POST", workspace_path(workspace, "schedules"), body)
    made = row.get("id", body["name"])
    show_done(cli, row, f"added {made}; see: turnkeeper schedules preview {workspace} {made}")
    tell_need(row.get("forecast"))


@schedules.command("set")
@click.argument("workspace")
@click.argument("schedule")
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
@click.argument("workspace")
@click.argument("schedule")
@connected
def run(cli: Cli, workspace: str, schedule: str) -> None:
    """Fire a schedule now."""
    answer = cli.api.call("POST", schedule_path(cli, workspace, schedule, "run"), {})
    show_done(cli, answer, f"fired {schedule}; see: turnkeeper turns ls {workspace}")


@schedules.command()
@click.argument("workspace")
@click.argument("schedule")
@click.option("--reason", default="")
@connected
def pause(cli: Cli, workspace: str, schedule: str, reason: str) -> None:
    """Make no more fires."""
    path = schedule_path(cli, workspace, schedule, "pause")
    answer = cli.api.call("POST", path, {"reason": reason})
    show_done(cli, answer, f"paused {schedule}")


@schedules.command()
@click.argument("workspace")
@click.argument("schedule")
@connected
def resume(cli: Cli, workspace: str, schedule: str) -> None:
    """Make fires again."""
    answer = cli.api.call("POST", schedule_path(cli, workspace, schedule, "resume"), {})
    show_done(cli, answer, f"resumed {schedule}")


@schedules.command("rm")
@click.argument("workspace")
@click.argument("schedule")
@connected
def remove(cli: Cli, workspace: str, schedule: str) -> None:
    """Delete a schedule."""
    answer = cli.api.call("DELETE", schedule_path(cli, workspace, schedule))
    show_done(cli, answer, f"deleted {schedule}")


@schedules.command()
@click.argument("workspace")
@click.argument("schedule")
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True)
@connected
def preview(cli: Cli, workspace: str, schedule: str, count: int) -> None:
    """Show when it fires next."""
    path = schedule_path(cli, workspace, schedule, "preview")
    answer = cli.api.call("GET", path, query={"count": count})
    if cli.output == "table":
        for moment in answer["next"]:
            click.echo(moment)
    else:
        show_done(cli, answer, "")


@schedules.command()
@click.argument("workspace")
@click.argument("schedule")
@click.option("--start", required=True, help="RFC 3339, such as 2026-01-31T09:00:00Z.")
@click.option("--end", required=True, help="RFC 3339; not included, and not in the future.")
@click.option("--overlap-policy", help="buffer_all unless told otherwise.")
@click.option("--dry-run", is_flag=True, help="Count only; nothing is made.")
@click.option("--wait", is_flag=True, help="Until all its fires have ended.")
@connected
def backfill(
    cli: Cli, workspace: str, schedule: str, dry_run: bool, wait: bool, **named: Any
) -> None:
    """Make the fires of a range that has passed; the same range again goes on."""
    path = schedule_path(cli, workspace, schedule, "backfill")
    body = {name: value for name, value in named.items() if value is not None}
    answer = cli.api.call("POST", path, body | ({"dry_run": True} if dry_run else {}))
    if dry_run:
        left = answer["requested"] - answer["already"]
        show_done(cli, answer, f"would make {left} of {answer['requested']} fires")
        return
    if wait:
        answer = followed(cli, path, answer)
    text = f"made {answer['made']} of {answer['requested']} fires, {answer['already']} were there"
    if answer["stopped"]:
        hit = answer["stopped"]
        text += f"; stopped at {hit['limit_count']} by {hit['setting']}: repeat it to go on"
    if answer["ended"]:
        ends = ", ".join(f"{count} {state}" for state, count in answer["ended"].items())
        text += f"; ended: {ends}"
    show_done(cli, answer, text)


def followed(cli: Cli, path: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The backfill when nothing of it waits or runs; with a bar on a terminal."""
    stopped, never = answer["stopped"], threading.Event()
    with click.progressbar(
        length=answer["requested"], label="ended", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        while True:
            bar.update(round(answer["share_done"] * answer["requested"]) - bar.pos)
            if not answer["waiting"] + answer["running"]:
                return {**answer, "stopped": stopped}
            never.wait(FOLLOW_S)
            rows = cli.api.call("GET", path)["backfills"]
            answer = next(row for row in rows if row["id"] == answer["id"])
