"""Routes that hand out and take in the configuration of everything."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any

from flask import Blueprint, Response, request

from app.api import bodies, models
from app.api.bounds import check_prompt
from app.api.operation import answer, operation, platform, validated
from app.core import backup as core
from app.core import forecasting
from app.core.clock import rfc3339
from app.core.platform import Platform
from app.core.schedule_import import too_many

blueprint = Blueprint("backup", __name__, url_prefix="/admin")
TAG = "admin"
KINDS = ("workspaces", "schedules", "memories", "webhooks")


@blueprint.get("/export")
@operation("admin", tag=TAG, reply=models.Backup)
def export_everything() -> Response:
    """Workspaces, schedules, memories and webhooks with their ids; no turns, tokens, passwords or
    webhook secrets.

    Sent while it is read: a document that was cut off is no JSON.
    """
    return Response(_written(platform()), content_type="application/json")


def _written(here: Platform) -> Iterator[str]:
    head = {"format": core.FORMAT, "version": core.VERSION, "exported_at": rfc3339(here.now_ms())}
    yield json.dumps(head)[:-1]
    left = list(KINDS)
    for kind, rows in groupby(core.items(here), key=lambda row: row[0]):
        left.remove(kind)
        for at, (_, item) in enumerate(rows):
            yield f', "{kind}": [' if at == 0 else ","
            yield json.dumps(item, ensure_ascii=False)
        yield "]"
    for kind in left:
        yield f', "{kind}": []'
    yield "}"


@blueprint.post("/import")
@operation(
    "admin",
    tag=TAG,
    query=models.BackupQuery,
    raw_body=models.Backup,
    reply=models.BackupTaken,
)
def import_everything(query: models.BackupQuery) -> Response:
    """Take a backup in: all of it is checked, then each item is applied; twice changes nothing.

    A large document is sent in parts, each with the workspaces that its schedules need.
    """
    document = bodies.read(bodies.raw(request) or b"{}")
    core.check_format(document)
    body: models.Backup = validated(models.Backup, document, "body")
    found = {kind: [_said(item) for item in getattr(body, kind)] for kind in KINDS}
    limit_count = platform().settings.import_max_count
    if (count := sum(map(len, found.values()))) > limit_count:
        raise too_many("body", "items", count, limit_count)
    core.check(found)
    for item in found["schedules"]:
        check_prompt("prompt", item["prompt"])
    outcomes = core.take(platform(), found, query.dry_run)
    if not query.dry_run:
        done = [row for row in outcomes if row.outcome in ("created", "updated")]
        changed = [row for row in done if row.kind in ("workspace", "schedule")]
        for workspace_id in {row.workspace_id or row.id for row in changed}:
            forecasting.check(platform(), workspace_id)
    return answer({"dry_run": query.dry_run, "items": [asdict(row) for row in outcomes]})


def _said(item: Any) -> dict[str, Any]:
    """Only what the document names; what a new schedule does not name has its default."""
    named: dict[str, Any] = item.model_dump(exclude_unset=True)
    return named
