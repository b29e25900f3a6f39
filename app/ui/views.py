"""Pages: log in, the fleet, one workspace."""

from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, redirect, render_template, request, send_from_directory
from werkzeug.wrappers import Response as AnyResponse

from app.api import views
from app.api.operation import COOKIE, PUBLIC, operation, platform, token
from app.core import schedules, sessions, tokens, turns, why, workspaces

blueprint = Blueprint("ui", __name__, template_folder="templates")
SESSION_S = 43_200
STATIC = Path(__file__).parent / "static"


@blueprint.get("/login")
@operation(PUBLIC, tag="ui")
def login() -> Response | AnyResponse:
    """Trade a one-time code for a cookie."""
    text = tokens.redeem(platform(), request.args.get("code", ""), SESSION_S)
    if text is None:
        return Response(render_template("login.html"), 401)
    response = redirect("/")
    response.set_cookie(
        COOKIE, text, max_age=SESSION_S, httponly=True, samesite="Strict", secure=request.is_secure
    )
    return response


@blueprint.get("/")
@operation(PUBLIC, tag="ui")
def fleet() -> Response | AnyResponse:
    """Every workspace; those that wait longest first."""
    found = tokens.find(platform(), request.cookies.get(COOKIE, ""))
    if found is None:
        return Response(render_template("login.html"), 401)
    rows = []
    for item in workspaces.listing(platform()):
        if found.allows("read", item.id):
            rows.append((item, why.explain(platform(), item.id)))
    rows.sort(key=lambda row: -row[1].oldest_wait_s)
    return Response(render_template("fleet.html", rows=rows))


@blueprint.get("/w/<workspace_id>")
@operation("read", tag="ui")
def workspace(workspace_id: str) -> str:
    """One workspace: what runs, what waits and why, its schedules, the live feed, chat."""
    found = workspaces.get(platform(), workspace_id)
    now = platform().now_ms()
    return render_template(
        "workspace.html",
        workspace=views.workspace(found, platform().settings),
        why=asdict(why.explain(platform(), workspace_id)),
        sessions=[views.session(workspace_id, s, now) for s in sessions.recent(platform(), workspace_id, 10)],
        turns=[views.turn(workspace_id, t) for t in turns.listing(platform(), workspace_id, None, 20)],
        schedules=[schedules.row(platform(), s) for s in schedules.listing(platform(), workspace_id)],
        can_send=token().allows("send", workspace_id),
        stream=f"/workspaces/{workspace_id}/events/stream?{urlencode({'since': '10m'})}",
    )


@blueprint.get("/static/<path:name>")
@operation(PUBLIC, tag="ui")
def static(name: str) -> Response:
    """Scripts and styles."""
    if "/" in name:
        abort(404)
    return send_from_directory(STATIC, name, max_age=3600)
