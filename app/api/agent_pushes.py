"""Where agents behind URLs push that a task of theirs has moved."""

from flask import Blueprint, Response, request

from app.api import bodies
from app.api.operation import PUBLIC, operation, platform
from app.core import agent_pushes

blueprint = Blueprint("agent_pushes", __name__)
TAG = "a2a"
TOKEN_HEADER = "X-A2A-Notification-Token"  # noqa: S105 - a header's name


@blueprint.post("/workspaces/<workspace_id>/a2a/push/<session_id>")
@operation(PUBLIC, tag=TAG, status=204, refusals=(401, 404, 410, 413, 429, 503))
def take_agent_push(workspace_id: str, session_id: str) -> Response:
    """A push from the agent of a session, by the token that the agent was sent. What it says is
    not kept: the agent is asked how its task stands."""
    secret = request.headers.get(TOKEN_HEADER, "")
    agent_pushes.accept(platform(), workspace_id, session_id, secret)
    bodies.raw(request)  # no more than the limit; too long a body was a hint all the same
    return Response(status=204)
