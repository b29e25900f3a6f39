"""Routes of agents of the field platform: registration and heartbeats, wire unchanged."""

from flask import Blueprint, Response

from app.api import models, views
from app.api.operation import answer, count, operation, platform, require, token
from app.core import capacity, tokens, workspaces
from app.core.admission import Pace
from app.core.errors import Unauthorized

blueprint = Blueprint("registry", __name__)
TAG = "registry"
# A runtime that is started again registers again; its last tokens still work while it does.
RUNTIME_TOKENS_KEPT = 5


def _admit(workspace_id: str) -> None:
    """These routes name the workspace in the body: it is counted, then its scope checked.

    Raises:
        Forbidden, RateLimited.
    """
    count(Pace.AGENT, workspace_id, "runtime")
    require("runtime", workspace_id)


@blueprint.post("/registry/register")
@operation(
    "runtime",
    is_anywhere=True,
    pace=Pace.LATER,
    tag=TAG,
    body=models.Register,
    reply=models.Registered,
    refusals=(410,),
)
def register(body: models.Register) -> Response:
    """Register an agent; an operator's token gets a runtime token for it, shown once."""
    _admit(body.id)
    name = (body.agent_card or {}).get("name")
    fields = {
        "agent_url": body.url,
        "agent_card": body.agent_card,
        "name": name[:1024] if isinstance(name, str) else None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    workspaces.register(platform(), body.id, given)
    text = None
    if tokens.reach(platform(), token(), "operate", body.id):
        text = tokens.create_for_agent(platform(), token(), body.id, RUNTIME_TOKENS_KEPT)
        if text is None:
            raise Unauthorized
    return answer({"status": "registered", "auth_token": text})


@blueprint.post("/registry/update-card")
@operation(
    "runtime",
    is_anywhere=True,
    pace=Pace.LATER,
    tag=TAG,
    body=models.Card,
    reply=models.Ok,
    refusals=(404, 410),
)
def update_card(body: models.Card) -> Response:
    """Replace an agent's card."""
    _admit(body.id)
    workspaces.change(platform(), body.id, {"agent_card": body.agent_card})
    return answer({"status": "ok"})


@blueprint.post("/registry/heartbeat")
@operation(
    "runtime",
    is_anywhere=True,
    pace=Pace.LATER,
    tag=TAG,
    body=models.FieldHeartbeat,
    reply=models.HeartbeatAnswer,
    refusals=(404, 410),
)
def registry_heartbeat(body: models.FieldHeartbeat) -> Response:
    """The field platform's heartbeat: it counts its tasks and names no session."""
    _admit(body.workspace_id)
    return beat(body.workspace_id, body)


@blueprint.post("/workspaces/<workspace_id>/heartbeat")
@operation(
    "runtime",
    tag="runtime",
    body=models.Heartbeat,
    reply=models.HeartbeatAnswer,
    refusals=(410,),
)
def heartbeat(workspace_id: str, body: models.Heartbeat) -> Response:
    """A runtime's heartbeat; the answer carries what its sessions are asked to do."""
    return beat(workspace_id, body)


def beat(workspace_id: str, body: models.Heartbeat) -> Response:
    """Take a heartbeat of either form."""
    idle_s = capacity.UNSET
    if "idle_timeout_s" in body.model_fields_set:
        idle_s = body.idle_timeout_s
    elif body.runtime_metadata and "idle_timeout_seconds" in body.runtime_metadata.model_fields_set:
        idle_s = body.runtime_metadata.idle_timeout_seconds
    said = capacity.Beat(
        seq=body.seq,
        instance=body.instance,
        active_tasks=body.active_tasks,
        max_concurrent=body.max_concurrent,
        sessions=body.sessions,
        error_rate=body.error_rate,
        runtime_state=body.runtime_state,
        current_task=body.current_task,
        idle_timeout_s=idle_s,
    )
    taken = capacity.heartbeat(platform(), workspace_id, said)
    return answer(
        {
            "status": "ok" if taken.accepted else "stale",
            "workspace_status": taken.status,
            "directives": views.directives(taken.directives),
            "queue_depth": taken.depth,
        }
    )
