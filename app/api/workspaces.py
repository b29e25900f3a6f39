"""Routes of workspaces: creating, reading, changing, pausing, and why one waits."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response

from app.api import models, views
from app.api.operation import answer, operation, platform, require, token
from app.core import events, keys, policy, sessions, why
from app.core import workspaces as core

blueprint = Blueprint("workspaces", __name__)
TAG = "workspaces"

ACTIVITY_OF_EVENT = {
    "MESSAGE_QUEUED": "a2a_receive",
    "AGENT_MESSAGE": "a2a_send",
    "A2A_RESPONSE": "a2a_send",
    "CRON_EXECUTED": "cron_run",
    "CRON_SKIPPED": "cron_run",
    "CRON_MISSED": "cron_run",
    "TASK_UPDATED": "task_update",
    "SESSION_STARTED": "task_update",
    "SESSION_ENDED": "task_update",
    "TURN_RETURNED": "error",
    "TURN_DEAD": "error",
    "WRITE_FENCED": "error",
    "LIMIT_HIT": "error",
}


def _shown(found: core.Workspace) -> dict[str, Any]:
    (row,) = _rows([found])
    return row


def _rows(found: list[core.Workspace]) -> list[dict[str, Any]]:
    here = platform()
    fresh, now = policy.read_many(here, found), here.now_ms()
    return [views.workspace(one, here.settings, fresh.get(one.id, []), now) for one in found]


def _may_join(team: str | None) -> None:
    """A team's members read one another's memories, so who joins must reach all of them.

    Raises:
        Forbidden.
    """
    if team and not token().allows("operate", None):
        for member in core.members_of(platform(), team):
            require("operate", member)


@blueprint.post("/workspaces")
@operation(
    "operate",
    tag=TAG,
    body=models.NewWorkspace,
    reply=models.Workspace,
    status=201,
    refusals=(409, 410),
)
def create_workspace(body: models.NewWorkspace) -> Response:
    """Create a workspace."""
    _may_join(body.team)
    fields = body.model_dump(exclude_unset=True, exclude={"id"})
    return answer(_shown(core.create(platform(), body.id, fields)), 201)


@blueprint.get("/workspaces")
@operation("read", tag=TAG, reply=models.Workspaces, is_anywhere=True)
def list_workspaces() -> Response:
    """The workspaces that the token reaches."""
    found = [
        item
        for item in core.listing(platform())
        if token().allows("read", item.id, item.stored.get("team"))
    ]
    return answer({"workspaces": _rows(found)})


@blueprint.get("/workspaces/<workspace_id>")
@operation("read", tag=TAG, reply=models.Workspace)
def show_workspace(workspace_id: str) -> Response:
    """One workspace, with the oldest wait."""
    found = core.get(platform(), workspace_id)
    oldest_s = why.explain(platform(), workspace_id).oldest_wait_s
    return answer(_shown(found) | {"oldest_wait_s": oldest_s if found.depth else None})


@blueprint.patch("/workspaces/<workspace_id>")
@operation(
    "operate", tag=TAG, body=models.ChangedWorkspace, reply=models.Workspace, refusals=(410,)
)
def change_workspace(workspace_id: str, body: models.ChangedWorkspace) -> Response:
    """Change configuration; null clears a field."""
    _may_join(body.team)
    fields = body.model_dump(exclude_unset=True)
    return answer(_shown(core.change(platform(), workspace_id, fields)))


@blueprint.delete("/workspaces/<workspace_id>")
@operation("operate", tag=TAG, reply=models.Ok)
def remove_workspace(workspace_id: str) -> Response:
    """Remove a workspace; every open turn is canceled. Its id is not given again."""
    core.require(platform(), workspace_id)
    core.remove(platform(), workspace_id)
    return answer({"status": "ok"})


@blueprint.post("/workspaces/<workspace_id>/pause")
@operation("operate", tag=TAG, body=models.Reason, reply=models.Workspace, refusals=(410,))
def pause_workspace(workspace_id: str, body: models.Reason) -> Response:
    """No new claims until resumed; running work is left alone."""
    return answer(_shown(core.pause(platform(), workspace_id, body.reason)))


@blueprint.post("/workspaces/<workspace_id>/resume")
@operation("operate", tag=TAG, reply=models.Workspace, refusals=(410,))
def resume_workspace(workspace_id: str) -> Response:
    """Serve again what waits."""
    return answer(_shown(core.resume(platform(), workspace_id)))


@blueprint.get("/workspaces/<workspace_id>/why")
@operation("read", tag=TAG, reply=models.WhyAnswer)
def why_workspace(workspace_id: str) -> Response:
    """One sentence and a reason code: why nothing runs, or what everything waits for."""
    return answer(asdict(why.explain(platform(), workspace_id)))


@blueprint.get("/workspaces/<workspace_id>/activity")
@operation("read", tag="activity", query=models.ActivityQuery, reply=models.Activities)
def list_activity(workspace_id: str, query: models.ActivityQuery) -> Response:
    """What happened, newest first, by the field platform's types."""
    core.require(platform(), workspace_id)
    rows: list[dict[str, Any]] = []
    before = "+"
    while len(rows) < query.limit:
        page = events.latest(platform(), workspace_id, 500, before)
        rows += [
            row for event in page if (row := _activity(event)) and query.type in (None, row["type"])
        ]
        if len(page) < 500:
            break
        before = f"({page[-1].id}"
    return answer({"activities": rows[: query.limit]})


def _activity(event: events.Event) -> dict[str, Any] | None:
    kind = ACTIVITY_OF_EVENT.get(event.event)
    if event.event == "ACTIVITY_LOGGED":
        kind = str(event.payload.get("type", "agent_log"))
    if event.event == "POLICY_CHANGED" and "memory_seq" in event.payload:
        kind = "memory_write"
    return {"type": kind, **event.envelope()} if kind else None


@blueprint.post("/workspaces/<workspace_id>/activity")
@operation("runtime", tag="activity", body=models.Activity, reply=models.Appended, status=201)
def log_activity(workspace_id: str, body: models.Activity) -> Response:
    """Write to the activity log."""
    core.require(platform(), workspace_id)
    payload = body.model_dump(exclude_none=True)
    event_id = events.append(platform(), workspace_id, "ACTIVITY_LOGGED", payload)
    return answer({"status": "ok", "id": event_id}, 201)


@blueprint.post("/workspaces/<workspace_id>/notify")
@operation("runtime", tag="activity", body=models.Notify, reply=models.Appended)
def notify(workspace_id: str, body: models.Notify) -> Response:
    """The agent's word to the user, as an AGENT_MESSAGE event; no turn ends by it."""
    core.require(platform(), workspace_id)
    payload = {"text": body.message, "origin": "notify"}
    event_id = events.append(platform(), workspace_id, "AGENT_MESSAGE", payload)
    return answer({"status": "ok", "id": event_id})


def snapshot(workspace_id: str) -> dict[str, Any]:
    """What a stream begins with: the workspace, its live sessions, and why it waits."""
    now = platform().now_ms()
    live = sessions.live(platform(), workspace_id)
    return {
        "workspace": _shown(core.get(platform(), workspace_id)),
        "sessions": [views.session(workspace_id, item, now) for item in live],
        "why": asdict(why.explain(platform(), workspace_id)),
        "zombies": platform().clients.data.zcard(keys.of(workspace_id)["zombies"]),
    }
