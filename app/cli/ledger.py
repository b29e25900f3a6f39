"""``turnkeeper schedules history|fires|health|backfill``: what became of fires, and making more."""

import sys
import threading
from typing import Any

import click

from app.cli.client import workspace_path
from app.cli.connection import Cli, connected, show_done, show_rows
from app.cli.faults import REFUSED, Fault
from app.cli.names import schedule_argument, workspace_argument

FOLLOW_S = 0.5
FIRES = "nominal_at state turn_id duration_s attempt why"
# Left out in this order where the terminal is narrow.
FIRES_SPARE = "attempt turn_id"
HEALTH = "name status enabled interval_s last_fire_at last_state waiting_fires"
HEALTH_SPARE = "enabled interval_s last_state"
limited = click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)


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


@click.command()
@workspace_argument
@schedule_argument
@limited
@connected
def history(cli: Cli, workspace: str, schedule: str, limit: int) -> None:
    """List what became of each fire, the newest first."""
    _show_fires(cli, workspace, schedule, "history", limit)


@click.command()
@workspace_argument
@schedule_argument
@limited
@connected
def fires(cli: Cli, workspace: str, schedule: str, limit: int) -> None:
    """List the ledger, the newest nominal time first."""
    _show_fires(cli, workspace, schedule, "fires", limit)


def _show_fires(cli: Cli, workspace: str, schedule: str, noun: str, limit: int) -> None:
    path = schedule_path(cli, workspace, schedule, noun)
    rows = cli.api.call("GET", path, query={"limit": limit})[noun]
    show_rows(cli, rows, FIRES, "it has not fired yet", FIRES_SPARE)


@click.command()
@workspace_argument
@connected
def health(cli: Cli, workspace: str) -> None:
    """Show whether each schedule fires as often as it should."""
    rows = cli.api.call("GET", workspace_path(workspace, "schedules", "health"))["schedules"]
    show_rows(cli, rows, HEALTH, "no schedules", HEALTH_SPARE)


@click.command()
@workspace_argument
@schedule_argument
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
    rows = [] if dry_run else cli.api.call("GET", path)["backfills"]
    before = {row["id"]: row["made"] for row in rows}
    answer = cli.api.call("POST", path, body | ({"dry_run": True} if dry_run else {}))
    if dry_run:
        left = answer["requested"] - answer["already"]
        show_done(cli, answer, f"would make {left} of {answer['requested']} fires")
        return
    is_repeat = answer["id"] in before
    if wait:
        answer = followed(cli, path, answer)
    if is_repeat and answer["made"] == before[answer["id"]]:
        text = f"nothing new: this backfill of {answer['created_at']} "
    else:
        text = "goes on: " if is_repeat else ""
    text += f"made {answer['made']} of {answer['requested']} fires, {answer['already']} were there"
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
