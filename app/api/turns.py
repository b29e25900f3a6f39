"""Routes of turns and sessions, for clients and the operator."""

from contextlib import suppress
from typing import Any

from flask import Blueprint, Response

from app.api import models, ownership, views
from app.api.operation import answer, operation, platform
from app.api.tracing import traceparent
from app.core import dead_letters, sessions, turns, workspaces
from app.core.errors import StaleFence

blueprint = Blueprint("turns", __name__)


@blueprint.get("/workspaces/<workspace_id>/turns")
@operation("read", tag="turns", query=models.TurnQuery, reply=models.Turns)
def list_turns(workspace_id: str, query: models.TurnQuery) -> Response:
    """Turns, the open ones first, newest first."""
    workspaces.require(platform(), workspace_id)
    found = turns.listing(platform(), workspace_id, query.state, query.limit)
    return answer({"turns": [views.turn(workspace_id, item) for item in found]})


def shown_turn(workspace_id: str, turn_id: str) -> dict[str, Any]:
    """A turn with what was asked and what came back."""
    found, body, result = turns.read_whole(platform(), workspace_id, turn_id)
    return views.turn(workspace_id, found, body, result)


@blueprint.get("/workspaces/<workspace_id>/turns/<turn_id>")
@operation("read", tag="turns", reply=models.Turn)
def show_turn(workspace_id: str, turn_id: str) -> Response:
    """One turn with what was asked and what came back."""
    workspaces.require(platform(), workspace_id)
    return answer(shown_turn(workspace_id, turn_id))


@blueprint.post("/workspaces/<workspace_id>/turns/<turn_id>/cancel")
@operation("send", tag="turns", body=models.Reason, reply=models.Turn)
def cancel_turn(workspace_id: str, turn_id: str, body: models.Reason) -> Response:
    """Cancel a turn: at once until an agent has fetched it, then through its own session."""
    workspaces.require(platform(), workspace_id)
    turn = ownership.turn_of(workspace_id, turn_id)
    turns.cancel(platform(), workspace_id, turn.id, body.reason)
    return answer(shown_turn(workspace_id, turn_id))


@blueprint.post("/workspaces/<workspace_id>/turns/<turn_id>/replay")
@operation(
    "operate",
    tag="turns",
    body=models.ReplayTurn,
    reply=models.Turn,
    status=202,
    refusals=(409, 410, 429),
)
def replay_turn(workspace_id: str, turn_id: str, body: models.ReplayTurn) -> Response:
    """Queue an ended turn again, as a new turn that names the old one. Asked twice, the answer is
    the same new turn, unless ``again`` is set."""
    workspaces.require(platform(), workspace_id)
    wish = turns.Replay(turn_id, again=body.again, traceparent=traceparent() or "")
    accepted = turns.replay(platform(), workspace_id, wish)
    return answer(shown_turn(workspace_id, accepted.turn_id), 202)


@blueprint.post("/workspaces/<workspace_id>/turns/<turn_id>/discard")
@operation("operate", tag="turns", body=models.Reason, reply=models.Turn, refusals=(409,))
def discard_turn(workspace_id: str, turn_id: str, body: models.Reason) -> Response:
    """Give a dead letter up: it is kept like any ended turn from now on; asking twice does no
    harm."""
    workspaces.require(platform(), workspace_id)
    dead_letters.discard(platform(), workspace_id, turn_id, body.reason)
    return answer(shown_turn(workspace_id, turn_id))


@blueprint.get("/workspaces/<workspace_id>/sessions")
@operation("read", tag="sessions", query=models.Page, reply=models.Sessions)
def list_sessions(workspace_id: str, query: models.Page) -> Response:
    """Sessions, the live ones first."""
    workspaces.require(platform(), workspace_id)
    now = platform().now_ms()
    found = sessions.recent(platform(), workspace_id, query.limit)
    return answer({"sessions": [views.session(workspace_id, item, now) for item in found]})


def _shown(workspace_id: str, session_id: str) -> Response:
    found = sessions.get(platform(), workspace_id, session_id)
    row = views.session(workspace_id, found, platform().now_ms())
    return answer(row | {"bound": sessions.bound(platform(), workspace_id, session_id)})


@blueprint.get("/workspaces/<workspace_id>/sessions/<session_id>")
@operation("read", tag="sessions", reply=models.Session)
def show_session(workspace_id: str, session_id: str) -> Response:
    """One session with exactly what it was given."""
    workspaces.require(platform(), workspace_id)
    return _shown(workspace_id, session_id)


@blueprint.post("/workspaces/<workspace_id>/sessions/<session_id>/checkpoint")
@operation("operate", tag="sessions", body=models.Reason, reply=models.Session)
def checkpoint_session(workspace_id: str, session_id: str, body: models.Reason) -> Response:
    """Ask a session to save and exit; asked once, and only this session."""
    workspaces.require(platform(), workspace_id)
    found = sessions.get(platform(), workspace_id, session_id)
    asked = sessions.Ask(
        kind="checkpoint",
        mechanism="operator",
        reason=body.reason,
        within_s=platform().settings.checkpoint_grace_s,
    )
    if found.ended_at is None:
        with suppress(StaleFence):  # it ended meanwhile: the answer shows that
            sessions.ask(platform(), workspace_id, found, asked)
    return _shown(workspace_id, session_id)


@blueprint.post("/workspaces/<workspace_id>/sessions/<session_id>/end")
@operation("operate", tag="sessions", body=models.Reason, reply=models.Session)
def end_session(workspace_id: str, session_id: str, body: models.Reason) -> Response:
    """End a session now and free its slot; idempotent, and never another session."""
    workspaces.require(platform(), workspace_id)
    found = sessions.get(platform(), workspace_id, session_id)
    sessions.reap(platform(), workspace_id, found, "operator", 0, "operator", body.reason)
    return _shown(workspace_id, session_id)
