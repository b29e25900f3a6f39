"""Webhooks in a backup: where events go, without the secrets that sign them.

A backup lies about in files, and whoever has a secret can sign in our name; so it is not told. A
webhook that is new to a platform therefore comes in with a new secret and disabled: its receiver
would refuse every event. Whether one is enabled is how it stands and not how it is configured, so
that is not told either, and the same document again enables and disables nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from app.core import webhooks
from app.core.egress import UrlRefused
from app.core.errors import InvalidInput, NotFound
from app.core.platform import Platform
from app.core.webhooks import Webhook

Item = dict[str, Any]
DISABLED = "taken in from a backup: rotate its secret, give that to the receiver, then enable it"


def records(platform: Platform) -> Iterator[Item]:
    """Every webhook, oldest first."""
    return map(item_of, webhooks.listing(platform))


def item_of(found: Webhook) -> Item:
    """What an operator said of a webhook, and its id."""
    return {
        "id": found.id,
        "url": found.url,
        "events": list(found.events),
        "workspaces": list(found.workspaces),
        "description": found.description,
        "format": found.format,
    }


def check(item: Mapping[str, Any]) -> None:
    """The rules that need no store.

    Raises:
        InvalidInput.
    """
    try:
        webhooks.checked(item)
    except UrlRefused as refusal:
        raise InvalidInput("url", refusal.detail) from refusal


def put(platform: Platform, item: Mapping[str, Any], is_dry: bool) -> tuple[str, list[str]]:
    """Make or change one: ``created``, ``updated`` or ``unchanged``, and the fields that differ.

    Raises:
        WebhookChanged: somebody else writes it at this moment.
    """
    said = {name: value for name, value in item.items() if name != "id"}
    try:
        has = item_of(webhooks.get(platform, item["id"]))
    except NotFound:
        if not is_dry:
            webhooks.create(platform, said, webhook_id=item["id"], disabled_reason=DISABLED)
        return "created", []
    changed = [name for name, value in said.items() if value != has[name]]
    if changed and not is_dry:
        webhooks.change(platform, item["id"], {name: said[name] for name in changed})
    return ("updated" if changed else "unchanged"), changed
