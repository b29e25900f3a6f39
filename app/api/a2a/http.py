"""A2A 1.0 as HTTP+JSON, under the same address as JSON-RPC; errors in the form of AIP-193."""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import structlog
from flask import Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.api import bodies, models
from app.api.a2a import new_methods, streams
from app.api.a2a.blueprint import blueprint
from app.api.a2a.faults import KNOWN, Fault, meaning
from app.api.operation import operation, platform, refuse_head
from app.api.server_sent import SSE
from app.core import confirming, workspaces

TAG = "a2a"
BASE = "/workspaces/<workspace_id>/a2a"
TASK = f"{BASE}/tasks/<task_id>"
CONFIGS = f"{TASK}/pushNotificationConfigs"
A2A_JSON = "application/a2a+json"
NUMBERS, FLAGS = ("pageSize", "historyLength"), ("includeArtifacts",)
Answer = dict[str, Any]
log = structlog.get_logger(__name__)


def bound(view: Callable[..., Any]) -> Callable[..., Response]:
    """What every route of this binding does: version, workspace, and errors in its own form."""

    @wraps(view)
    def call(workspace_id: str, **path: str) -> Response:
        try:
            refuse_head()
            new_methods.check_version(request.headers.get("A2A-Version"))
            workspaces.require(platform(), workspace_id)
            told = view(workspace_id, **path)
            confirming.check()
        except KNOWN as error:
            return _failure(meaning(error))
        except HTTPException as error:
            if isinstance(error, RequestEntityTooLarge) or error.code == 405:
                raise
            return _failure(Fault("INVALID_REQUEST", error.description or ""))
        except Exception as error:
            log.error("unhandled", exc_info=error)
            return _failure(Fault("INTERNAL_ERROR", "an internal fault; see the log"))
        return told if isinstance(told, Response) else _written(told, 200)

    return call


def _failure(fault: Fault) -> Response:
    content, status = fault.as_http()
    response = _written(content, status, "application/json")
    response.headers.update(fault.headers)
    return response


def _written(content: Answer, status: int, media_type: str = "") -> Response:
    """JSON under the media type that the client itself speaks."""
    speaks = request.mimetype or request.headers.get("Accept", "").partition(",")[0].strip()
    kind = media_type or (A2A_JSON if speaks == A2A_JSON else "application/json")
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, content_type=kind)


def _body() -> Answer:
    if request.mimetype not in ("", "application/json", A2A_JSON):
        raise Fault("CONTENT_TYPE_NOT_SUPPORTED", f"Content-Type: application/json or {A2A_JSON}")
    body = bodies.read(bodies.raw(request) or b"{}")
    if not isinstance(body, dict):
        raise Fault("INVALID_REQUEST", "body: an object is required")
    return body


def _query() -> Answer:
    """Query parameters as the method's own; a text that is no number is refused there."""
    found: Answer = dict(request.args.items())
    for name in NUMBERS:
        if found.get(name, "").removeprefix("-").isdecimal():
            found[name] = int(found[name])
    for name in FLAGS:
        if name in found:
            found[name] = str(found[name]).lower() == "true"
    return found


def _form() -> streams.Form:
    def event(told: Mapping[str, Any], is_last: bool) -> str:
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))

    def fault(given: Fault) -> str:
        return json.dumps(given.as_http()[0], ensure_ascii=False, separators=(",", ":"))

    return streams.Form(event, fault)


@blueprint.post(f"{BASE}/message:send")
@operation("send", tag=TAG, raw_body=models.A2AObject, reply=models.A2AObject)
@bound
def http_send_message(workspace_id: str) -> Response:
    """SendMessage: the task, or the agent's message if it comes soon and is one."""
    content, status = new_methods.send(workspace_id, _body())
    return _written(content, status)


@blueprint.post(f"{BASE}/message:stream")
@operation("send", tag=TAG, raw_body=models.A2AObject, media_type=SSE)
@bound
def http_stream_message(workspace_id: str) -> Response:
    """SendStreamingMessage: the task, then what changes (SSE)."""
    wanted = new_methods.read_send("SendStreamingMessage", _body())
    return streams.send(workspace_id, wanted, _form())


@blueprint.get(f"{BASE}/tasks")
@operation("send", tag=TAG, reply=models.A2AObject)
@bound
def http_list_tasks(workspace_id: str) -> Answer:
    """ListTasks: a page, the one that changed last first."""
    return _call("ListTasks", workspace_id, _query())


@blueprint.get(TASK)
@operation("send", tag=TAG, reply=models.A2AObject)
@bound
def http_get_task(workspace_id: str, task_id: str) -> Answer:
    """GetTask."""
    return _call("GetTask", workspace_id, {**_query(), "id": task_id})


@blueprint.post(f"{TASK}:cancel")
@operation("send", tag=TAG, raw_body=models.A2AObject, reply=models.A2AObject)
@bound
def http_cancel_task(workspace_id: str, task_id: str) -> Answer:
    """CancelTask: at once, or through its session."""
    return _call("CancelTask", workspace_id, {**_body(), "id": task_id})


@blueprint.post(f"{TASK}:subscribe")
@operation("send", tag=TAG, media_type=SSE)
@bound
def http_subscribe_to_task(workspace_id: str, task_id: str) -> Response:
    """SubscribeToTask: the task, then what changes (SSE)."""
    return streams.subscribe(workspace_id, task_id, _form())


@blueprint.get(f"{TASK}:subscribe")
@operation("send", tag=TAG, media_type=SSE)
@bound
def http_follow_task(workspace_id: str, task_id: str) -> Response:
    """SubscribeToTask by GET, as some clients ask."""
    return streams.subscribe(workspace_id, task_id, _form())


@blueprint.post(CONFIGS)
@operation("send", tag=TAG, raw_body=models.A2AObject, reply=models.A2AObject)
@bound
def http_create_push_config(workspace_id: str, task_id: str) -> Answer:
    """CreateTaskPushNotificationConfig; one of the same id is replaced."""
    given = {**_body(), "taskId": task_id}
    return _call("CreateTaskPushNotificationConfig", workspace_id, given)


@blueprint.get(CONFIGS)
@operation("send", tag=TAG, reply=models.A2AObject)
@bound
def http_list_push_configs(workspace_id: str, task_id: str) -> Answer:
    """ListTaskPushNotificationConfigs."""
    return _call("ListTaskPushNotificationConfigs", workspace_id, {**_query(), "taskId": task_id})


@blueprint.get(f"{CONFIGS}/<config_id>")
@operation("send", tag=TAG, reply=models.A2AObject)
@bound
def http_get_push_config(workspace_id: str, task_id: str, config_id: str) -> Answer:
    """GetTaskPushNotificationConfig."""
    named = {"taskId": task_id, "id": config_id}
    return _call("GetTaskPushNotificationConfig", workspace_id, named)


@blueprint.delete(f"{CONFIGS}/<config_id>")
@operation("send", tag=TAG, reply=models.A2AObject)
@bound
def http_delete_push_config(workspace_id: str, task_id: str, config_id: str) -> Answer:
    """DeleteTaskPushNotificationConfig; that it is gone already is no error."""
    named = {"taskId": task_id, "id": config_id}
    return _call("DeleteTaskPushNotificationConfig", workspace_id, named)


@blueprint.get(f"{BASE}/extendedAgentCard")
@operation("send", tag=TAG, reply=models.AgentCard)
@bound
def http_extended_card(workspace_id: str) -> Answer:
    """GetExtendedAgentCard: the card as those see it who hold a token."""
    return _call("GetExtendedAgentCard", workspace_id, {})


def _call(method: str, workspace_id: str, params: Answer) -> Answer:
    found: Answer = new_methods.METHODS[method](workspace_id, params)
    return found
