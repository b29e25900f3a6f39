"""Agent cards: what a workspace's agent said of itself, under our addresses and our abilities."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from flask import Response, request

from app.api import models
from app.api.a2a.blueprint import blueprint
from app.api.operation import operation, platform
from app.core import workspaces
from app.core.workspaces import Workspace

TAG = "a2a"
MAX_AGE_S = 60
SKILL_TEXTS = ("id", "name", "description")
SKILL_LISTS = ("tags", "examples", "inputModes", "outputModes")


@dataclass(frozen=True)
class Card:
    """A card in the form of 1.0, and merged with what clients of 0.3 read."""

    pure: dict[str, Any]
    merged: dict[str, Any]
    changed_at_ms: int


def of(workspace_id: str) -> Card:
    """The card of a workspace.

    Raises:
        WorkspaceNotFound.
    """
    found = workspaces.get(platform(), workspace_id)
    settings = platform().settings
    base = (settings.public_url or request.host_url).rstrip("/")
    address = f"{base}/workspaces/{workspace_id}/a2a"
    is_open = settings.open_loopback
    pure = card(found, address, is_open)
    merged = pure | old_members(pure, address, is_open)
    legacy_off = found.stored.get("legacy_card") == "0"
    changed_at_ms = int(float(found.stored.get("updated_at", found.stored.get("created_at", 0))))
    return Card(pure, pure if legacy_off else merged, changed_at_ms)


def card(found: Workspace, address: str, is_open: bool) -> dict[str, Any]:
    """A card in the form of 1.0. Pure."""
    said = _said(found)
    name = found.stored.get("name") or _text(said, "name") or found.id
    about = found.stored.get("description") or _text(said, "description")
    shown: dict[str, Any] = {
        "name": name,
        "description": about or f"The agent of workspace {found.id}",
        "supportedInterfaces": [
            {"url": address, "protocolBinding": binding, "protocolVersion": version}
            for binding, version in (("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3"))
        ],
        "version": _text(said, "version") or "1.0.0",
        "capabilities": {
            "streaming": True,
            "pushNotifications": True,
            "extendedAgentCard": True,
        },
        "defaultInputModes": ["*/*"],
        "defaultOutputModes": _texts(said.get("defaultOutputModes")) or ["text/plain"],
        "skills": _skills(said, found.id, name),
    }
    if not is_open:
        scheme = {"httpAuthSecurityScheme": {"scheme": "Bearer"}}
        shown["securitySchemes"] = {"bearer": scheme}
        shown["securityRequirements"] = [{"schemes": {"bearer": {"list": []}}}]
    return shown


def old_members(pure: Mapping[str, Any], address: str, is_open: bool) -> dict[str, Any]:
    """What a card of 0.3 has beside, or in place of, what 1.0 has. Pure."""
    shown: dict[str, Any] = {
        "protocolVersion": "0.3.0",
        "url": address,
        "preferredTransport": "JSONRPC",
        "additionalInterfaces": [{"url": address, "transport": "JSONRPC"}],
        "supportsAuthenticatedExtendedCard": False,
    }
    if not is_open:
        both = {**pure["securitySchemes"]["bearer"], "type": "http", "scheme": "bearer"}
        shown |= {"securitySchemes": {"bearer": both}, "security": [{"bearer": []}]}
    return shown


def _said(found: Workspace) -> Mapping[str, Any]:
    try:
        said = json.loads(found.stored.get("agent_card") or "{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _text(said: Mapping[str, Any], name: str) -> str:
    text = said.get(name)
    return text if isinstance(text, str) else ""


def _texts(given: Any) -> list[str]:
    return [text for text in given if isinstance(text, str)] if isinstance(given, list) else []


def _skills(said: Mapping[str, Any], workspace_id: str, name: str) -> list[dict[str, Any]]:
    given = said.get("skills") if isinstance(said.get("skills"), list) else []
    found = []
    for skill in given or []:
        if not isinstance(skill, dict) or not _text(skill, "id") or not _text(skill, "name"):
            continue
        shown: dict[str, Any] = {key: _text(skill, key) or skill["name"] for key in SKILL_TEXTS}
        lists = {key: _texts(skill.get(key)) for key in SKILL_LISTS}
        found.append({**shown, **{key: texts for key, texts in lists.items() if texts}})
        found[-1].setdefault("tags", ["agent"])
    about = f"Send a message to {name}; it waits until the agent has room"
    usual = {"id": workspace_id, "name": name, "description": about, "tags": ["agent"]}
    return found or [usual]


def _answer(workspace_id: str) -> Response:
    found = of(workspace_id)
    version = request.headers.get("A2A-Version", "").strip()
    shown = found.pure if version.startswith("1.") or version == "1" else found.merged
    text = json.dumps(shown, ensure_ascii=False)
    response = Response(text, content_type="application/json")
    response.set_etag(hashlib.sha256(text.encode()).hexdigest()[:32])
    response.headers["Last-Modified"] = formatdate(found.changed_at_ms / 1000, usegmt=True)
    is_shared = "public" if platform().settings.public_cards else "private"
    response.headers["Cache-Control"] = f"{is_shared}, max-age={MAX_AGE_S}"
    response.headers["Vary"] = "A2A-Version, Authorization"
    response.make_conditional(request)
    return response


@blueprint.get("/workspaces/<workspace_id>/.well-known/agent-card.json")
@operation("send", tag=TAG, reply=models.AgentCard, public_if="public_cards")
def show_card(workspace_id: str) -> Response:
    """The workspace's agent card; which form depends on the header ``A2A-Version``."""
    return _answer(workspace_id)


@blueprint.get("/workspaces/<workspace_id>/a2a/.well-known/agent-card.json")
@operation("send", tag=TAG, reply=models.AgentCard, public_if="public_cards")
def show_card_beside(workspace_id: str) -> Response:
    """The same card under the address of the agent itself, where some clients look for it."""
    return _answer(workspace_id)
