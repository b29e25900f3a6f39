"""Routes of webhooks: who is sent events, what became of them, and sending them again."""

from typing import Any

from flask import Blueprint, Response

from app.api import models
from app.api.operation import answer, operation, platform
from app.core import (
    egress,
    ids,
    keys,
    lines,
    replays,
    webhook_backup,
    webhook_post,
    webhooks,
    workspaces,
)
from app.core.clock import rfc3339
from app.core.webhook_post import Request
from app.core.webhooks import Webhook

blueprint = Blueprint("webhooks", __name__, url_prefix="/admin/webhooks")
TAG = "webhooks"


def shown(found: Webhook) -> dict[str, Any]:
    """A webhook without its secret."""
    seen_ms = webhooks.last_seen_ms(platform(), found.id)
    return {
        **webhook_backup.item_of(found),
        "enabled": found.enabled,
        "disabled_reason": found.disabled_reason,
        "created_at": rfc3339(found.created_at),
        "last_delivered_at": rfc3339(seen_ms or None),
    }


@blueprint.get("")
@operation("admin", tag=TAG, reply=models.Webhooks)
def list_webhooks() -> Response:
    """Every webhook, oldest first."""
    return answer({"webhooks": [shown(found) for found in webhooks.listing(platform())]})


@blueprint.post("")
@operation("admin", tag=TAG, body=models.NewWebhook, reply=models.MadeWebhook, status=201)
def create_webhook(body: models.NewWebhook) -> Response:
    """Make a webhook: it is sent what happens from now on. This is when its secret is shown."""
    made = webhooks.create(platform(), body.model_dump())
    return answer(shown(made) | {"secret": made.secret}, 201)


@blueprint.get("/<webhook_id>")
@operation("admin", tag=TAG, reply=models.Webhook)
def show_webhook(webhook_id: str) -> Response:
    """One webhook."""
    return answer(shown(webhooks.get(platform(), webhook_id)))


@blueprint.patch("/<webhook_id>")
@operation("admin", tag=TAG, body=models.WebhookChange, reply=models.Webhook, refusals=(409,))
def change_webhook(webhook_id: str, body: models.WebhookChange) -> Response:
    """Change a webhook. Disabled, it is owed nothing; what it was owed is given up, and told."""
    fields = {name: value for name, value in body.model_dump().items() if value is not None}
    return answer(shown(webhooks.change(platform(), webhook_id, fields)))


@blueprint.delete("/<webhook_id>")
@operation("admin", tag=TAG, reply=models.Ok, refusals=(409,))
def remove_webhook(webhook_id: str) -> Response:
    """Remove a webhook and what it is owed."""
    webhooks.remove(platform(), webhook_id)
    return answer({"status": "ok"})


@blueprint.post("/<webhook_id>/rotate")
@operation("admin", tag=TAG, reply=models.MadeWebhook, refusals=(409,))
def rotate_webhook(webhook_id: str) -> Response:
    """A new secret, shown this once; the old one signs beside it for a day."""
    made = webhooks.rotate(platform(), webhook_id)
    return answer(shown(made) | {"secret": made.secret})


@blueprint.post("/<webhook_id>/test")
@operation("admin", tag=TAG, reply=models.TestAnswer)
def test_webhook(webhook_id: str) -> Response:
    """Send a signed event WEBHOOK_TEST now, once, and tell what the receiver answered."""
    found, now_ms = webhooks.get(platform(), webhook_id), platform().now_ms()
    body: dict[str, Any] = {
        "event": "WEBHOOK_TEST",
        "workspace_id": None,
        "timestamp": rfc3339(now_ms),
        "payload": {"webhook_id": found.id},
        "id": "",
    }
    if found.format == webhooks.SLACK:
        body = {"text": "Turnkeeper: this is a test of the webhook."}
    request = Request(found.url, ids.new("msg"), body, found.secrets_at(now_ms))
    with webhook_post.client(platform(), 1) as http:
        got = webhook_post.send(http, request, now_ms)
    return answer(
        {
            "outcome": "acked" if got.is_good else "failed",
            "status": got.status,
            "duration_s": got.duration_ms / 1000,
            "code": got.code,
            "error": got.error,
        }
    )


@blueprint.get("/<webhook_id>/deliveries")
@operation("admin", tag=TAG, query=models.DeliveriesQuery, reply=models.Deliveries)
def list_deliveries(webhook_id: str, query: models.DeliveriesQuery) -> Response:
    """The newest attempts at a webhook; some thousand are kept for each workspace."""
    found = webhooks.get(platform(), webhook_id)
    where = _where(found, query.workspace_id)
    rows = lines.attempts(platform(), where, found.id, query.outcome or "", query.limit)
    return answer({"deliveries": [_row(row) for row in rows]})


@blueprint.post("/<webhook_id>/replay")
@operation("admin", tag=TAG, body=models.Replay, reply=models.Replayed, status=202)
def replay_deliveries(webhook_id: str, body: models.Replay) -> Response:
    """Deliver events again, under their first ids: one, or those of an outcome (``dead``)."""
    found = webhooks.get(platform(), webhook_id)
    where = _where(found, body.workspace_id)
    if body.event_id is not None:
        done = replays.one(platform(), found, body.workspace_id, body.event_id)
    else:
        chosen = replays.Filter(body.outcome, body.since_s, body.limit)
        done = replays.many(platform(), found, where, chosen)
    return answer({"replayed": done.replayed_count, "not_kept": done.lost_count}, 202)


def _where(found: Webhook, workspace_id: str | None) -> list[str]:
    if workspace_id is not None:
        return [workspace_id]
    every = [*workspaces.all_ids(platform()), keys.PLATFORM_PLACE]
    return [one for one in every if found.covers(one)]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "at": rfc3339(int(row["id"].split("-")[0])),
        "workspace_id": row["workspace_id"].replace(keys.PLATFORM_PLACE, "") or None,
        "event_id": row["event_id"],
        "event": row["event"],
        "outcome": row["outcome"],
        "attempt": row["attempt"],
        "is_replay": row["is_replay"],
        "url": row.get("url") or egress.shown(""),
        "status": row.get("status"),
        "duration_s": row.get("duration_ms", 0) / 1000,
        "code": row.get("code"),
        "error": row.get("error"),
    }
