"""``POST /workspaces/<id>/a2a``: JSON-RPC of A2A 1.0 and 0.3, told apart by the method's name.

A body without a ``jsonrpc`` member is the field platform's short form (``short_form``).
"""

import json
from collections.abc import Mapping
from typing import Any, cast

import structlog
from flask import Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.api import bodies, errors, models
from app.api.a2a import new_methods, old_methods, short_form, streams
from app.api.a2a.blueprint import blueprint
from app.api.a2a.faults import KNOWN, Fault, meaning
from app.api.operation import answer, operation, platform
from app.api.server_sent import SSE
from app.core import workspaces
from app.core.errors import WorkspaceNotFound

TAG = "a2a"
# They look for the workspace themselves, together with what else they ask of it.
SENDS = ("SendMessage", old_methods.SEND[0])
log = structlog.get_logger(__name__)


@blueprint.post("/workspaces/<workspace_id>/a2a")
@operation(
    "send",
    tag=TAG,
    raw_body=models.RpcRequest,
    reply=models.Queued,
    status=202,
    more={200: models.RpcAnswer},
    refusals=(409, 410, 429),
)
def send_message(workspace_id: str) -> Response:
    """A JSON-RPC request of A2A 1.0 or 0.3, told apart by its method.

    Without ``jsonrpc`` it is the field platform's short form, answered 202 at once. With it the
    answer is JSON-RPC's, errors too: those that a retry may cure carry their own status and
    ``Retry-After``. Streaming methods answer with server-sent events.
    """
    try:
        body = bodies.read(bodies.raw(request))
    except errors.NotJson as error:
        workspaces.require(platform(), workspace_id)
        if not _speaks_json():
            return _failure(None, Fault("CONTENT_TYPE_NOT_SUPPORTED"), new_methods.PROTOCOL)
        return _failure(None, meaning(error), "", 400)
    if isinstance(body, dict) and "jsonrpc" not in body:
        return short_form.answer_to(workspace_id, body)
    if not (isinstance(body, dict) and body.get("method") in SENDS):
        workspaces.require(platform(), workspace_id)
    return _json_rpc(workspace_id, body)


def _json_rpc(workspace_id: str, body: Any) -> Response:
    call_id = body.get("id") if isinstance(body, dict) else None
    if isinstance(call_id, bool) or not (call_id is None or isinstance(call_id, str | int)):
        call_id = None
    protocol = ""
    try:
        _check_envelope(body)
        protocol = _protocol(body["method"])
        if protocol == new_methods.PROTOCOL:
            new_methods.check_version(request.headers.get("A2A-Version"))
        _check_content_type()
        told = _called(workspace_id, call_id, body["method"], body.get("params", {}))
        return cast(Response, errors.confirmed(told))
    except WorkspaceNotFound as error:
        if error.fields.get("workspace_id") == workspace_id:
            raise  # 404, as for every other method; another one is named in the parameters
        return _failure(call_id, meaning(error), protocol)
    except KNOWN as error:
        fault = meaning(error)
        if protocol and body["method"] in old_methods.STREAMS and fault.rpc_status == 200:
            return _failed_stream(call_id, fault)
        return _failure(call_id, fault, protocol)
    except HTTPException as error:
        if isinstance(error, RequestEntityTooLarge):
            raise
        return _failure(call_id, Fault("INVALID_REQUEST", error.description or ""), protocol)
    except Exception as error:
        log.error("unhandled", exc_info=error)
        fault = Fault("INTERNAL_ERROR", "an internal fault; see the log", status=500)
        return _failure(call_id, fault, protocol)


def _check_envelope(body: Any) -> None:
    if not isinstance(body, dict):
        raise Fault("INVALID_REQUEST", "one JSON-RPC 2.0 request; batches are not supported")
    if body.get("jsonrpc") != "2.0":
        raise Fault("INVALID_REQUEST", 'jsonrpc: exactly "2.0"')
    call_id = body.get("id")
    if isinstance(call_id, bool) or not (call_id is None or isinstance(call_id, str | int)):
        raise Fault("INVALID_REQUEST", "id: a text, a whole number or null")
    if not isinstance(body.get("method"), str) or not body["method"]:
        raise Fault("INVALID_REQUEST", "method: a text is required")


def _protocol(method: str) -> str:
    if method == "SendMessage" or method in new_methods.METHODS or method in new_methods.STREAMS:
        return new_methods.PROTOCOL
    known = {old_methods.SEND[0], *old_methods.METHODS, *old_methods.STREAMS}
    if method in known:
        return old_methods.PROTOCOL
    raise Fault("METHOD_NOT_FOUND", f"no method {method[:100]}")


def _speaks_json() -> bool:
    given = request.mimetype
    return not given or given == "application/json" or given.endswith("+json")


def _check_content_type() -> None:
    if not _speaks_json():
        raise Fault("CONTENT_TYPE_NOT_SUPPORTED", "Content-Type: application/json")


def _called(workspace_id: str, call_id: Any, method: str, raw: Any) -> Response:
    if method in new_methods.STREAMS or method in old_methods.STREAMS:
        return _streamed(workspace_id, call_id, method, raw)
    status = 200
    if method == "SendMessage":
        result, status = new_methods.send(workspace_id, raw)
    elif method == old_methods.SEND[0]:
        result, status = old_methods.SEND[1](workspace_id, raw)
    elif method in new_methods.METHODS:
        result = new_methods.METHODS[method](workspace_id, raw)
    else:
        result = old_methods.METHODS[method](workspace_id, raw)
    return answer({"jsonrpc": "2.0", "id": call_id, "result": result}, status)


def _streamed(workspace_id: str, call_id: Any, method: str, raw: Any) -> Response:
    is_new = method in new_methods.STREAMS
    form = _form(call_id, is_new)
    if method == "SendStreamingMessage":
        return streams.send(workspace_id, new_methods.read_send(method, raw), form)
    if method == "message/stream":
        return streams.send(workspace_id, old_methods.read_send(raw), form)
    if is_new:
        return streams.subscribe(workspace_id, new_methods.task_id(method, raw), form)
    return streams.subscribe(workspace_id, old_methods.TaskParams.model_validate(raw).id, form)


def _form(call_id: Any, is_new: bool) -> streams.Form:
    protocol = new_methods.PROTOCOL if is_new else old_methods.PROTOCOL

    def wrapped(**member: Any) -> str:
        whole = {"jsonrpc": "2.0", "id": call_id, **member}
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))

    def event(told: Mapping[str, Any], is_last: bool) -> str:
        return wrapped(result=told if is_new else old_methods.streamed(told, is_last))

    return streams.Form(event, lambda fault: wrapped(error=fault.as_rpc(protocol)))


def _failed_stream(call_id: Any, fault: Fault) -> Response:
    """Clients of 0.3 that asked for a stream look for the error inside one."""
    data = _form(call_id, is_new=False).fault(fault)
    return Response(f"data: {data}\n\n", content_type=SSE)


def _failure(call_id: Any, fault: Fault, protocol: str, status: int | None = None) -> Response:
    told = {"jsonrpc": "2.0", "id": call_id, "error": fault.as_rpc(protocol)}
    return answer(told, status or fault.rpc_status, **fault.header_arguments)
