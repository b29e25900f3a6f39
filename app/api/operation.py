"""One decorator for every route: scope, validation and OpenAPI from the same declaration.

A view without a declared scope answers nobody: the check that runs before every request refuses
it, so a new route is closed until it says who may use it.
"""

import json as jsonlib
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from flask import Response, current_app, g, request
from pydantic import BaseModel, ValidationError
from spectree import Response as Documented
from spectree import SecurityScheme, SpecTree
from spectree.models import SecureType, SecuritySchemeData

from app.api.errors import NotJson
from app.core.errors import Forbidden, InvalidInput, Unauthorized
from app.core.platform import Platform
from app.core.tokens import COOKIE, Token, find

PUBLIC = "public"
View = TypeVar("View", bound=Callable[..., Any])

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


class Problem(BaseModel):
    """An error (RFC 9457); further members name fields, rules, limits and settings."""

    type: str
    title: str
    status: int
    code: str
    detail: str


def platform() -> Platform:
    """The platform of the app that serves this request."""
    return current_app.extensions["turnkeeper"].platform  # type: ignore[no-any-return]


def token() -> Token:
    """The token of this request; its scope has been checked."""
    return g.token  # type: ignore[no-any-return]


def operation(
    scope: str,
    *,
    tag: str,
    query: type[BaseModel] | None = None,
    body: type[BaseModel] | None = None,
    reply: type[BaseModel] | None = None,
    status: int = 200,
    is_anywhere: bool = False,
) -> Callable[[View], View]:
    """Declare a route: who may call it (``public`` or a scope), what it takes, what it answers.

    The view gets ``query`` and ``body`` as validated models, by those names. A route that names
    no workspace in its path needs the scope in all of them; with ``is_anywhere`` the scope in
    any one lets the caller in, and the view itself keeps to what the token reaches.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(**path: Any) -> Any:
            if query is not None:
                path["query"] = _validated(query, request.args.to_dict(), "query")
            if body is not None:
                path["body"] = _validated(body, _json(), "body")
            return view(**path)

        answers: dict[str, Any] = {f"HTTP_{status}": reply}
        failures = [422] if query or body else []
        failures += [401, 403] if scope != PUBLIC else []
        answers |= {f"HTTP_{code}": Problem for code in failures}
        documented = spec.validate(
            query=query,
            json=body,
            resp=Documented(**answers),
            tags=[tag],
            security={} if scope == PUBLIC else {"bearer": [scope]},
            operation_id=view.__name__,
        )(view)
        # Only its documentation: called through, it would read every answer, a stream for ever.
        checked.__wrapped__ = documented  # type: ignore[attr-defined]
        checked.scope = scope  # type: ignore[attr-defined]
        checked.is_anywhere = is_anywhere  # type: ignore[attr-defined]
        return checked

    return decorate


def answer(content: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    """A JSON response."""
    text = jsonlib.dumps(content, ensure_ascii=False, separators=(",", ":"))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(text, status, named, content_type="application/json")


def authorize() -> None:
    """Before every request: find the token, check the scope of the view and the workspace.

    Raises:
        Unauthorized, Forbidden.
    """
    if request.endpoint is None:
        return
    view = current_app.view_functions[request.endpoint]
    scope = getattr(view, "scope", None)
    if scope == PUBLIC:
        return
    found = find(platform(), text) if (text := _presented()) else None
    if found is None:
        raise Unauthorized
    workspace_id = (request.view_args or {}).get("workspace_id")
    is_anywhere = getattr(view, "is_anywhere", False)
    if scope is None or not found.allows(
        scope, found.workspaces[0] if is_anywhere else workspace_id
    ):
        needed = scope or "a scope that this route does not declare"
        where = f" in workspace {workspace_id}" if workspace_id else " in all workspaces"
        raise Forbidden(f"this needs scope {needed}{where}", needed_scope=needed)
    g.token = found


def require(scope: str, workspace_id: str) -> None:
    """For a view that learns of the workspace from the body.

    Raises:
        Forbidden.
    """
    if not token().allows(scope, workspace_id):
        raise Forbidden(f"this needs scope {scope} in workspace {workspace_id}", needed_scope=scope)


def _presented() -> str | None:
    """The bearer token, or the cookie of a browser that asks from our own pages.

    A cookie never authorizes a change asked for by another site.
    """
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and text:
        return text.strip()
    cookie = request.cookies.get(COOKIE)
    if cookie and (request.method in ("GET", "HEAD") or _same_origin()):
        return cookie
    return None


def _same_origin() -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("Origin") == request.host_url.rstrip("/")


def _json() -> Any:
    raw = request.get_data(cache=True)
    try:
        return jsonlib.loads(raw or b"{}")
    except (ValueError, RecursionError) as error:
        raise NotJson(f"body: not JSON ({error})") from error


def _validated(model: type[BaseModel], value: Any, place: str) -> BaseModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        rows = [
            {"field": ".".join(str(part) for part in item["loc"]) or place, "rule": item["msg"]}
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        first = rows[0]
        refusal = InvalidInput(first["field"], first["rule"])
        refusal.fields["errors"] = rows
        raise refusal from error
