"""Short ways to call an agent of a test's web process over A2A."""

from typing import Any

from app.core import sessions
from tests.unit.api.web import Web

BASE = "/workspaces/w1/a2a"
JSON = {"Content-Type": "application/json", "A2A-Version": "1.0"}


def message(text: str = "hi", name: str = "m1", **more: Any) -> dict[str, Any]:
    """A message of 1.0."""
    return {"messageId": name, "role": "ROLE_USER", "parts": [{"text": text}], **more}


def old_message(text: str = "hi", name: str = "m1", **more: Any) -> dict[str, Any]:
    """A message of 0.3."""
    part = {"kind": "text", "text": text}
    return {"kind": "message", "messageId": name, "role": "user", "parts": [part], **more}


def call(site: Web, method: str, params: Any, **headers: str) -> Any:
    """A JSON-RPC call: its whole answer."""
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    response = site.ask("POST", BASE, body, headers={**JSON, **headers})
    told = response.get_json()
    assert told["id"] == 7, told
    return told


def result(site: Web, method: str, params: Any, **headers: str) -> Any:
    """The result of a call that must succeed."""
    told = call(site, method, params, **headers)
    assert "result" in told, told
    return told["result"]


def code(site: Web, method: str, params: Any, **headers: str) -> int:
    """The code of a call that must be refused."""
    told = call(site, method, params, **headers)
    assert "error" in told, told
    assert told["error"]["message"]
    return int(told["error"]["code"])


def send(site: Web, **more: Any) -> str:
    """The id of a new task."""
    return str(result(site, "SendMessage", {"message": message(**more)})["task"]["id"])


def act(site: Web, outcome: str = "completed", **fields: Any) -> sessions.Claim:
    """The agent takes the next turn and ends it so."""
    claim = site.bound("w1")
    path = f"/workspaces/w1/sessions/{claim.session.id}"
    fence = {"fence": claim.session.fence}
    site.ok("POST", f"{path}/start", fence)
    site.ok("POST", f"{path}/finish", {**fence, "outcome": outcome, **fields})
    return claim
