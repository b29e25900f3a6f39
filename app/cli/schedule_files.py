"""``turnkeeper schedules import|export|explain|forecast``: crontabs, and cron in words."""

from typing import IO, Any

import click

from app.cli.client import workspace_path
from app.cli.connection import Cli, connected, show_done, show_rows
from app.cli.faults import REFUSED, Fault
from app.cli.names import workspace_argument
from app.cli.plain_text import plain

COLUMNS = "line action name cron_expr timezone words next_fire problem"
# Left out in this order where the terminal is narrow.
SPARE = "words timezone next_fire"


@click.command("import")
@workspace_argument
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--dry-run", is_flag=True, help="Show what would be made; change nothing.")
@click.option("--skip-bad", is_flag=True, help="Take the good lines although others are bad.")
@click.option("--prompt-template", help='"{command}" in it is the line\'s command.')
@connected
def import_crontab(cli: Cli, workspace: str, file: IO[str], dry_run: bool, **more: Any) -> None:
    """Make schedules of a crontab ("-": stdin); the same file again changes nothing."""
    body = {"crontab": file.read(), "skip_bad": more["skip_bad"]}
    if more["prompt_template"] is not None:
        body["prompt_template"] = more["prompt_template"]
    path = workspace_path(workspace, "schedules", "import")
    plan = cli.api.call("POST", path, body | {"dry_run": True})
    bad = [row for row in plan["lines"] if row["action"] == "error"]
    if dry_run or (bad and not more["skip_bad"]):
        _show(cli, plan)
    if bad and not more["skip_bad"]:
        raise Fault(
            f"{len(bad)} of {len(plan['lines'])} lines cannot be taken; nothing was changed",
            "; ".join(f"line {row['line']}: {row['field']}: {row['rule']}" for row in bad),
            "mend them, or take the others with --skip-bad",
            REFUSED,
        )
    if not dry_run:
        _show(cli, cli.api.call("POST", path, body))


def _show(cli: Cli, answer: dict[str, Any]) -> None:
    if cli.output != "table":
        show_done(cli, answer, "")
        return
    rows = [
        row
        | {
            "next_fire": next(iter(row["next"]), None),
            "problem": f"{row['field']}: {row['rule']}" if row["rule"] else None,
        }
        for row in answer["lines"]
    ]
    show_rows(cli, rows, COLUMNS, "the crontab has no line that makes a schedule", SPARE)
    for note in answer["passed"]:
        click.echo(plain(f"line {note['line']}: {note['text']}"), err=True)
    if answer["dry_run"]:
        click.echo("nothing was changed (dry run)", err=True)
    click.echo(plain(answer["forecast"]))


@click.command("export")
@workspace_argument
@connected
def export_crontab(cli: Cli, workspace: str) -> None:
    """Write the schedules as a crontab; with -o json or yaml, whole."""
    if cli.output == "table":
        answer = cli.api.call("GET", workspace_path(workspace, "schedules", "export"))
        click.echo(plain(answer["crontab"], keep_lines=True), nl=False)
    else:
        show_done(cli, cli.api.call("GET", workspace_path(workspace, "schedules")), "")


@click.command()
@click.argument("expr")
@click.option("--timezone", "--tz", default="UTC", show_default=True, help="IANA name.")
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True)
@connected
def explain(cli: Cli, expr: str, timezone: str, count: int) -> None:
    """Say a cron expression in words, and when it fires next."""
    query = {"expr": expr, "timezone": timezone, "count": count}
    answer = cli.api.call("GET", "/cron/explain", query=query)
    show_done(cli, answer, "\n".join([plain(answer["description"]), *answer["next"]]))


@click.command()
@workspace_argument
@connected
def forecast(cli: Cli, workspace: str) -> None:
    """Show what share of its slots the schedules of a workspace need."""
    answer = cli.api.call("GET", workspace_path(workspace, "schedules", "forecast"))
    if cli.output != "table":
        show_done(cli, answer, "")
        return
    columns = "name basis fires_per_day samples mean_duration_s p90_duration_s needs at_worst"
    spare = "samples p90_duration_s basis fires_per_day"
    rows = [
        row
        | {"needs": percent(row["share_percent"]), "at_worst": percent(row["worst_share_percent"])}
        for row in answer["schedules"]
    ]
    show_rows(cli, rows, columns, "no schedule is enabled", spare)
    click.echo(plain(answer["sentence"]))
    for item in answer["advice"]:
        click.echo(plain(f"  {item['text']}"))


def percent(value: float | None) -> str | None:
    """``140.0`` as ``140 %``."""
    return None if value is None else f"{value:.0f} %"


def tell_need(need: dict[str, Any] | None) -> None:
    """After a change: what the workspace needs now, and what would bring it down; on stderr."""
    if need:
        click.echo(plain(need["sentence"]), err=True)
        for text in need["advice"]:
            click.echo(plain(f"  {text}"), err=True)
