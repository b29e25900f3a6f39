"""Routes of the runtime: the long poll for a turn, and its reports under the session's fence."""

import socket
from typing import Any

from flask import Blueprint, Response, current_app, request

from app.api import models, views
from app.api.a2a import wire
from app.api.a2a.faults import Fault
from app.api.operation import (
    answer,
    operation,
    platform,
    refuse_head,
    still_allowed,
    token,
    validated,
)
from app.core import sessions, workspaces
from app.core.clock import rfc3339
from app.core.errors import InvalidInput, StaleFence, Unauthorized
from app.core.sessions import Handover, Polled

blueprint = Blueprint("runtime", __name__)
TAG = "runtime"
LOOK_S = 5.0
BRINGS_NOTHING = frozenset(
    (
        *("CRON_QUEUED", "MESSAGE_QUEUED", "TURN_CLAIMED", "SESSION_STARTED", "TURN_PROGRESS"),
        *("TURN_KEEPALIVE", "AGENT_MESSAGE", "CRON_EXECUTED", "WORKSPACE_HEARTBEAT"),
    )
)
FENCED = (409,)
REPORTS: dict[str, type[models.Progress] | type[models.Finish]] = {
    "progress": models.Progress,
    "finish": models.Finish,
}


@blueprint.get("/workspaces/<workspace_id>/turns/next")
@operation("runtime", tag=TAG, query=models.Poll, reply=models.NextTurn)
def next_turn(workspace_id: str, query: models.Poll) -> Response:
    """The next turn bound for this workspace's runtime; waits for one up to ``wait_s``.

    What running sessions are asked (checkpoint, cancel, terminate) ends the wait at once; with
    ``room=0`` only that does.
    """
    refuse_head()
    workspaces.require(platform(), workspace_id)
    here = current_app.extensions["turnkeeper"]
    settings, clock = platform().settings, platform().clock
    end = clock.monotonic() + min(query.wait_s, settings.poll_wait_max_s)
    found, is_allowed = Polled(None, [], 0), still_allowed("runtime", [workspace_id])
    with here.hub.waiting(workspace_id, token().owner, may_bring) as waiter:
        while not _has_gone(request.environ.get("gunicorn.socket")):
            found = sessions.take(platform(), workspace_id, query.instance, query.room)
            left_s = end - clock.monotonic()
            if found.handover or found.directives or left_s <= 0 or platform().stopping.is_set():
                break
            again_ms = found.wake_at_ms
            again_s = (again_ms - platform().now_ms()) / 1000 if again_ms else LOOK_S
            waiter.wait(max(0.01, min(left_s, LOOK_S, again_s)))
            if not is_allowed():  # revoked while it waited: no turn goes to it
                raise Unauthorized
    turn = _handed(workspace_id, found.handover) if found.handover else None
    return answer({"turn": turn, "directives": views.directives(found.directives)})


def may_bring(event: str, turn_id: str) -> bool:
    """Whether a poll should look: the others come with every turn, before it is laid out or while
    it runs, or with every beat."""
    return event not in BRINGS_NOTHING


def _has_gone(connection: Any) -> bool:
    """Whether the client has closed its end: a turn handed to nobody waits redeliver_after_s."""
    if connection is None:
        return False
    timeout_s = connection.gettimeout()
    try:
        connection.settimeout(0)
        return connection.recv(1, socket.MSG_PEEK) == b""  # type: ignore[no-any-return]
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(timeout_s)


def _handed(workspace_id: str, found: Handover) -> dict[str, Any]:
    session, turn, bound = found.session, found.turn, found.bound
    idle_ms, _ = workspaces.get(platform(), workspace_id).idle_ms(
        platform().settings.idle_timeout_s
    )
    return {
        "turn_id": turn.id,
        "session_id": session.id,
        "workspace_id": workspace_id,
        "fence": session.fence,
        "attempt": session.attempt,
        "lane": turn.lane,
        "origin": turn.origin,
        "prompt": bound["prompt"],
        "message": bound.get("message"),
        "context_id": turn.context_id,
        "schedule_id": turn.schedule_id,
        "nominal_at": rfc3339(turn.nominal_at),
        "coalesced": bound.get("coalesced", []),
        "coalesced_count": bound.get("coalesced_count", 0),
        "prompt_version": bound.get("prompt_version"),
        "session_mode": bound.get("session_mode"),
        "ceiling_at": rfc3339(session.ceiling_at),
        "checkpoint_at": rfc3339(session.checkpoint_at),
        "cancel_at": rfc3339(session.cancel_at),
        "idle_timeout_s": (idle_ms if session.idle_ms is None else session.idle_ms) / 1000,
        "checkpoint": bound.get("checkpoint"),
        "memories": bound.get("memories", []),
        "traceparent": found.body.get("traceparent"),
        "session_token": found.token,
    }


@blueprint.post("/workspaces/<workspace_id>/sessions/<session_id>/start")
@operation("runtime", tag=TAG, body=models.Start, reply=models.Reported, refusals=FENCED)
def start_session(workspace_id: str, session_id: str, body: models.Start) -> Response:
    """The agent has begun; idempotent for the same instance."""
    orders = sessions.start(platform(), workspace_id, session_id, body.fence, body.instance)
    return answer({"status": "ok", "state": "running", "directives": views.directives(orders)})


@blueprint.post("/workspaces/<workspace_id>/sessions/<session_id>/progress")
@operation("runtime", tag=TAG, body=models.Progress, reply=models.Reported, refusals=FENCED)
def report_progress(workspace_id: str, session_id: str, body: models.Progress) -> Response:
    """The work advanced, or a tool still runs."""
    orders = _progress(workspace_id, session_id, body)
    return answer({"status": "ok", "directives": views.directives(orders)})


def _progress(workspace_id: str, session_id: str, body: models.Progress) -> list[dict[str, Any]]:
    payload = body.model_dump(exclude_none=True, include={"text", "tool", "percent"})
    return sessions.progress(platform(), workspace_id, session_id, body.fence, body.kind, payload)


@blueprint.post("/workspaces/<workspace_id>/sessions/<session_id>/finish")
@operation("runtime", tag=TAG, body=models.Finish, reply=models.Reported, refusals=FENCED)
def finish_session(workspace_id: str, session_id: str, body: models.Finish) -> Response:
    """The agent's own end; a repeat of an accepted one changes nothing."""
    return answer(
        {"status": "ok", "state": _finish(workspace_id, session_id, body), "directives": []}
    )


def _finish(workspace_id: str, session_id: str, body: models.Finish) -> str:
    result = body.result.model_dump(exclude_none=True) if body.result else {}
    limits = list(body.limits)
    result["text"], cut = _bounded(result.get("text") or "", platform().settings.output_max_bytes)
    if cut:
        limits.append(cut)
    _check_rich(result)
    if body.error:
        result["error"] = body.error.model_dump(exclude_none=True)
    if body.exit_code is not None:
        result["exit_code"] = body.exit_code
    if limits:
        result["limits"] = limits
    note = body.checkpoint.model_dump(exclude_none=True) if body.checkpoint else None
    return sessions.finish(
        platform(), workspace_id, session_id, body.fence, body.outcome, result, note
    )


def _check_rich(result: dict[str, Any]) -> None:
    """Parts and artifacts are kept only in the protocol's own form: they are shown as they are.

    Raises:
        InvalidInput.
    """
    if not (result.get("parts") or result.get("artifacts")):
        return
    try:
        if result.get("parts"):
            result["parts"] = wire.parts(result["parts"])
        if result.get("artifacts"):
            result["artifacts"] = [wire.artifact(one) for one in result["artifacts"]]
    except Fault as fault:
        raise InvalidInput("result", fault.message) from fault


def _bounded(text: str, limit_bytes: int) -> tuple[str, dict[str, Any] | None]:
    """The text, its tail where it is over the limit, and what was cut."""
    raw = text.encode()
    if len(raw) <= limit_bytes:
        return text, None
    cut = {
        "mechanism": "output_tail",
        "limit_bytes": limit_bytes,
        "setting": "TURNKEEPER_OUTPUT_MAX_BYTES",
        "measured_bytes": len(raw),
    }
    return raw[-limit_bytes:].decode(errors="ignore"), cut


@blueprint.post("/workspaces/<workspace_id>/sessions/<session_id>/release")
@operation("runtime", tag=TAG, body=models.Release, reply=models.Reported, refusals=FENCED)
def release_session(workspace_id: str, session_id: str, body: models.Release) -> Response:
    """Hand a session back unfinished; its turn returns to the front of its lane at once."""
    state = sessions.release(
        platform(), workspace_id, session_id, body.fence, "released", body.reason, counts=False
    )
    return answer({"status": "ok", "state": state, "directives": []})


@blueprint.post("/workspaces/<workspace_id>/sessions/<session_id>/spool")
@operation("runtime", tag=TAG, body=models.Spool, reply=models.Reported, refusals=FENCED)
def deliver_spool(workspace_id: str, session_id: str, body: models.Spool) -> Response:
    """Reports made while the platform was away, in order; each is fenced like any other.

    Where the session has ended meanwhile, its finish is still tried, so that the log keeps it.
    """
    state, refusal = None, None
    for report in _checked(body):  # all of them before the first is applied
        if isinstance(report, models.Finish):
            state = _finish(workspace_id, session_id, report)
        elif refusal is None:
            try:
                _progress(workspace_id, session_id, report)
            except StaleFence as stale:
                refusal = stale
    if refusal is not None and state is None:
        raise refusal
    return answer({"status": "ok", "state": state, "directives": []})


def _checked(body: models.Spool) -> list[models.Progress | models.Finish]:
    found = []
    for at, report in enumerate(body.reports):
        model = REPORTS.get(str(report.get("type")))
        if model is None:
            raise InvalidInput(f"reports.{at}.type", "progress or finish")
        found.append(validated(model, {**report, "fence": body.fence}, f"reports.{at}"))
    return found
