"""What every page shares: the blueprint, who may see a page, logging in, static files."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import (
    Blueprint,
    Response,
    current_app,
    redirect,
    render_template,
    request,
    send_from_directory,
)
from flask import g as request_globals
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from app.core import tokens
from app.core.clock import rfc3339
from app.core.errors import Forbidden, NotFound, Unauthorized
from app.core.platform import Platform
from app.core.tokens import Token
from app.core.why import span
from app.ui import svg

blueprint = Blueprint("ui", __name__, template_folder="templates")
SESSION_S = 43_200
STATIC = Path(__file__).parent / "static"
YEAR_S = 31_536_000


def scope(name: str, is_anywhere: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Who may see a page; checked before the request like every route's scope."""

    def mark(view: Callable[..., Any]) -> Callable[..., Any]:
        view.scope, view.is_anywhere = name, is_anywhere  # type: ignore[attr-defined]
        return view

    return mark


def platform() -> Platform:
    """The platform of the app that serves this request."""
    found: Platform = current_app.extensions["turnkeeper"].platform
    return found


def token() -> Token:
    """The token of the person who looks."""
    found: Token = request_globals.token
    return found


def page(template: str, status: int = 200, **shown: Any) -> Response:
    """A page; ``now`` is the server's time, in ms."""
    return Response(render_template(template, **shown), status)


@lru_cache
def _digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


@blueprint.app_template_global("static_url")
def static_url(name: str) -> str:
    """A file's address, which changes with its content: it may be cached for a year."""
    return f"/static/{name}?v={_digest(name)}"


@blueprint.app_template_filter("when")
def when(at_ms: int | float | None) -> Markup:
    """A time: the page shows it as an age, as local time or as UTC."""
    if at_ms is None:
        return Markup("")
    text = rfc3339(int(at_ms)) or ""
    shown = text[:19].replace("T", " ")
    return Markup('<time datetime="{}">{} UTC</time>').format(text, shown)


@blueprint.app_template_filter("span_ms")
def span_ms(ms: int | float | None) -> str:
    """A duration as a person says it."""
    return "" if ms is None else span(max(0, ms) / 1000)


blueprint.add_app_template_filter(rfc3339, "rfc3339")
blueprint.add_app_template_filter(svg.chip, "state_chip")


@blueprint.errorhandler(Unauthorized)
def log_in_first(_: Unauthorized) -> Response:
    """A person gets a page where a program gets a problem."""
    return page("login.html", 401)


@blueprint.errorhandler(Forbidden)
def not_for_you(error: Forbidden) -> Response:
    """The token does not reach this page."""
    return page("refused.html", 403, title="Not allowed", detail=error.detail)


@blueprint.errorhandler(NotFound)
def no_such_page(error: NotFound) -> Response:
    """What the page is about does not exist."""
    return page("refused.html", 404, title="Not found", detail=error.detail)


@blueprint.get("/login")
@scope("public")
def login() -> Response | AnyResponse:
    """Trade a one-time code for a cookie: an opaque token of its own, revocable like any."""
    code = request.args.get("code", "")
    # HEAD: whoever previews a link must not use it up.
    text = tokens.redeem(platform(), code, SESSION_S) if request.method == "GET" else None
    if text is None:
        return page("login.html", 401)
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


@blueprint.post("/logout")
@scope("public")
def logout() -> AnyResponse:
    """End this browser's login. A form without ``Sec-Fetch-Site`` names no origin either, by our
    own referrer policy; ``SameSite`` keeps the cookie from other sites.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise Unauthorized
    tokens.log_out(platform(), request.cookies.get(tokens.COOKIE, ""))
    response = redirect("/", 303)
    response.delete_cookie(tokens.COOKIE, httponly=True, samesite="Strict")
    return response


@blueprint.get("/static/<path:name>")
@scope("public")
def static(name: str) -> Response:
    """Scripts and styles; an address that carries their digest never changes its content."""
    is_named = request.args.get("v", "") != ""
    response = send_from_directory(STATIC, name, max_age=YEAR_S if is_named else 60)
    if is_named:
        response.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable"
    return response
