"""The field platform's short form: ``{method, params}``, answered at once, and its queue entries.

Its canvas and its scheduler send it; the answer comes later as an AGENT_MESSAGE event.
"""

from typing import Any

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import models, ownership, views
from app.api.a2a import sending
from app.api.a2a.blueprint import blueprint
from app.api.operation import answer, operation, platform, validated
from app.api.turns import shown_turn
from app.core import turns, workspaces
from app.core.errors import InvalidInput

TAG = "a2a"


class Message(BaseModel):
    """A message as the field platform sends it; members we do not use reach the agent unchanged."""

    model_config = ConfigDict(extra="allow")
    role: str = "user"
    parts: list[dict[str, Any]] = Field(min_length=1, max_length=sending.PARTS_MAX)
    messageId: str | None = Field(None, max_length=sending.NAME_MAX)  # noqa: N815 - the wire's name
    contextId: str | None = Field(None, max_length=sending.NAME_MAX)  # noqa: N815
    taskId: str | None = Field(None, max_length=sending.NAME_MAX)  # noqa: N815


class Params(BaseModel):
    """Parameters of the short ``message/send``."""

    message: Message
    metadata: dict[str, Any] | None = None
    expires_in_seconds: float | None = Field(None, gt=0, le=31_536_000)
    priority: int | None = None


def answer_to(workspace_id: str, body: dict[str, Any]) -> Response:
    """Queue the message; 202 at once."""
    if body.get("method", "message/send") != "message/send":
        raise InvalidInput("method", "message/send")
    params = validated(Params, body.get("params", {}), "params")
    message = params.message.model_dump(exclude_unset=True)
    texts = [part["text"] for part in message["parts"] if isinstance(part.get("text"), str)]
    taken = sending.accept(
        workspace_id,
        sending.Send(
            message=message,
            protocol="",
            text="\n".join(texts),
            metadata=params.metadata or {},
            expires_in_s=params.expires_in_seconds,
            priority=params.priority,
        ),
    )
    return answer(
        {
            "queued": True,
            "queue_id": taken.turn_id,
            "queue_depth": taken.depth,
            "position": taken.depth,
            "oldest_wait_s": taken.oldest_wait_s,
            "session_age_s": taken.session_age_s,
            "message": _told(taken),
        },
        202,
    )


def _told(taken: turns.Accepted) -> str:
    if taken.outcome == "accepted":
        return f"queued; {taken.depth} waiting, this one included"
    return f"accepted before under this id; {taken.depth} waiting"


@blueprint.get("/workspaces/<workspace_id>/a2a/queue/<queue_id>")
@operation("send", tag=TAG, reply=models.QueueEntry)
def show_queue_entry(workspace_id: str, queue_id: str) -> Response:
    """One accepted message: where it is, or what came back."""
    workspaces.require(platform(), workspace_id)
    turn = ownership.turn_of(workspace_id, queue_id)
    session = turns.session_of(platform(), workspace_id, turn)
    shown = views.session(workspace_id, session, platform().now_ms()) if session else None
    entry = {"queue_id": turn.id, "status": turn.state, "session": shown}
    return answer(shown_turn(workspace_id, queue_id) | entry)
