"""An agent that speaks to the route in either era."""

from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from app.core import sessions
from tests.unit.api.web import Web

NEW, OLD = "2026-07-28", "2025-06-18"
KEY = "io.modelcontextprotocol/"


@dataclass
class Agent:
    """One running session of a workspace, with the token of its handover."""

    site: Web
    claim: sessions.Claim
    token: str
    era: str = NEW
    workspace_id: str = "w1"

    def post(self, body: Any, **more: Any) -> TestResponse:
        """A body as it is."""
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        path = f"/workspaces/{more.pop('workspace_id', self.workspace_id)}/mcp"
        return self.site.ask("POST", path, body, token=self.token, headers=headers, **more)

    def request(self, method: str, params: Any = None, **headers: str) -> TestResponse:
        """A request as a client of this era sends it."""
        given = dict(params or {})
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.era == NEW:
            meta = {f"{KEY}protocolVersion": NEW, f"{KEY}clientCapabilities": {}}
            given = {"_meta": meta, **given}
            name = {"Mcp-Name": given["name"]} if "name" in given else {}
            named = {"MCP-Protocol-Version": NEW, "Mcp-Method": method, **name, **named}
        elif method != "initialize":
            named = {"MCP-Protocol-Version": self.era, **named}
        body = {"jsonrpc": "2.0", "id": "r1", "method": method, "params": given}
        return self.post(body, headers=named)

    def result(self, method: str, params: Any = None) -> Any:
        """The result of a request that must have one."""
        response = self.request(method, params)
        assert response.status_code == 200, response.text
        return response.get_json()["result"]

    def call(self, name: str, is_error: bool = False, **given: Any) -> Any:
        """A tool's answer, as programs read it."""
        found = self.result("tools/call", {"name": name, "arguments": given})
        assert found["isError"] == is_error, found
        return found["structuredContent"]

    def words(self, name: str, **given: Any) -> str:
        """A tool's answer, as a model reads it."""
        found = self.result("tools/call", {"name": name, "arguments": given})
        return "\n".join(part["text"] for part in found["content"])


def running(
    site: Web, workspace_id: str = "w1", era: str = NEW, schedule_id: str = "", context_id: str = ""
) -> Agent:
    """A session that was handed over and begun."""
    if site.ask("GET", f"/workspaces/{workspace_id}").status_code == 404:
        site.workspace(workspace_id)
    if schedule_id:
        site.ok("POST", f"/workspaces/{workspace_id}/schedules/{schedule_id}/run")
    else:
        send(site, workspace_id, "hello", context_id)
    return begun(site, workspace_id, era)


def send(site: Web, workspace_id: str, text: str, context_id: str = "") -> None:
    """A message, in a chat of its own unless one is named."""
    message: dict[str, Any] = {"role": "user", "parts": [{"kind": "text", "text": text}]}
    message |= {"contextId": context_id} if context_id else {}
    body = {"method": "message/send", "params": {"message": message}}
    site.ok("POST", f"/workspaces/{workspace_id}/a2a", body)


def begun(site: Web, workspace_id: str, era: str = NEW) -> Agent:
    """The next session of a workspace that has something to do."""
    claim = site.bound(workspace_id)
    path = f"/workspaces/{workspace_id}"
    turn = site.ok("GET", f"{path}/turns/next?wait_s=0&instance=i")["turn"]
    body = {"fence": turn["fence"], "instance": "i"}
    site.ok("POST", f"{path}/sessions/{turn['session_id']}/start", body)
    return Agent(site, claim, turn["session_token"], era, workspace_id)
