"""``POST /workspaces/<id>/a2a``: messages in, as JSON-RPC or in the field platform's short form.

A body without a ``jsonrpc`` member is the short form: it is answered 202 at once and the answer
comes as an AGENT_MESSAGE event. JSON-RPC ``message/send`` waits a bounded time, then answers
with the Task as it is. A2A's word for a turn is task; the word stays in this module.
Source: A2A protocol 0.3, JSON-RPC binding.
"""

from typing import Any

from flask import Blueprint, Response, current_app, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis.exceptions import RedisError

from app.api import bodies, errors, models, views
from app.api.bounds import check_prompt
from app.api.operation import answer, operation, platform, refusal, token, validated
from app.api.turns import shown_turn
from app.core import ids, turns, workspaces
from app.core.clock import rfc3339
from app.core.errors import InvalidInput, Overloaded, TurnkeeperError, TurnNotFound
from app.core.records import Turn
from app.core.states import TERMINAL

blueprint = Blueprint("a2a", __name__)
TAG = "a2a"
LOOK_S = 1.0
REDELIVER = ("on_loss", "never")  # in params.metadata, of both forms

STATE_OF_TASK = {
    "queued": "submitted",
    "claimed": "submitted",
    "delivered": "submitted",
    "running": "working",
    "checkpointing": "working",
    "completed": "completed",
    "yielded": "completed",
    "input_required": "input-required",
    "canceled": "canceled",
    "coalesced": "canceled",
    "skipped": "rejected",
}
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
INTERNAL_ERROR, TASK_NOT_FOUND = -32603, -32001


class Message(BaseModel):
    """A message of A2A 0.3; members we do not use reach the agent unchanged."""

    model_config = ConfigDict(extra="allow")
    role: str = "user"
    parts: list[dict[str, Any]] = Field(min_length=1, max_length=1000)
    messageId: str | None = Field(None, max_length=256)  # noqa: N815 - the wire's name
    contextId: str | None = Field(None, max_length=256)  # noqa: N815
    taskId: str | None = Field(None, max_length=256)  # noqa: N815


class Configuration(BaseModel):
    """How the client wants its answer."""

    blocking: bool | None = None
    historyLength: int | None = Field(None, ge=0)  # noqa: N815


class SendParams(BaseModel):
    """Parameters of ``message/send``."""

    message: Message
    configuration: Configuration = Field(default_factory=lambda: Configuration.model_validate({}))
    metadata: dict[str, Any] | None = None
    expires_in_seconds: float | None = Field(None, gt=0, le=31_536_000)
    priority: int | None = None


class TaskParams(BaseModel):
    """Parameters of ``tasks/get``."""

    id: str
    historyLength: int | None = Field(None, ge=0)  # noqa: N815


class RpcError(Exception):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


@blueprint.post("/workspaces/<workspace_id>/a2a")
@operation(
    "send",
    tag=TAG,
    raw_body=models.RpcRequest,
    reply=models.Queued,
    status=202,
    more={200: models.RpcAnswer},
    refusals=(410, 429),
)
def send_message(workspace_id: str) -> Response:
    """Send a message to the agent, or another JSON-RPC request of A2A 0.3.

    Without ``jsonrpc`` it is the field platform's short form, answered 202 at once. With it the
    answer is JSON-RPC's, errors too: those that a retry may cure carry their own status and
    ``Retry-After``.
    """
    workspaces.require(platform(), workspace_id)
    try:
        body = bodies.read(request.get_data())
    except errors.NotJson as error:
        return _failure(None, RpcError(PARSE_ERROR, error.detail), 400)
    if isinstance(body, dict) and "jsonrpc" not in body:
        return _short_form(workspace_id, body)
    return _json_rpc(workspace_id, body)


def _short_form(workspace_id: str, body: dict[str, Any]) -> Response:
    if body.get("method", "message/send") != "message/send":
        raise InvalidInput("method", "message/send")
    taken = _submit(workspace_id, validated(SendParams, body.get("params", {}), "params"))
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


def _submit(workspace_id: str, params: SendParams) -> turns.Accepted:
    message = params.message
    text = "\n".join(
        str(part["text"]) for part in message.parts if isinstance(part.get("text"), str)
    )
    check_prompt("params.message.parts", text)
    if params.priority is not None and params.priority not in turns.LANE_OF_PRIORITY:
        allowed = ", ".join(str(number) for number in turns.LANE_OF_PRIORITY)
        raise InvalidInput("params.priority", f"one of {allowed}")
    metadata = params.metadata or {}
    is_agent = metadata.get("origin") == "agent"
    redeliver = metadata.get("redeliver")
    if redeliver not in (None, *REDELIVER):
        raise InvalidInput("params.metadata.redeliver", f"one of {', '.join(REDELIVER)}")
    asked = message.model_dump(exclude_unset=True)
    body: dict[str, Any] = {"text": text, "message": {"messageId": ids.new("msg"), **asked}}
    if traceparent := request.headers.get("traceparent"):
        body["traceparent"] = traceparent[:128]
    return turns.submit(
        platform(),
        workspace_id,
        turns.Request(
            body=body,
            origin="agent" if is_agent else "chat",
            lane=turns.LANE_OF_PRIORITY[params.priority] if params.priority else None,
            principal=token().id,
            context_id=message.contextId or ids.new("ctx"),
            idempotency_key=request.headers.get("Idempotency-Key"),
            repeat_key=message.messageId,
            asked=asked,
            expires_in_s=params.expires_in_seconds,
            redeliver=redeliver,
        ),
    )


def _json_rpc(workspace_id: str, body: Any) -> Response:
    call_id = body.get("id") if isinstance(body, dict) else None
    try:
        if (
            not isinstance(body, dict)
            or body.get("jsonrpc") != "2.0"
            or not isinstance(body.get("method"), str)
        ):
            raise RpcError(INVALID_REQUEST, "not a JSON-RPC 2.0 request")
        if not (call_id is None or isinstance(call_id, str | int)):
            raise RpcError(INVALID_REQUEST, "id: a string, a whole number or null")
        method = METHODS.get(body["method"])
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"no method {body['method'][:100]}")
        result = method(workspace_id, body.get("params", {}))
    except ValidationError as error:
        return _refused(call_id, refusal(error, "params"))
    except RpcError as error:
        return _failure(call_id, error)
    except TurnkeeperError as error:
        return _refused(call_id, error)
    except RedisError as error:
        return _refused(call_id, errors.meaning(error))
    return answer({"jsonrpc": "2.0", "id": call_id, "result": result})


def _refused(call_id: Any, error: TurnkeeperError) -> Response:
    """A refusal of the core; what a retry may cure keeps its status, so that clients do retry."""
    if isinstance(error, InvalidInput):
        return _failure(call_id, RpcError(INVALID_PARAMS, error.detail, error.fields.get("errors")))
    if isinstance(error, TurnNotFound):
        return _failure(call_id, RpcError(TASK_NOT_FOUND, "Task not found"))
    told = RpcError(INTERNAL_ERROR, error.detail, {**error.fields, "code": error.code})
    retry_after_s = errors.RETRY_AFTER_S.get(error.code)
    if retry_after_s is None:
        return _failure(call_id, told)
    return _failure(call_id, told, errors.STATUS[error.code], Retry_After=str(retry_after_s))


def _failure(call_id: Any, error: RpcError, status: int = 200, **headers: str) -> Response:
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        told["data"] = error.data
    return answer({"jsonrpc": "2.0", "id": call_id, "error": told}, status, **headers)


def _send(workspace_id: str, raw: Any) -> dict[str, Any]:
    params = SendParams.model_validate(raw)
    taken = _submit(workspace_id, params)
    if params.configuration.blocking is not False:
        _wait(workspace_id, taken.turn_id)
    return task(workspace_id, taken.turn_id)


def _wait(workspace_id: str, turn_id: str) -> None:
    """Until the turn has ended, at most ``message_wait_s``; woken by its events."""
    here, settings, clock = (
        current_app.extensions["turnkeeper"],
        platform().settings,
        platform().clock,
    )
    end = clock.monotonic() + settings.message_wait_s
    try:
        with here.hub.waiting(workspace_id) as waiter:
            while not platform().stopping.is_set():
                state = turns.get(platform(), workspace_id, turn_id).state
                left_s = end - clock.monotonic()
                if state in TERMINAL or state == "input_required" or left_s <= 0:
                    return
                waiter.wait(min(left_s, LOOK_S))
    except Overloaded:  # the message is accepted already: answer with what there is
        return


def _get(workspace_id: str, raw: Any) -> dict[str, Any]:
    return task(workspace_id, TaskParams.model_validate(raw).id)


METHODS = {"message/send": _send, "tasks/get": _get}


def task(workspace_id: str, turn_id: str) -> dict[str, Any]:
    """A turn as a Task of A2A 0.3."""
    turn = turns.get(platform(), workspace_id, turn_id)
    body, result = turns.read_parts(platform(), workspace_id, turn_id)
    shown: dict[str, Any] = {
        "kind": "task",
        "id": turn.id,
        "contextId": turn.context_id or turn.id,
        "status": {"state": _task_state(turn), "timestamp": rfc3339(turn.state_at)},
        "metadata": {
            "turnkeeper": {
                "state": turn.state,
                "attempt": turn.attempt,
                "mechanism": turn.mechanism,
            }
        },
    }
    if body and body.get("message"):
        shown["history"] = [
            {
                "kind": "message",
                **body["message"],
                "taskId": turn.id,
                "contextId": shown["contextId"],
            }
        ]
    text = (result or {}).get("text")
    reason = ((result or {}).get("error") or {}).get("message")
    if text:
        parts = [{"kind": "text", "text": text}]
        shown["artifacts"] = [{"artifactId": f"{turn.id}-result", "name": "result", "parts": parts}]
    if text or reason:
        shown["status"]["message"] = _answer_of(turn.id, shown["contextId"], str(reason or text))
    return shown


def _answer_of(turn_id: str, context_id: str, text: str) -> dict[str, Any]:
    return {
        "kind": "message",
        "role": "agent",
        "messageId": f"{turn_id}-answer",
        "taskId": turn_id,
        "contextId": context_id,
        "parts": [{"kind": "text", "text": text}],
    }


def _task_state(turn: Turn) -> str:
    return STATE_OF_TASK.get(turn.state, "failed")


@blueprint.get("/workspaces/<workspace_id>/a2a/queue/<queue_id>")
@operation("send", tag=TAG, reply=models.QueueEntry)
def show_queue_entry(workspace_id: str, queue_id: str) -> Response:
    """One accepted message: where it is, or what came back."""
    workspaces.require(platform(), workspace_id)
    turn = turns.get(platform(), workspace_id, queue_id)
    session = turns.session_of(platform(), workspace_id, turn)
    shown = views.session(workspace_id, session, platform().now_ms()) if session else None
    entry = {"queue_id": turn.id, "status": turn.state, "session": shown}
    return answer(shown_turn(workspace_id, queue_id) | entry)
