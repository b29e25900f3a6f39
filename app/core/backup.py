"""The configuration of everything as one document, out and in again.

Workspaces, schedules, memories and webhooks with their ids; not turns, sessions, events or tokens,
and neither passwords nor secrets: an agent's address loses its ``user:password@`` on the way out.
In again it is idempotent: an item that is there and equal is unchanged, and a field that is not
named stays.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from app.core import cron, ids, keys, memory_backup, schedules, webhook_backup, workspaces
from app.core.errors import (
    InvalidInput,
    ScheduleNotFound,
    TurnkeeperError,
    UnknownFormat,
    WorkspaceRemoved,
)
from app.core.platform import Platform
from app.core.schedules import Schedule

FORMAT, VERSION = "turnkeeper-backup", 1
# What a schedule has by having lived, and not by being configured.
LIVED = frozenset({"created_at", "updated_at", "version", "prompt_version"})
Item = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one item: created, updated, unchanged, or refused with its reason."""

    kind: str
    id: str
    workspace_id: str | None
    outcome: str
    changed: tuple[str, ...] = ()
    reason: str = ""


# Out.


def items(platform: Platform) -> Iterator[tuple[str, Item]]:
    """Kind and item, workspaces first; each as it is when it is read, not all at one moment."""
    found = [item.id for item in workspaces.listing(platform)]
    for workspace_id in found:
        stored = platform.clients.data.hgetall(keys.of(workspace_id)["workspace"])
        yield "workspaces", workspace_item(workspace_id, stored)
    for workspace_id in found:
        for schedule in schedules.listing(platform, workspace_id):
            yield "schedules", schedule_item(schedule)
    for record in memory_backup.records(platform, found):
        yield "memories", record
    for record in webhook_backup.records(platform):
        yield "webhooks", record


def workspace_item(workspace_id: str, stored: Mapping[str, str]) -> Item:
    """A workspace's configuration; null: the default holds."""
    item: Item = {"id": workspace_id}
    for name, (field, is_ms) in workspaces.FIELDS.items():
        text = stored.get(field)
        item[name] = None if text is None else float(text) / 1000 if is_ms else text
    if item["max_concurrent"] is not None:
        item["max_concurrent"] = int(item["max_concurrent"])
    for name in ("legacy_card", "agent_checkpoint"):
        item[name] = None if item[name] is None else item[name] == "1"
    item["agent_url"] = without_password(item["agent_url"])
    item["agent_card"] = json.loads(item["agent_card"]) if item["agent_card"] else None
    is_paused = "paused_at" in stored
    return item | {"is_paused": is_paused, "paused_reason": stored.get("paused_reason", "")}


def without_password(url: str | None) -> str | None:
    """An address without ``user:password@``; one that cannot be read is not told at all."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if url else None


def schedule_item(schedule: Schedule) -> Item:
    """A schedule's configuration."""
    return {name: value for name, value in asdict(schedule).items() if name not in LIVED}


# In.


def check_format(document: Any) -> None:
    """Before anything else is looked at: a newer document may say everything otherwise.

    Raises:
        UnknownFormat.
    """
    told = document if isinstance(document, dict) else {}
    name, version = told.get("format"), told.get("version")
    if name != FORMAT:
        raise UnknownFormat(f"this is no {FORMAT}: its format is {json.dumps(name)[:80]}")
    if type(version) is not int or not 1 <= version <= VERSION:
        shown = json.dumps(version)[:80]
        raise UnknownFormat(
            f"{FORMAT} version {shown} is not known: this release reads up to {VERSION}",
            version_max=VERSION,
        )


def check(found: Mapping[str, Sequence[Item]]) -> None:
    """Every rule that needs no store; one broken rule and nothing is applied.

    Raises:
        InvalidInput: naming every broken rule.
    """
    rows: list[dict[str, str]] = []
    seen: set[tuple[str, ...]] = set()
    for kind, listed in found.items():
        for at, item in enumerate(listed):
            try:
                _check_item(kind, item, seen)
            except InvalidInput as refusal:
                row = refusal.fields["errors"][0]
                rows.append({"field": f"{kind}.{at}.{row['field']}", "rule": row["rule"]})
    if rows:
        told = InvalidInput(rows[0]["field"], rows[0]["rule"])
        told.fields["errors"] = rows
        raise told


def _check_item(kind: str, item: Item, seen: set[tuple[str, ...]]) -> None:
    if kind == "workspaces":
        ids.check_workspace(item["id"])
    elif kind == "schedules":
        ids.check_workspace(item["workspace_id"])
        cron.parse(item["cron_expr"], item["timezone"])
    elif kind == "webhooks":
        webhook_backup.check(item)
    names = (kind, *(str(item.get(name)) for name in ("scope", "team", "workspace_id", "id")))
    if names in seen:
        raise InvalidInput("id", f"stands twice in the document: {item['id']}")
    seen.add(names)


def take(platform: Platform, found: Mapping[str, Sequence[Item]], is_dry: bool) -> list[Outcome]:
    """Apply each item, or with ``is_dry`` only say what would become of it.

    An item that cannot be applied is refused with its reason and does not stop the others; the
    same document again goes on where this one was cut off.
    """
    rows = [
        _told("workspace", item, partial(_workspace, platform, item, is_dry))
        for item in found["workspaces"]
    ]
    # In a dry run the workspaces of this document are not there yet.
    coming = {row.id for row in rows if is_dry and row.outcome == "created"}
    for item in found["schedules"]:
        is_coming = item["workspace_id"] in coming
        rows.append(_told("schedule", item, partial(_schedule, platform, item, is_dry, is_coming)))
    for item in found["memories"]:
        is_coming = item.get("workspace_id") in coming
        rows.append(_told("memory", item, partial(_memory, platform, item, is_dry, is_coming)))
    for item in found["webhooks"]:
        rows.append(_told("webhook", item, partial(webhook_backup.put, platform, item, is_dry)))
    return rows


Changes = tuple[str, Sequence[str]]


def _told(kind: str, item: Item, act: Callable[[], Changes]) -> Outcome:
    known = (kind, str(item["id"]), item.get("workspace_id"))
    try:
        outcome, changed = act()
    except TurnkeeperError as refusal:
        return Outcome(*known, "refused", reason=refusal.detail)
    return Outcome(*known, outcome, tuple(sorted(changed)))


def _workspace(platform: Platform, item: Item, is_dry: bool) -> Changes:
    workspace_id = item["id"]
    (known,) = workspaces.read_many(platform, [workspace_id])
    if known is not None and known.stored["status"] == "removed":
        raise WorkspaceRemoved("the workspace was removed; its id is not given again")
    has = workspace_item(workspace_id, known.stored if known else {})
    said = {name: value for name, value in item.items() if name != "id"}
    changed = [name for name, value in said.items() if value != has[name]]
    if not is_dry:
        fields = {name: said[name] for name in changed if name in workspaces.FIELDS}
        if known is None:  # not create: the agent may register itself at this moment
            workspaces.register(platform, workspace_id, {})
        if fields:
            workspaces.change(platform, workspace_id, fields)
        if {"is_paused", "paused_reason"} & set(changed):
            _pause(platform, workspace_id, {**has, **said})
    if known is None:
        return "created", ()
    return ("updated" if changed else "unchanged"), changed


def _pause(platform: Platform, workspace_id: str, wanted: Item) -> None:
    if wanted["is_paused"]:
        workspaces.pause(platform, workspace_id, wanted["paused_reason"])
    else:
        workspaces.resume(platform, workspace_id)


def _schedule(platform: Platform, item: Item, is_dry: bool, is_coming: bool) -> Changes:
    workspace_id, schedule_id = item["workspace_id"], item["id"]
    if is_coming:
        return "created", ()
    workspaces.require(platform, workspace_id)
    said = {name: item[name] for name in item if name not in ("id", "workspace_id")}
    try:
        has = schedule_item(schedules.get(platform, workspace_id, schedule_id))
    except ScheduleNotFound:
        if not is_dry:
            schedules.create(platform, workspace_id, said, schedule_id)
        return "created", ()
    changed = [name for name, value in said.items() if value != has[name]]
    if changed and not is_dry:
        fields = {name: said[name] for name in changed}
        schedules.change(platform, workspace_id, schedule_id, fields)
    return ("updated" if changed else "unchanged"), changed


def _memory(platform: Platform, item: Item, is_dry: bool, is_coming: bool) -> Changes:
    return memory_backup.put(platform, item, is_dry, is_coming), ()
