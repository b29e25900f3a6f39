"""Pages: log in, the fleet, one workspace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import (
    Blueprint,
    Response,
    current_app,
    g,
    redirect,
    render_template,
    request,
    send_from_directory,
)
from werkzeug.wrappers import Response as AnyResponse

from app.core import forecasting, policy, schedules, sessions, tokens, turns, why, workspaces
from app.core.admission import Pace, admit
from app.core.clock import rfc3339
from app.core.errors import Forbidden, NotFound, Unauthorized
from app.core.platform import Platform
from app.core.recall import newest

blueprint = Blueprint("ui", __name__, template_folder="templates")
blueprint.add_app_template_filter(rfc3339, "rfc3339")
SESSION_S = 43_200
STATIC = Path(__file__).parent / "static"


def _scope(scope: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Who may see a page; checked before the request like every route's scope."""

    def mark(view: Callable[..., Any]) -> Callable[..., Any]:
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return mark


def _platform() -> Platform:
    found: Platform = current_app.extensions["turnkeeper"].platform
    return found


def _page(template: str, status: int = 200, **shown: Any) -> Response:
    return Response(render_template(template, **shown), status)


@blueprint.errorhandler(Unauthorized)
def log_in_first(_: Unauthorized) -> Response:
    """A person gets a page where a program gets a problem."""
    return _page("login.html", 401)


@blueprint.errorhandler(Forbidden)
def not_for_you(error: Forbidden) -> Response:
    """The token does not reach this page."""
    return _page("refused.html", 403, title="Not allowed", detail=error.detail)


@blueprint.errorhandler(NotFound)
def no_such_page(error: NotFound) -> Response:
    """What the page is about does not exist."""
    return _page("refused.html", 404, title="Not found", detail=error.detail)


@blueprint.get("/login")
@_scope("public")
def login() -> Response | AnyResponse:
    """Trade a one-time code for a cookie: an opaque token of its own, revocable like any."""
    code = request.args.get("code", "")
    # HEAD: whoever previews a link must not use it up.
    text = tokens.redeem(_platform(), code, SESSION_S) if request.method == "GET" else None
    if text is None:
        return _page("login.html", 401)
    response = redirect("/")
    response.set_cookie(
        tokens.COOKIE,
        text,
        max_age=SESSION_S,
        httponly=True,
        samesite="Strict",
        # A proxy nobody trusts can only make the cookie stricter.
        secure=request.is_secure or request.headers.get("X-Forwarded-Proto") == "https",
    )
    return response


@blueprint.get("/")
@_scope("public")
def fleet() -> Response:
    """Every workspace; those that wait longest first."""
    found = admit(_platform(), request.cookies.get(tokens.COOKIE, ""), Pace.REQUEST)
    if found is None:
        return _page("login.html", 401)
    rows = [
        (item, why.explain(_platform(), item.id))
        for item in workspaces.listing(_platform())
        if found.allows("read", item.id, item.stored.get("team"))
    ]
    rows.sort(key=lambda row: -row[1].oldest_wait_s)
    return _page("fleet.html", rows=rows)


@blueprint.get("/w/<workspace_id>")
@_scope("read")
def workspace(workspace_id: str) -> str:
    """One workspace: what runs, what waits and why, its schedules, the live feed, chat."""
    platform = _platform()
    forecast = forecasting.read(platform, workspace_id)
    return render_template(
        "workspace.html",
        forecast=forecast,
        needs={need.schedule_id: need for need in forecast.schedules},
        workspace=workspaces.get(platform, workspace_id),
        why=why.explain(platform, workspace_id),
        policy=policy.read(platform, workspaces.get(platform, workspace_id)),
        memories=newest(platform, workspace_id, 20),
        now=platform.now_ms(),
        sessions=sessions.recent(platform, workspace_id, 10),
        turns=turns.listing(platform, workspace_id, None, 20),
        schedules=[
            schedules.row(platform, item) for item in schedules.listing(platform, workspace_id)
        ],
        can_send=tokens.reach(platform, g.token, "send", workspace_id),
        stream=f"/workspaces/{workspace_id}/events/stream?{urlencode({'since': '10m'})}",
    )


@blueprint.get("/static/<name>")
@_scope("public")
def static(name: str) -> Response:
    """Scripts and styles."""
    return send_from_directory(STATIC, name, max_age=3600)
