"""Route of delegations: what one workspace's agent has asked of another's."""

from typing import Any

from flask import Blueprint, Response

from app.api import models
from app.api.operation import answer, operation, platform, token
from app.core import delegations, tokens, workspaces
from app.core.clock import rfc3339
from app.core.delegations import Delegation

blueprint = Blueprint("delegations", __name__)


@blueprint.get("/workspaces/<workspace_id>/delegations")
@operation("read or runtime", tag="turns", query=models.DelegationQuery, reply=models.Delegations)
def list_delegations(workspace_id: str, query: models.DelegationQuery) -> Response:
    """Turns between agents that this workspace has sent or received, newest first."""
    workspaces.require(platform(), workspace_id)
    found: list[Delegation] = []
    if query.direction in (None, "received"):
        found += delegations.received(platform(), workspace_id, query.limit)
    if query.direction in (None, "sent"):
        found += delegations.sent(platform(), workspace_id, query.limit)
    found.sort(key=lambda one: one.created_at, reverse=True)
    return answer([_row(workspace_id, one) for one in found[: query.limit]])


def _row(workspace_id: str, found: Delegation) -> dict[str, Any]:
    is_shown = found.target_id == workspace_id or any(
        tokens.reach(platform(), token(), scope, found.target_id) for scope in ("read", "send")
    )
    turn = found.turn if is_shown else None
    return {
        "delegation_id": found.id,
        "direction": found.direction,
        "source_id": found.source_id,
        "target_id": found.target_id,
        "summary": found.summary,
        "status": turn.state if turn else None,
        "created_at": rfc3339(found.created_at),
        "updated_at": rfc3339(turn.state_at) if turn else None,
        "ended_at": rfc3339(turn.ended_at) if turn else None,
    }
