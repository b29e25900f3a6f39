"""``turnkeeper export`` and ``turnkeeper import``: the configuration of everything in a file."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any

import click

from app.cli.connection import Cli, connected, show_done, show_rows
from app.cli.faults import REFUSED, USAGE, Fault
from app.cli.yaml_reader import NotOurYaml, from_yaml
from app.cli.yaml_text import to_yaml

# Of one request: well below the platform's TURNKEEPER_IMPORT_MAX_COUNT and _BODY_MAX_BYTES.
PART_ITEMS_COUNT, PART_BYTES = 200, 500_000
KINDS = ("workspaces", "schedules", "memories", "webhooks")


@click.command("export")
@connected
def export_everything(cli: Cli) -> None:
    """Write workspaces, schedules, memories and webhooks to stdout.

    No turns, no tokens, no passwords, and no secrets of webhooks.

    Written as YAML, or with -o json as JSON; "turnkeeper import" reads both.
    """
    answer = cli.api.call("GET", "/admin/export")
    if cli.output == "json":
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        click.echo(to_yaml(answer), nl=False)


@click.command("import")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--dry-run", is_flag=True, help="Show what would become of each item.")
@connected
def import_everything(cli: Cli, file: IO[str], dry_run: bool) -> None:
    """Take in what "turnkeeper export" wrote ("-": stdin); twice changes nothing.

    All of it is checked before anything is changed.
    """
    found = list(parts(_read(file.read())))
    rows = _send(cli, found, "checking", is_dry=True)
    if not dry_run:
        rows = _send(cli, found, "importing", is_dry=False)
    counts = Counter(f"{row['kind']}s {row['outcome']}" for row in rows)
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
    if cli.output == "table":
        changed = [row for row in rows if row["outcome"] != "unchanged"]
        columns = "kind id workspace_id outcome changed reason"
        show_rows(cli, changed, columns, "nothing to change", "workspace_id changed")
    show_done(cli, {"dry_run": dry_run, "items": rows}, told + (" (dry run)" if dry_run else ""))
    refused = [row for row in rows if row["outcome"] == "refused"]
    if refused:
        why = "; ".join(f"{row['kind']} {row['id']}: {row['reason']}" for row in refused[:5])
        raise Fault(f"{len(refused)} of {len(rows)} items were refused", why, "", REFUSED)


def _send(
    cli: Cli, found: Sequence[dict[str, Any]], what: str, is_dry: bool
) -> list[dict[str, Any]]:
    """Every item's outcome; a workspace that was sent with several parts counts once."""
    outcomes: dict[tuple[str, ...], dict[str, Any]] = {}
    query = {"dry_run": "true" if is_dry else "false"}
    with click.progressbar(
        found, label=what, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as shown:
        for part in shown:
            for row in cli.api.call("POST", "/admin/import", part, query)["items"]:
                known = (row["kind"], str(row["workspace_id"]), row["id"])
                outcomes.setdefault(known, row)
    return list(outcomes.values())


def _read(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else from_yaml(text)
    except (NotOurYaml, ValueError) as error:
        raise Fault(
            "this file is not what turnkeeper export writes", str(error), exit_code=USAGE
        ) from error
    if not isinstance(document, dict):
        raise Fault("this file is not what turnkeeper export writes", exit_code=USAGE)
    return document


def parts(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The document in pieces that fit one request, each with the workspaces its items need."""
    listed = {kind: document.get(kind) or [] for kind in KINDS}
    rest = {name: value for name, value in document.items() if name not in KINDS}
    if not all(isinstance(items, list) for items in listed.values()):
        yield document  # the server says what is wrong with it
        return
    of = {item.get("id"): item for item in listed["workspaces"] if isinstance(item, dict)}
    queue = [(kind, item) for kind in KINDS for item in listed[kind]]
    part, size = _empty(rest), 0
    for kind, item in queue:
        owner = of.get(item.get("workspace_id")) if isinstance(item, dict) else None
        added = [(kind, item)]
        if owner is not None and owner not in part["workspaces"]:
            added.insert(0, ("workspaces", owner))
        weight = sum(len(json.dumps(one, ensure_ascii=False).encode()) for _, one in added)
        count = sum(len(part[name]) for name in KINDS)
        if count and (size + weight > PART_BYTES or count + len(added) > PART_ITEMS_COUNT):
            yield part
            part, size = _empty(rest), 0
            if owner is not None and len(added) == 1:
                added.insert(0, ("workspaces", owner))
        for name, one in added:
            part[name].append(one)
        size += weight
    yield part


def _empty(rest: dict[str, Any]) -> dict[str, Any]:
    return {**rest, **{kind: [] for kind in KINDS}}
