"""``turnkeeper tail``: the live feed of one workspace, or of all."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import click

from app.cli.client import Api, ServerEvent, workspace_path
from app.cli.connection import Cli, connected
from app.cli.event_line import event_line
from app.cli.faults import TIMED_OUT, UNREACHABLE, Fault
from app.cli.names import optional_workspace
from app.cli.plain_text import plain
from app.cli.yaml_text import to_yaml

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0


@click.command()
@optional_workspace
@click.option("--since", help="Also what happened before, such as 10m.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--colour/--no-colour", default=None, hidden=True)
@connected
def tail(
    cli: Cli, workspace: str | None, since: str | None, as_json: bool, colour: bool | None
) -> None:
    """Follow events (of all workspaces with an admin token); Ctrl-C ends it."""
    path = workspace_path(workspace, "events", "stream") if workspace else "/events/stream"
    is_ndjson = as_json or cli.output == "json"
    lost = threading.Event()
    try:
        for event in follow(cli.api, path, since, _tell_loss, lost.wait):
            data = _decoded(event)
            if is_ndjson:
                click.echo(json.dumps(data, ensure_ascii=False))
            elif cli.output == "yaml":
                click.echo(f"---\n{to_yaml(data)}", nl=False)
            elif event.name == "snapshot":
                click.echo(f"-- {plain(str(data.get('why', {}).get('sentence', '')))}")
            else:
                click.echo(event_line(event.name, data, with_workspace=not workspace), color=colour)
    except KeyboardInterrupt:
        return


def follow(
    api: Api,
    path: str,
    since: str | None,
    tell: Callable[[str], None],
    wait: Callable[[float], object],
) -> Iterator[ServerEvent]:
    """Events without end: a broken line is taken up again after the last id seen.

    The snapshot is passed on only the first time. A server that was never reached, or that
    refuses (unknown workspace, revoked token), ends it.
    """
    last_id, has_connected, pause_s = "", False, FIRST_PAUSE_S
    while True:
        try:
            for event in api.stream(path, {"since": None if last_id else since}, last_id):
                last_id, pause_s = event.id or last_id, FIRST_PAUSE_S
                if event.name == "bye":
                    break
                if not (has_connected and event.name == "snapshot"):
                    yield event
                has_connected = True
        except Fault as fault:
            if not has_connected or fault.exit_code not in (UNREACHABLE, TIMED_OUT):
                raise
            tell(f"{fault.message}; trying again in {pause_s:g} s")
        wait(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def _tell_loss(text: str) -> None:
    click.echo(f"-- {text}", err=True)


def _decoded(event: ServerEvent) -> dict[str, Any]:
    try:
        data = json.loads(event.data)
    except ValueError:
        data = {"payload": {"text": event.data}}
    return data if isinstance(data, dict) else {"payload": {"text": event.data}}
