"""A web application over a store, and short ways to ask it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fakeredis
import redis
from flask import Flask
from werkzeug.test import TestResponse

from app.core import sessions
from app.core.platform import Platform
from app.core.redis_clients import Clients, shared
from app.core.settings import Settings
from app.wsgi import create_app

ADMIN = "the-admin-token-of-this-test"
SETTINGS: dict[str, Any] = {"admin_token": ADMIN, "message_wait_s": 0}


@dataclass(frozen=True)
class Web:
    """One web process: its application and its platform."""

    app: Flask
    platform: Platform

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = ADMIN, **more: Any
    ) -> TestResponse:
        """A request with a bearer token and a JSON body."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= more.pop("headers", {})
        if body is not None:
            more["data"] = body if isinstance(body, bytes) else json.dumps(body)
        client = self.app.test_client(use_cookies=False)
        return client.open(path, method=method, headers=headers, **more)

    def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The JSON of an answer that must be a success."""
        response = self.ask(method, path, body, **more)
        assert response.status_code < 300, response.text
        return response.get_json()

    def workspace(self, workspace_id: str = "w1") -> str:
        """A new workspace."""
        self.ok("POST", "/workspaces", {"id": workspace_id})
        return workspace_id

    def token(self, *scopes: str, workspaces: tuple[str, ...] = ("*",)) -> str:
        """The text of a new token."""
        body = {"name": "t", "scopes": scopes, "workspaces": workspaces}
        return str(self.ok("POST", "/admin/tokens", body)["token"])

    def schedule(self, workspace_id: str, **fields: Any) -> str:
        """The id of a new schedule."""
        body = {"name": "tick", "cron_expr": "*/30 * * * *", "prompt": "go", **fields}
        return str(self.ok("POST", f"/workspaces/{workspace_id}/schedules", body)["id"])

    def send(self, workspace_id: str, text: str = "hello", **params: Any) -> str:
        """The turn id of a new message."""
        message = {"role": "user", "parts": [{"kind": "text", "text": text}]}
        body = {"method": "message/send", "params": {"message": message, **params}}
        return str(self.ok("POST", f"/workspaces/{workspace_id}/a2a", body)["queue_id"])

    def bound(self, workspace_id: str) -> sessions.Claim:
        """A claimed turn laid out for the next poll, as the dispatch worker does it."""
        self.ok("POST", f"/workspaces/{workspace_id}/heartbeat", {"active_tasks": 0})
        claim = sessions.claim(self.platform, workspace_id)
        assert isinstance(claim, sessions.Claim), claim
        self.bind(workspace_id, claim)
        return claim

    def bind(self, workspace_id: str, claim: sessions.Claim) -> None:
        """Lay a claimed turn out for the next poll."""
        bound = {"prompt": claim.body.get("text", ""), "message": claim.body.get("message")}
        sessions.bind(self.platform, workspace_id, claim.session, bound, inbox=True)


def fake_clients() -> Clients:
    """Clients of an empty fake server."""
    server = fakeredis.FakeServer()
    options: dict[str, Any] = {"server": server, "protocol": 2}
    text = fakeredis.FakeRedis(**options, decode_responses=True)
    return shared(text, fakeredis.FakeRedis(**options))


def real_clients(text: redis.Redis) -> Clients:
    """Clients of a real server, from one that decodes."""
    options = text.connection_pool.connection_kwargs | {"decode_responses": False}
    return shared(text, redis.Redis(connection_pool=redis.ConnectionPool(**options)))


@contextmanager
def web(clients: Clients, **settings: Any) -> Iterator[Web]:
    """A web process; stopped on leaving."""
    platform = Platform(Settings.model_validate({**SETTINGS, **settings}), clients)
    app = create_app(platform=platform)
    try:
        yield Web(app, platform)
    finally:
        app.extensions["turnkeeper"].stop()
        clients.rq.close()
        clients.data.close()
