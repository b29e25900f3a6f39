"""``POST /workspaces/<id>/mcp``: the tools of a running agent, answered in plain JSON."""

import json
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, Response, current_app, request
from pydantic import ValidationError
from redis.exceptions import RedisError
from werkzeug.exceptions import HTTPException, NotAcceptable, UnsupportedMediaType

from app.api import bodies, errors, models
from app.api.mcp import news, protocol
from app.api.mcp.protocol import Call, RpcError
from app.api.mcp.tools import TOOLS, Caller, run
from app.api.operation import answer, operation, platform, refusal, token
from app.core import sessions, workspaces
from app.core.admission import Pace
from app.core.errors import Forbidden, TurnkeeperError

blueprint = Blueprint("mcp", __name__)
log = structlog.get_logger(__name__)
SESSION_HEADER = "Turnkeeper-Session"
LISTS_TTL_MS = 300_000
INSTRUCTIONS = (
    "Your work is one session of a workspace, and it may be long. Recall what is remembered before "
    "you decide, commit what later sessions must know, and report progress while you work. Every "
    "answer says policy_version, and wrap_up when you are to save (checkpoint) and stop."
)


@blueprint.post("/workspaces/<workspace_id>/mcp")
@operation(
    "runtime or session",
    tag="mcp",
    raw_body=models.McpRequest,
    reply=models.RpcAnswer,
    more={202: None},
    refusals=(400, 404, 406, 413, 415, 500),
    pace=Pace.TOOL,
)
def call_mcp(workspace_id: str) -> Response:
    """The Model Context Protocol, 2026-07-28 and before: the tools of a running agent.

    JSON answers, no streams, nothing kept between requests. With a token of a workspace's runtime
    the header Turnkeeper-Session says for which session; a session's own token needs none.
    Notifications are answered 202.
    """
    _check_request()
    workspaces.require(platform(), workspace_id)
    call_id = None
    try:
        body = _body()
        call_id = protocol.id_of(body)
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = protocol.read(body, headers)
        if call is None:
            return Response(status=202)
        return _told(call, _result(workspace_id, call))
    except RpcError as error:
        return _failure(call_id, error)
    except (TurnkeeperError, RedisError, HTTPException):
        raise
    except Exception as error:
        log.error("unhandled", exc_info=error)
        fault = RpcError(protocol.INTERNAL_ERROR, "an internal fault; see the log")
        return _failure(call_id, fault)


def _check_request() -> None:
    """Who asks from a page of another site, or in another format, is refused before anything.

    Raises:
        Forbidden, NotAcceptable, UnsupportedMediaType.
    """
    origin = request.headers.get("Origin")
    own = {request.host, urlsplit(platform().settings.public_url).netloc}
    if origin is not None and urlsplit(origin).netloc not in own - {""}:
        raise Forbidden("a page of another site may not call this", origin=origin[:200])
    if "Accept" in request.headers and not request.accept_mimetypes["application/json"]:
        raise NotAcceptable("answers are application/json")
    if request.mimetype not in ("", "application/json"):
        raise UnsupportedMediaType("Content-Type: application/json")


def _body() -> Any:
    try:
        return bodies.read(request.get_data())
    except errors.NotJson as error:
        raise RpcError(protocol.PARSE_ERROR, error.detail) from error


def _result(workspace_id: str, call: Call) -> dict[str, Any]:
    """What a request comes to. Raises: RpcError."""
    if call.method == "tools/list":
        return _listed(call)
    if call.method == "tools/call":
        return _tool_result(workspace_id, call)
    if call.is_stateless and call.method == "server/discover":
        return _cached({**_about(), "supportedVersions": list(protocol.SUPPORTED)})
    if not call.is_stateless and call.method == "initialize":
        agreed = {"protocolVersion": protocol.negotiated(call.params), "serverInfo": _server()}
        return {**agreed, **_about()}
    if not call.is_stateless and call.method == "ping":
        return {}
    message = f"no method {call.method[:100]}"
    raise RpcError(protocol.METHOD_NOT_FOUND, message, is_stateless=call.is_stateless)


def _about() -> dict[str, Any]:
    return {"capabilities": {"tools": {}}, "instructions": INSTRUCTIONS}


def _server() -> dict[str, str]:
    return {"name": "turnkeeper", "title": "Turnkeeper", "version": version("turnkeeper")}


def _cached(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "ttlMs": LISTS_TTL_MS, "cacheScope": "private"}


def _listed(call: Call) -> dict[str, Any]:
    if call.params.get("cursor") is not None:
        message = "cursor: there is one page"
        raise RpcError(protocol.INVALID_PARAMS, message, is_stateless=call.is_stateless)
    found = {"tools": [tool.shown() for tool in TOOLS.values()]}
    return _cached(found) if call.is_stateless else found


def _tool_result(workspace_id: str, call: Call) -> dict[str, Any]:
    """The tool's answer, or why it refused, and in either case the news."""
    name, given = call.params.get("name"), call.params.get("arguments")
    if not isinstance(name, str) or name not in TOOLS:
        message = f"Unknown tool: {str(name)[:100]}"
        raise RpcError(protocol.INVALID_PARAMS, message, is_stateless=call.is_stateless)
    if not (given is None or isinstance(given, dict)):
        message = "arguments: an object"
        raise RpcError(protocol.INVALID_PARAMS, message, is_stateless=call.is_stateless)
    caller = _caller(workspace_id)
    try:
        told, is_error = run(caller, name, given or {}), False
    except (TurnkeeperError, ValidationError, RedisError) as error:
        told, is_error = {"error": _refused(error)}, True
    new = news.read(platform(), workspace_id, caller.session_id)
    told |= new.shown
    texts = [json.dumps(told, ensure_ascii=False), new.text]
    return {
        "content": [{"type": "text", "text": text} for text in texts],
        "structuredContent": told,
        "isError": is_error,
    }


def _refused(error: TurnkeeperError | ValidationError | RedisError) -> dict[str, Any]:
    """Why, so that a model can do it better or later."""
    if isinstance(error, ValidationError):
        error = refusal(error, "arguments")
    if isinstance(error, RedisError):
        error = errors.meaning(error)
    told = {"code": error.code, "message": error.detail, **error.fields}
    if error.code in errors.RETRY_AFTER_S:
        told["retry_after_s"] = errors.RETRY_AFTER_S[error.code]
    return told


def _caller(workspace_id: str) -> Caller:
    """For which session: the token's own, else the one that the header names.

    Raises:
        Forbidden, SessionNotFound.
    """
    held, named = token(), request.headers.get(SESSION_HEADER)
    here = current_app.extensions["turnkeeper"]
    session_id, fence = held.session, held.fence
    if session_id is not None and named not in (None, session_id):
        raise Forbidden("this token is for another session")
    if session_id is None and named is not None:
        session = sessions.get(platform(), workspace_id, named)
        session_id, fence = session.id, session.fence
    return Caller(platform(), here.indexes, workspace_id, held.name, session_id, fence)


def _told(call: Call, result: dict[str, Any]) -> Response:
    if call.is_stateless:
        meta = {protocol.SERVER_KEY: _server()}
        result = {"resultType": "complete", **result, "_meta": meta}
    return answer({"jsonrpc": "2.0", "id": call.id, "result": result})


def _failure(call_id: Any, error: RpcError) -> Response:
    return answer({"jsonrpc": "2.0", "id": call_id, "error": error.told()}, error.status)
