"""An agent's runtime as the field platform ships it: its calls, in its own words."""

from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class FieldRuntime:
    """One agent of the field platform; it keeps the token it was shown once."""

    base_url: str
    workspace_id: str
    token: str
    url: str = "http://agent:8000"
    active_tasks: int = 0
    answers: list[httpx.Response] = field(default_factory=list)

    def register(self, name: str = "SEO Agent") -> Any:
        """Say where it is; from then on its own token is used."""
        card = {"name": name, "url": self.url, "skills": []}
        body = {"id": self.workspace_id, "url": self.url, "agent_card": card}
        told = self.call("POST", "/registry/register", body)
        self.token = told["auth_token"] or self.token
        return told

    def update_card(self, name: str) -> Any:
        """Say what it can do now."""
        body = {"id": self.workspace_id, "agent_card": {"name": name, "skills": []}}
        return self.call("POST", "/registry/update-card", body)

    def heartbeat(self, **more: Any) -> Any:
        """Count the tasks; it names no session."""
        body = {
            "workspace_id": self.workspace_id,
            "error_rate": 0.0,
            "sample_error": "",
            "active_tasks": self.active_tasks,
            "uptime_seconds": 12,
            "current_task": "",
            "runtime_state": "",
            **more,
        }
        return self.call("POST", "/registry/heartbeat", body)

    def send(self, target_id: str, text: str, token: str, **params: Any) -> Any:
        """The short form of message/send, to another agent or from the canvas."""
        message = {"role": "user", "parts": [{"type": "text", "text": text}], **params.pop("m", {})}
        body = {"method": "message/send", "params": {"message": message, **params}}
        return self.call("POST", f"/workspaces/{target_id}/a2a", body, token)

    def log_activity(self, kind: str, summary: str) -> Any:
        """Write to the activity log."""
        return self.own("POST", "activity", {"type": kind, "summary": summary, "status": "ok"})

    def send_message_to_user(self, message: str) -> Any:
        """Its word to the user."""
        return self.own("POST", "notify", {"message": message})

    def commit_memory(self, content: str, scope: str) -> Any:
        """Keep something."""
        return self.own("POST", "memories", {"content": content, "scope": scope})

    def recall_memory(self, query: str = "", scope: str = "LOCAL") -> Any:
        """What was kept, newest first, or best first."""
        asked = f"scope={scope}" + (f"&query={query}" if query else "")
        return self.own("GET", f"memories?{asked}")

    def delegations(self) -> Any:
        """What it has asked of others, and they of it."""
        return self.own("GET", "delegations")

    def own(self, method: str, path: str, body: Any = None) -> Any:
        """A call about its own workspace."""
        return self.call(method, f"/workspaces/{self.workspace_id}/{path}", body)

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """A call that must succeed; its answer is kept with its status."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        sent = {"json": body, "headers": headers, "timeout": 10, "trust_env": False}
        answer = httpx.request(method, self.base_url + path, **sent)
        assert answer.status_code < 300, answer.text
        self.answers.append(answer)
        return answer.json()
