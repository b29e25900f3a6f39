"""One decorator for every route: scope, validation and OpenAPI from the same declaration.

A view without a declared scope answers nobody: the check that runs before every request refuses
it, so a new route is closed until it says who may use it.
"""

import inspect
import json as jsonlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, Protocol, cast

from flask import Request, Response, current_app, g, request
from pydantic import BaseModel, ValidationError
from spectree import Response as Documented
from spectree import SecurityScheme, SpecTree
from spectree.models import SecureType, SecuritySchemeData
from werkzeug.exceptions import MethodNotAllowed

from app.api import bodies, loopback, upgrade
from app.core import tokens
from app.core.admission import Pace, admit
from app.core.errors import Forbidden, InvalidInput, Unauthorized
from app.core.platform import Platform
from app.core.tokens import COOKIE, Token

PUBLIC = "public"
SSE = "text/event-stream"
Model = type[BaseModel] | None

spec = SpecTree(
    "flask",
    title="Turnkeeper",
    version="0.1.0",
    description="Durable dispatch plane for long-running AI-agent sessions.",
    openapi_version="3.1.0",
    annotations=False,
    naming_strategy=lambda model: model.__name__,
    nested_naming_strategy=lambda _, child: child,
    security_schemes=[
        SecurityScheme(
            name="bearer", data=SecuritySchemeData(type=SecureType.HTTP, scheme="bearer")
        )
    ],
)


class Rule(BaseModel):
    """One broken rule, and the field that breaks it."""

    field: str
    rule: str


class Problem(BaseModel):
    """An error (RFC 9457); further members name limits, settings and measured values."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[Rule] | None = None


class View(Protocol):
    """A route's function with what it declares."""

    scope: str
    is_anywhere: bool
    replies: Mapping[int, type[BaseModel] | None]
    problems: frozenset[int]
    media_type: str
    public_if: str
    pace: Pace
    __wrapped__: Callable[..., Any]

    def __call__(self, **path: Any) -> Any:
        """Answer the request."""


def scopes_of(scope: str) -> list[str]:
    """``read or runtime``: a token with any of them may call the route."""
    return scope.split(" or ")


def platform() -> Platform:
    """The platform of the app that serves this request."""
    found: Platform = current_app.extensions["turnkeeper"].platform
    return found


def token() -> Token:
    """The token of this request; its scope has been checked."""
    found: Token = g.token
    return found


def operation(
    scope: str,
    *,
    tag: str,
    query: Model = None,
    body: Model = None,
    reply: Model = None,
    status: int = 200,
    is_anywhere: bool = False,
    raw_body: Model = None,
    more: Mapping[int, Model] | None = None,
    refusals: tuple[int, ...] = (),
    media_type: str = "application/json",
    public_if: str = "",
    pace: Pace | None = None,
) -> Callable[[Callable[..., Any]], View]:
    """Declare a route: who may call it (``public``, a scope, ``one or other``), what it takes, what
    it answers.

    The view gets ``query`` and ``body`` as validated models, by those names. A route that names
    no workspace in its path needs the scope in all of them; with ``is_anywhere`` the scope in
    any one lets the caller in, and the view itself keeps to what the token reaches.

    Args:
        raw_body: documents a body that the view reads for itself.
        more: answers beside ``reply``, by status.
        public_if: a setting under which anybody may call it.
        pace: as what its requests are counted, where that does not follow from the rest.
        refusals: statuses of problems beyond those that follow from the rest.
    """

    def decorate(view: Callable[..., Any]) -> View:
        replies = {status: reply, **(more or {})}
        problems = _problems(view, scope, query, body or raw_body) | set(refusals)
        counted = pace or _pace(scope, media_type)
        checked = cast(View, _checking(view, query, body, counted))
        checked.scope, checked.is_anywhere, checked.media_type = scope, is_anywhere, media_type
        checked.public_if, checked.pace = public_if, counted
        checked.replies, checked.problems = replies, frozenset(problems - set(replies))
        # Only its documentation: called through, it would read every answer, a stream for ever.
        checked.__wrapped__ = _documented(view, checked, tag, query, body or raw_body)
        return checked

    return decorate


def _pace(scope: str, media_type: str) -> Pace:
    if media_type == SSE:
        return Pace.STREAM
    return Pace.AGENT if scope == "runtime" else Pace.REQUEST


def _checking(
    view: Callable[..., Any], query: Model, body: Model, pace: Pace
) -> Callable[..., Any]:
    @wraps(view)
    def call(**path: Any) -> Any:
        with _refusals_counted(pace):
            if query is not None:
                path["query"] = validated(query, request.args.to_dict(), "query")
            if body is not None:
                path["body"] = validated(body, bodies.read(bodies.raw(request) or b"{}"), "body")
        return view(**path)

    return call


def _problems(view: Callable[..., Any], scope: str, query: Model, body: Model) -> set[int]:
    """The statuses of problems that follow from what a route takes."""
    names_a_thing = any(name.endswith("_id") for name in inspect.signature(view).parameters)
    found = set() if scope == PUBLIC else {401, 403, 429, 503}
    found |= {404} if names_a_thing else set()
    found |= {422} if query else set()
    return found | ({400, 413, 422} if body else set())


def _documented(
    view: Callable[..., Any], declared: View, tag: str, query: Model, body: Model
) -> Callable[..., Any]:
    answers = {f"HTTP_{code}": model for code, model in declared.replies.items()}
    answers |= {f"HTTP_{code}": Problem for code in sorted(declared.problems)}
    documented: Callable[..., Any] = spec.validate(
        query=query,
        json=body,
        resp=Documented(**answers),
        tags=[tag],
        security=_security(declared.scope),
        operation_id=view.__name__,
    )(view)
    return documented


def _security(scope: str) -> Any:
    return {} if scope == PUBLIC else [{"bearer": [one]} for one in scopes_of(scope)]


def answer(content: Mapping[str, Any] | list[Any], status: int = 200, **headers: str) -> Response:
    """A JSON response."""
    text = jsonlib.dumps(content, ensure_ascii=False, separators=(",", ":"))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(text, status, named, content_type="application/json")


def authorize() -> None:
    """Before every request: find the token, count the request, check the scope of the view and
    the workspace.

    Raises:
        Unauthorized, RateLimited, Forbidden.
    """
    if request.endpoint is None:
        return
    view = current_app.view_functions[request.endpoint]
    scope = getattr(view, "scope", None)
    if scope == PUBLIC or _is_public_here(view):
        g.login = cookie_of(request)  # for a page that shows itself with and without a login
        return
    workspace_id = (request.view_args or {}).get("workspace_id")
    pace = getattr(view, "pace", Pace.REQUEST)
    found = _caller(pace, workspace_id, scope or "")
    if found is None:
        raise Unauthorized
    g.token = found
    with _refusals_counted(pace):
        if scope is None:
            raise Forbidden("this route does not declare who may use it")
        _check(found, scope, workspace_id, getattr(view, "is_anywhere", False))


def _check(found: Token, scope: str, workspace_id: str | None, is_anywhere: bool) -> None:
    """Refuses with what is missing: the scope at all, or this workspace, or all of them."""
    scopes = scopes_of(scope)
    if not any(found.has(one) for one in scopes):
        raise Forbidden(f"this needs a token with scope {scope}", needed_scope=scope)
    if is_anywhere or any(tokens.reach(platform(), found, one, workspace_id) for one in scopes):
        return
    if workspace_id:
        raise Forbidden(f"this needs scope {scope} in workspace {workspace_id}", needed_scope=scope)
    raise Forbidden(
        f"this needs scope {scope} in all workspaces; this token is limited to some of them",
        needed_scope=scope,
    )


def _is_public_here(view: Callable[..., Any]) -> bool:
    setting = getattr(view, "public_if", "")
    return bool(setting) and bool(getattr(platform().settings, setting))


def _caller(pace: Pace, workspace_id: str | None, scope: str) -> Token | None:
    """Whose request this is, counted; without a token maybe whoever is on this machine."""
    if text := _presented():
        return admit(platform(), text, pace, workspace_id, scope=scope)
    is_open = platform().settings.open_loopback
    if is_open and loopback.is_local(request):
        return admit(platform(), loopback.TOKEN.id, pace, workspace_id, loopback.TOKEN, scope)
    return None


def count(pace: Pace, workspace_id: str | None, scope: str = "") -> None:
    """For a route of ``Pace.LATER``: count this request, now that its workspace is known.

    Raises:
        RateLimited.
    """
    text = _presented() or loopback.TOKEN.id
    admit(platform(), text, pace, workspace_id, token(), scope)


@contextmanager
def _refusals_counted(pace: Pace) -> Iterator[None]:
    """What is refused before a route of ``Pace.LATER`` counts for itself is counted here."""
    try:
        yield
    except Exception:
        if pace is Pace.LATER:
            count(Pace.AGENT, None)
        raise


def still_allowed(scope: str, workspace_ids: list[str]) -> Callable[[], bool]:
    """For an answer that outlives its request: whether its token still reaches all of these."""
    here, text = platform(), _presented() or ""

    is_local = not text and token() is loopback.TOKEN

    def check() -> bool:
        found = loopback.TOKEN if is_local else tokens.find(here, text)
        return found is not None and all(
            tokens.reach(here, found, scope, one) for one in workspace_ids
        )

    return check


def require(scope: str, workspace_id: str) -> None:
    """For a view that learns of the workspace from the body.

    Raises:
        Forbidden.
    """
    if not tokens.reach(platform(), token(), scope, workspace_id):
        raise Forbidden(f"this needs scope {scope} in workspace {workspace_id}", needed_scope=scope)


def refuse_head() -> None:
    """For a GET that does or holds something: HEAD, which Flask routes here too, must not.

    Raises:
        MethodNotAllowed.
    """
    if request.method == "HEAD":
        raise MethodNotAllowed(["GET"])


def _presented() -> str | None:
    """The bearer token, or the cookie of a browser that asks from our own pages.

    A cookie never authorizes what only agents do.
    """
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and text:
        return text.strip()
    if upgrade.is_asked(request) and (offered := upgrade.token(request)):
        return offered
    return None if _is_for_runtimes() else cookie_of(request)


def cookie_of(asked: Request) -> str | None:
    """The login's cookie, where our own pages, or a person's own step to a page, sent it.

    A change needs our own origin, and so does a WebSocket, which another site could read.
    ``same-site`` is any page on this host, on another port too: it may lead to a page of ours,
    and read nothing.
    """
    cookie, site = asked.cookies.get(COOKIE), asked.headers.get("Sec-Fetch-Site")
    if asked.method not in ("GET", "HEAD") or upgrade.is_asked(asked):
        return cookie if _same_origin() else None
    return cookie if site in (None, "same-origin", "none") or _leads_to_a_page(asked) else None


def _leads_to_a_page(asked: Request) -> bool:
    is_page = (asked.endpoint or "").startswith("ui.")
    fetched = asked.headers.get("Sec-Fetch-Mode"), asked.headers.get("Sec-Fetch-Dest")
    return is_page and asked.method == "GET" and fetched == ("navigate", "document")


def _is_for_runtimes() -> bool:
    """Whether only agents call this route: no browser needs it, and a GET of it hands out work."""
    view = current_app.view_functions.get(request.endpoint or "")
    scopes = scopes_of(getattr(view, "scope", None) or "")
    return "runtime" in scopes and "read" not in scopes


def _same_origin() -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("Origin") == request.host_url.rstrip("/")


def validated(model: type[BaseModel], value: Any, place: str) -> Any:
    """An instance of the model; ``place`` names the whole: ``body``, ``query``, ``reports.3``.

    Raises:
        InvalidInput: naming every field and its rule.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refusal(error, place) from error


def _field(place: str, parts: tuple[str | int, ...]) -> str:
    """``prompt``; ``reports.3.fence``: body and query themselves are named only as a whole."""
    inner = ".".join(str(part) for part in parts)
    if not inner or place in ("body", "query"):
        return inner or place
    return f"{place}.{inner}"


def refusal(error: ValidationError, place: str) -> InvalidInput:
    """Every broken rule as one refusal."""
    rows = [
        {"field": _field(place, item["loc"]), "rule": item["msg"]}
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    found = InvalidInput(rows[0]["field"], rows[0]["rule"])
    found.fields["errors"] = rows
    return found
