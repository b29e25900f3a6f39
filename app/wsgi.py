"""``create_app`` for gunicorn: the API and the screens over one platform."""

from dataclasses import dataclass

import structlog
from flask import Flask, Response
from prometheus_client import CollectorRegistry

from app import ui
from app.api import (
    admin,
    agent_pushes,
    audit,
    backup,
    crontabs,
    delegations,
    errors,
    fleet,
    health,
    operation,
    registry,
    runtime,
    schedules,
    streams,
)
from app.api import dead_letters as dead_letter_routes
from app.api import memories as memory_routes
from app.api import turns as turn_routes
from app.api import webhooks as webhook_routes
from app.api import workspaces as workspace_routes
from app.api.a2a import routes as a2a
from app.api.hub import Hub
from app.api.mcp import routes as mcp
from app.core import confirming, memory_index, telemetry
from app.core.platform import Platform
from app.core.settings import Settings

log = structlog.get_logger(__name__)
CONTENT_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)


@dataclass(frozen=True)
class Here:
    """What one web process holds beside the app."""

    platform: Platform
    hub: Hub
    registry: CollectorRegistry
    indexes: memory_index.Indexes

    def stop(self) -> None:
        """End streams and polls, so that a stopping server need not wait for them."""
        self.platform.stopping.set()
        self.hub.stop()
        self.indexes.close()


def create_app(settings: Settings | None = None, platform: Platform | None = None) -> Flask:
    """The WSGI application.

    Args:
        settings: read from the environment where left out.
        platform: a ready one, for tests.
    """
    if platform is None:
        settings = settings or Settings.from_env()
        telemetry.configure_logs(settings)
        platform = Platform.start(settings)
    if fault := memory_index.fault():
        log.error("memories cannot be searched here, only listed", fault=fault)
    app = Flask("turnkeeper", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = platform.settings.body_max_bytes
    app.url_map.strict_slashes = False
    metrics = CollectorRegistry()
    metrics.register(telemetry.Collector(platform))
    app.extensions["turnkeeper"] = Here(platform, Hub(platform), metrics, memory_index.Indexes())
    app.before_request(confirming.begin)
    app.before_request(operation.authorize)
    app.after_request(_headers)
    errors.install(app)
    # The last runs first: what too few replicas have confirmed stands, so who asked for it is told.
    app.after_request(audit.record)
    for module in (
        health,
        registry,
        workspace_routes,
        runtime,
        turn_routes,
        delegations,
        schedules,
        memory_routes,
        crontabs,
        a2a,
        agent_pushes,
        mcp,
        streams,
        admin,
        fleet,
        webhook_routes,
        dead_letter_routes,
        backup,
        ui,
    ):
        app.register_blueprint(module.blueprint)
    return app


def _headers(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
    return response
