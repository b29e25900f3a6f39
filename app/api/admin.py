"""Routes of the operator: tokens, login links, who is alive."""

from urllib.parse import urlsplit

from flask import Blueprint, Response, request

from app.api import models, views
from app.api.operation import answer, operation, platform, token
from app.core import doorbell, invariant_reports, keys, scaling, tokens, workspaces
from app.core.clock import rfc3339
from app.core.settings import LOOPBACK

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
TAG = "admin"


@blueprint.get("/tokens")
@operation("admin", tag=TAG, reply=models.Tokens)
def list_tokens() -> Response:
    """Every token, by its first characters."""
    return answer({"tokens": [views.token(item) for item in tokens.listing(platform())]})


@blueprint.post("/tokens")
@operation("admin", tag=TAG, body=models.NewToken, reply=models.MadeToken, status=201)
def create_token(body: models.NewToken) -> Response:
    """Make a token; this is the only time it is shown."""
    text, made = tokens.create(
        platform(), body.name, body.scopes, body.workspaces, body.expires_in_s, body.teams
    )
    return answer(views.token(made) | {"token": text}, 201)


@blueprint.delete("/tokens/<token_id>")
@operation("admin", tag=TAG, reply=models.Ok)
def revoke_token(token_id: str) -> Response:
    """Revoke a token at once."""
    tokens.revoke(platform(), token_id)
    return answer({"status": "ok"})


@blueprint.post("/tokens/<token_id>/rotate")
@operation(
    "admin",
    tag=TAG,
    body=models.Rotation,
    reply=models.MadeToken,
    status=201,
    refusals=(409,),
)
def rotate_token(token_id: str, body: models.Rotation) -> Response:
    """Make a token that may do the same; the old one ends after the grace. Shown only now."""
    text, made = tokens.rotate(platform(), token_id, body.grace_s)
    return answer(views.token(made) | {"token": text}, 201)


@blueprint.post("/login-links")
@operation("read", tag=TAG, reply=models.LoginLink, status=201, is_anywhere=True)
def create_login_link() -> Response:
    """A link that opens the UI once, with the rights of this token; good for 15 minutes."""
    path = f"/login?code={tokens.login_code(platform(), token())}"
    return answer({"url": path, "absolute_url": _base() + path}, 201)


def _base() -> str:
    """Where the pages are. ``Host`` is whatever the caller says; only this machine is believed."""
    if public := platform().settings.public_url:
        return public.rstrip("/")
    is_here = urlsplit(f"//{request.host}").hostname in LOOPBACK
    return request.host_url.rstrip("/") if is_here else ""


@blueprint.get("/liveness")
@operation("admin", tag=TAG, reply=models.Liveness)
def liveness() -> Response:
    """When each control job last ran, how many dispatch slices run, how many workspaces wait."""
    control = platform().clients.control
    alive = platform().run_control("dispatcher", slice_id="", ttl_ms=0)[1]
    ticks = {job: rfc3339(int(at_ms)) for job, at_ms in control.hgetall(keys.TICKS).items()}
    waiting_jobs = {name: doorbell.queue(platform(), name).count for name in doorbell.QUEUES}
    return answer(
        {
            "ticks": ticks,
            "dispatchers": alive,
            "ready": control.zcard(keys.READY),
            "jobs_waiting": waiting_jobs,
        }
    )


@blueprint.get("/scale")
@operation("read", tag=TAG, reply=models.Scale)
def scale() -> Response:
    """How many dispatch workers there should be, for a scaler: by who may have something to claim.

    Sessions that run hold no worker, so they count for nothing; they are told for the reader.
    """
    here = platform()
    runnable = here.clients.control.zcard(keys.READY)
    return answer(
        {
            "runnable": runnable,
            "running": scaling.running(here),
            "desired_workers": scaling.desired_workers(
                runnable,
                here.settings.scale_ready_per_worker,
                here.settings.scale_workers_max,
            ),
        }
    )


@blueprint.get("/invariants")
@operation("admin", tag=TAG, query=models.Page, reply=models.Invariants)
def list_invariants(query: models.Page) -> Response:
    """What cannot be and is all the same: the last report on each workspace, the worst first."""
    here = platform()
    last = invariant_reports.current_round(here)
    reports = invariant_reports.listing(here, query.limit)
    return answer(
        {
            "interval_s": here.settings.invariants_interval_s,
            "round_began_at": rfc3339(last.began_at),
            "round_ended_at": rfc3339(last.ended_at),
            "violations": last.violations,
            "workspaces": [views.invariant_report(report) for report in reports],
        }
    )


@blueprint.post("/invariants/<workspace_id>/run")
@operation("admin", tag=TAG, reply=models.InvariantReport)
def check_invariants(workspace_id: str) -> Response:
    """Look at one workspace now; a big one's next part. Changes nothing of it."""
    workspaces.require(platform(), workspace_id)
    return answer(views.invariant_report(invariant_reports.run(platform(), workspace_id)))
