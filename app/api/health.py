"""Probes, metrics and the OpenAPI document."""

from flask import Blueprint, Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.api import models
from app.api.openapi import document
from app.api.operation import PUBLIC, answer, operation, platform
from app.core import schema

blueprint = Blueprint("health", __name__)
TAG = "health"


@blueprint.get("/healthz")
@operation(PUBLIC, tag=TAG, reply=models.Health)
def healthz() -> Response:
    """The process lives; asks nobody."""
    return answer({"status": "ok"})


@blueprint.get("/readyz")
@operation(PUBLIC, tag=TAG, reply=models.Health, refusals=(503,))
def readyz() -> Response:
    """The process can serve: its store answers and carries a known schema."""
    schema.ensure(platform().clients)
    return answer({"status": "ready"})


@blueprint.get("/metrics")
@operation("read", tag=TAG, media_type="text/plain")
def metrics() -> Response:
    """Prometheus metrics over all workspaces, so for a token that reads all of them."""
    registry = current_app.extensions["turnkeeper"].registry
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


@blueprint.get("/openapi.json")
@operation(PUBLIC, tag=TAG)
def openapi() -> Response:
    """This API, as OpenAPI 3.1."""
    return answer(document(current_app))
