"""The HTTP API's page, from the routes' own declarations and the OpenAPI document."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from flask import Flask

from app.api.a2a import new_methods, old_methods
from app.api.a2a.faults import KINDS
from app.core import states
from app.core.a2a import legacy, shapes
from app.core.platform import Platform
from app.core.settings import Settings
from app.wsgi import create_app

Table = Callable[[Sequence[str], Iterable[Sequence[object]]], str]
Code = Callable[[Iterable[str]], str]
INTRO = """
JSON over HTTP. Send a token as `Authorization: Bearer …`. A token has scopes (`read`, `send`,
`runtime`, `operate`, `admin`; `admin` includes all) in some workspaces or in all. A route that
names no workspace needs its scope in all of them, except those marked *any*: there one workspace
is enough, and the answer keeps to what the token reaches. Times are RFC 3339 in UTC, durations
are seconds.

`GET /openapi.json` is the same as OpenAPI 3.1. Each status other than 2xx is a problem; see
[errors](errors.md).
"""
RPC = {
    "PARSE_ERROR": "The body is not JSON.",
    "INVALID_REQUEST": "Not a JSON-RPC 2.0 request.",
    "METHOD_NOT_FOUND": "No such method; see the HTTP API's page for those there are.",
    "INVALID_PARAMS": "A parameter breaks a rule; `data` lists field and rule.",
    "INTERNAL_ERROR": "Refused by the platform; `data.code` is one of the codes above.",
    "TASK_NOT_FOUND": "No such turn or push configuration, or its retention has passed.",
    "TASK_NOT_CANCELABLE": "The task has ended.",
    "UNSUPPORTED_OPERATION": "The task has ended, or waits for no input.",
    "CONTENT_TYPE_NOT_SUPPORTED": "Content-Type is not JSON.",
    "EXTENDED_AGENT_CARD_NOT_CONFIGURED": "Only clients of 1.0 get the extended card.",
    "VERSION_NOT_SUPPORTED": "`A2A-Version` is not 1.x on a method of 1.0.",
}


@lru_cache(maxsize=1)
def application() -> Flask:
    """The application on default settings; it connects to nothing until asked to."""
    return create_app(platform=Platform.start(Settings.model_validate({})))


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    found: dict[str, Any] = application().test_client().get("/openapi.json").get_json()
    return found


def routes() -> list[tuple[str, str, Any]]:
    """Method, path (with ``<name>``) and view of every route, by path."""
    app = application()
    return sorted(
        (method, rule.rule, app.view_functions[rule.endpoint])
        for rule in app.url_map.iter_rules()
        if not rule.websocket  # it has a plain twin
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


def parts(table: Table, code: Code) -> Iterator[str]:
    """The page's parts: a table for each tag, pages, JSON-RPC methods, bodies and replies."""
    yield INTRO
    by_tag: dict[str, list[list[object]]] = {}
    pages = []
    for method, path, view in sorted(routes(), key=lambda route: (route[1], route[0])):
        described = document()["paths"].get(path.replace("<", "{").replace(">", "}"), {})
        told = described.get(method.lower(), {})
        if not told.get("tags"):
            pages.append([f"`{method} {path}`", view.scope, (view.__doc__ or "").splitlines()[0]])
            continue
        by_tag.setdefault(told["tags"][0], []).append(_row(method, path, view, told))
    heads = ["Route", "Scope", "What it does", "Takes", "Answers", "Statuses"]
    for tag in sorted(by_tag):
        yield f"## {tag.capitalize().replace('A2a', 'A2A')}\n\n{table(heads, by_tag[tag])}"
    yield "## Pages\n\n" + table(["Route", "Scope", "What it shows"], pages)
    yield (
        "## JSON-RPC methods\n\n`POST /workspaces/<workspace_id>/a2a` with a `jsonrpc` member "
        f"takes {code(['SendMessage', *new_methods.STREAMS, *new_methods.METHODS])} of A2A 1.0 "
        f"and {code([old_methods.SEND[0], *old_methods.STREAMS, *old_methods.METHODS])} of 0.3. "
        "The methods of 1.0 are also served as HTTP+JSON, above. Without that member the body is "
        "the short form "
        '`{"method": "message/send", "params": {"message": {…}}}`, answered 202 at once.'
    )
    yield "## Bodies and replies"
    for name, schema in sorted(document()["components"]["schemas"].items()):
        if not name.startswith("ValidationError"):
            yield _schema(name, schema, table)


def _row(method: str, path: str, view: Any, told: dict[str, Any]) -> list[object]:
    scope = view.scope + (", *any*" if view.is_anywhere else "")
    answers = {status: _reference(given) for status, given in told["responses"].items()}
    # spectree adds its own 422 to every route; ours is a Problem.
    statuses = sorted(status for status, model in answers.items() if model != "ValidationError")
    reply = next((_link(model) for status, model in answers.items() if status < "3" and model), "")
    return [f"`{method} {path}`", scope, told["summary"], _takes(told), reply, ", ".join(statuses)]


def _takes(told: dict[str, Any]) -> str:
    query = [item["name"] for item in told.get("parameters", []) if item["in"] == "query"]
    if query:
        return "query " + ", ".join(f"`{name}`" for name in query)
    body = _reference(told.get("requestBody", {}))
    return _link(body) if body else ""


def _reference(given: dict[str, Any]) -> str:
    schema = given.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _schema(name: str, schema: dict[str, Any], table: Table) -> str:
    required = schema.get("required", [])
    rows = [
        [
            f"`{field}`",
            _type(rule),
            "yes" if field in required else "",
            f"`{rule['default']}`" if rule.get("default") not in (None, "", [], {}) else "",
            rule.get("description", ""),
        ]
        for field, rule in schema.get("properties", {}).items()
    ]
    about = schema.get("description", "").replace("\n", " ")
    heads = ["Field", "Type", "Required", "Default", "Notes"]
    return f"### {name}\n\n{about}\n\n" + (table(heads, rows) if rows else "")


def _type(rule: dict[str, Any]) -> str:
    if "$ref" in rule:
        return _link(str(rule["$ref"]).rpartition("/")[2])
    if "anyOf" in rule:
        return " or ".join(_type(one) for one in rule["anyOf"])
    if "enum" in rule or "const" in rule:
        return ", ".join(f"`{value}`" if value else "empty" for value in _values(rule))
    if rule.get("type") == "array":
        return f"list of {_type(rule.get('items', {}))}"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "maxLength": "length <="}
    limits = [f"{sign} {rule[key]:g}" for key, sign in signs.items() if key in rule]
    return " ".join([str(rule.get("type", "any")), *([f"({', '.join(limits)})"] if limits else [])])


def _values(rule: dict[str, Any]) -> list[Any]:
    return list(rule.get("enum", [rule.get("const")]))


def rpc_rows() -> list[list[object]]:
    """The JSON-RPC error codes."""
    assert RPC.keys() == KINDS.keys(), "a kind of error is not described"
    return [[KINDS[name].code, text] for name, text in RPC.items()]


def task_state(state: str) -> str:
    """The state that an A2A client sees."""
    assert state in states.TRANSITIONS
    shown = shapes.task_state(state, None)
    return f"`{legacy.status({'state': shown})['state']}`"
