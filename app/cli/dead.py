"""``turnkeeper dead``: turns that were given up."""

import sys
import threading
from collections.abc import Callable
from typing import Any

import click

from app.cli.client import segment, workspace_path
from app.cli.connection import Cli, connected, show_done, show_row, show_rows
from app.cli.faults import FAILED, Fault
from app.cli.names import optional_workspace, workspace_argument
from app.cli.parameters import DURATION, body_of

COLUMNS = "workspace_id id origin mechanism attempt ended_at schedule_id"
# Left out in this order where the terminal is narrow.
SPARE = "schedule_id attempt ended_at origin"
RUNS = "id state settled total good bad reason"
RUNS_SPARE = "total good"
BASE = "/admin/dead-letters"
LOOK_S = 1.0


@click.group()
def dead() -> None:
    """List, show, replay and discard dead letters."""


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which dead letters are meant."""
    for option in (
        click.option("--newer-than", "newer_than_s", type=DURATION, help="Given up since: 2h."),
        click.option("--older-than", "older_than_s", type=DURATION, help="Given up before: 2h."),
        click.option("--origin", help="chat, agent or cron."),
        click.option("--reason", help="What gave it up: lost, idle_timeout, delivery_failed."),
        click.option("--workspace", "workspace_id", help="Default: every workspace."),
    ):
        command = option(command)
    return command


@dead.command("ls")
@filtered
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@connected
def list_all(cli: Cli, **named: Any) -> None:
    """List dead letters."""
    found = cli.api.call("GET", BASE, query=body_of((), **named))
    show_rows(cli, found["dead_letters"], COLUMNS, "no dead letters", SPARE)
    if cli.output == "table" and found["total"] > len(found["dead_letters"]):
        click.echo(f"{found['total']} in all", err=True)


@dead.command()
@workspace_argument
@click.argument("turn")
@connected
def show(cli: Cli, workspace: str, turn: str) -> None:
    """Show one, with what was asked."""
    show_row(cli, cli.api.call("GET", workspace_path(workspace, "turns", turn)))


@dead.command()
@optional_workspace
@click.argument("turn", required=False)
@filtered
@click.option("--all", "is_all", is_flag=True, help="Every dead letter of every workspace.")
@click.option("--at-once", type=click.IntRange(1, 100), default=1, show_default=True)
@click.option("--stop-after", type=click.IntRange(1, 1000), default=3, show_default=True,
              help="Bad ends in a row.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the run.")
@connected
def replay(
    cli: Cli,
    workspace: str | None,
    turn: str | None,
    is_all: bool,
    wait: bool,
    at_once: int,
    stop_after: int,
    dry_run: bool,
    **named: Any,
) -> None:
    """Replay one (WORKSPACE TURN), or those that are meant, some at a time.

    A run goes on without this command; ``dead runs`` and ``dead watch`` show it, ``dead stop``
    lets it begin no further replay.
    """
    if workspace is not None:
        _replay_one(cli, workspace, turn, bool(dry_run or is_all or body_of((), **named)))
        return
    body = _meant(is_all, **named) | {"at_once": at_once, "stop_after": stop_after}
    run = cli.api.call("POST", f"{BASE}/replay", body | {"dry_run": dry_run})
    if dry_run:
        show_done(cli, run, f"{run['total']} dead letters would be replayed")
    elif wait:
        _follow(cli, run)
    else:
        show_done(cli, run, f"run {run['id']}: {run['total']} dead letters")


def _replay_one(cli: Cli, workspace: str, turn: str | None, has_more: bool) -> None:
    if turn is None or has_more:
        raise click.UsageError("one: WORKSPACE TURN and nothing else; several: options only")
    path = workspace_path(workspace, "turns", turn, "replay")
    answer = cli.api.call("POST", path, {})
    show_done(cli, answer, f"queued again as {answer['id']}")


def _meant(is_all: bool, **named: Any) -> dict[str, Any]:
    body = body_of((), **named)
    if not body and not is_all:
        raise click.UsageError("which? Give WORKSPACE TURN, a filter, or --all")
    return body


def _follow(cli: Cli, run: dict[str, Any]) -> None:
    """Show how far a run is until it ends; exit code 1 where it was stopped."""
    shown, is_tty = -1, sys.stderr.isatty()
    with click.progressbar(
        length=run["total"], label="replayed", file=sys.stderr, hidden=not is_tty
    ) as bar:
        while run["state"] == "running":
            bar.update(run["settled"] - bar.pos)
            if run["settled"] != shown and cli.output == "table" and not is_tty:
                shown = run["settled"]
                click.echo(_line(run), err=True)
            threading.Event().wait(LOOK_S)
            run = cli.api.call("GET", f"{BASE}/replays/{segment(run['id'])}")
        bar.update(run["settled"] - bar.pos)
    show_done(cli, run, f"{_line(run)}\n{run['state']}: {run['reason']}")
    if run["state"] == "stopped":
        next_step = f"turnkeeper dead ls   (what is left; run {run['id']} does not go on)"
        raise Fault("the run of replays was stopped", run["reason"], next_step, FAILED)


def _line(run: dict[str, Any]) -> str:
    return (
        f"{run['id']}: {run['settled']} of {run['total']} ended, "
        f"{run['bad']} badly, {len(run['under_way'])} under way"
    )


@dead.command()
@connected
def runs(cli: Cli) -> None:
    """List runs of replays, newest first."""
    show_rows(cli, cli.api.call("GET", f"{BASE}/replays")["runs"], RUNS, "no runs", RUNS_SPARE)


@dead.command()
@click.argument("run_id")
@connected
def watch(cli: Cli, run_id: str) -> None:
    """Follow a run of replays until it ends."""
    _follow(cli, cli.api.call("GET", f"{BASE}/replays/{segment(run_id)}"))


@dead.command()
@click.argument("run_id")
@click.option("--reason", default="", help="Kept with the run.")
@connected
def stop(cli: Cli, run_id: str, reason: str) -> None:
    """Let a run begin no further replay; those under way go on."""
    body = {"reason": reason}
    run = cli.api.call("POST", f"{BASE}/replays/{segment(run_id)}/cancel", body)
    show_done(cli, run, f"{run['id']} is {run['state']}: {run['reason']}")


@dead.command()
@optional_workspace
@click.argument("turn", required=False)
@filtered
@click.option("--all", "is_all", is_flag=True, help="Every dead letter of every workspace.")
@click.option("--because", default="", help="Told with each.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@connected
def discard(
    cli: Cli,
    workspace: str | None,
    turn: str | None,
    is_all: bool,
    because: str,
    dry_run: bool,
    **named: Any,
) -> None:
    """Give up one (WORKSPACE TURN), or those that are meant."""
    if workspace is not None:
        if turn is None or dry_run or is_all or body_of((), **named):
            raise click.UsageError("one: WORKSPACE TURN and nothing else; several: options only")
        path = workspace_path(workspace, "turns", turn, "discard")
        answer = cli.api.call("POST", path, {"reason": because})
        show_done(cli, answer, f"discarded {turn}")
        return
    body = {**_meant(is_all, **named), "discard_reason": because, "dry_run": dry_run}
    total = 0
    while True:
        answer = cli.api.call("POST", f"{BASE}/discard", body)
        total += answer["discarded"]
        if dry_run or not answer["left"] or not answer["discarded"]:
            break
    total += answer["left"] if dry_run else 0
    verb = "would be discarded" if dry_run else "discarded"
    show_done(cli, answer | {"discarded": total}, f"{total} dead letters {verb}")
