"""The OpenAPI document: what the decorator declares, corrected where spectree has no word."""

import copy
from typing import Any

from flask import Flask

from app.api.operation import PUBLIC, spec


def document(app: Flask) -> dict[str, Any]:
    """This application's document; spectree keeps what it has built, so it is not changed."""
    whole: dict[str, Any] = copy.deepcopy(spec.spec)
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if not hasattr(view, "replies") or rule.websocket:  # its plain twin is the described one
            continue
        path = rule.rule.replace("<", "{").replace(">", "}")
        for method in (rule.methods or set()) & {"GET", "POST", "PATCH", "DELETE"}:
            told = whole["paths"][path][method.lower()]
            _correct(told, view, rule.endpoint.startswith(("a2a.", "mcp.")))
            _say_who(told, view, "workspace_id" in rule.arguments)
    pages = [path for path, told in whole["paths"].items() if not _is_declared(told)]
    for path in pages:
        del whole["paths"][path]
    return whole


def _is_declared(told: dict[str, Any]) -> bool:
    return any(operation["tags"] for operation in told.values())


def _say_who(told: dict[str, Any], view: Any, names_one: bool) -> None:
    """Who may call it, as the check before each request reads it."""
    told["x-scope"] = view.scope
    if view.scope == PUBLIC:
        return
    told["x-reach"] = "any" if view.is_anywhere else "workspace" if names_one else "all"
    told["x-pace"] = str(view.pace)
    if view.public_if:
        told["x-public-if"] = view.public_if


def _correct(told: dict[str, Any], view: Any, has_own_form: bool) -> None:
    answers = told["responses"]
    for status in [int(text) for text in answers]:
        if status in view.problems:
            content = answers[str(status)]["content"]
            content["application/problem+json"] = content.pop("application/json")
            if has_own_form:  # JSON-RPC has its own for what goes wrong behind the door
                content["application/json"] = {"schema": {"type": "object"}}
        elif status not in view.replies:
            del answers[str(status)]  # spectree adds its own 422 everywhere
    if view.media_type != "application/json":
        answers["200"]["content"] = {view.media_type: {"schema": {"type": "string"}}}
