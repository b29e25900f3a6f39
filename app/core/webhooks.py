"""Webhooks: which URL is sent which events of which workspaces, signed with which secret.

A record stands on the control side and is changed by compare-and-set. Where a webhook is in a
workspace's events stands with those events: :mod:`app.core.lines`.
"""

import base64
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from app.core import events, ids, keys, lines
from app.core.egress import check_url
from app.core.errors import InvalidInput, NotFound, WebhookChanged
from app.core.platform import Platform

EVERYTHING = "*"
EVENT, SLACK = "event", "slack"
ROTATION_S = 86_400
TRIES = 5
DISABLED_BY_OPERATOR = "disabled by the operator"


@dataclass(frozen=True)
class Webhook:
    """A webhook; times are ms since the epoch.

    ``since``: what happened before is not owed. ``old_secret`` signs beside the new one until
    ``old_secret_until``. ``failed_count``: the attempts after which the platform disabled it.
    ``events`` and ``workspaces`` hold ``*`` for all. ``format``: the whole event, or one sentence
    as Slack takes it.
    """

    id: str
    url: str
    events: tuple[str, ...]
    workspaces: tuple[str, ...]
    secret: str = field(repr=False)
    created_at: int
    since: int
    version: int = 1
    description: str = ""
    format: str = EVENT
    enabled: bool = True
    disabled_reason: str | None = None
    failed_count: int | None = None
    old_secret: str | None = field(default=None, repr=False)
    old_secret_until: int | None = None

    def covers(self, workspace_id: str) -> bool:
        """Whether it is sent this workspace's events."""
        return EVERYTHING in self.workspaces or workspace_id in self.workspaces

    def wants(self, event: str) -> bool:
        """Whether it is sent events of this name."""
        return EVERYTHING in self.events or event in self.events

    def secrets_at(self, now_ms: int) -> list[str]:
        """The secrets to sign with, the newest first."""
        if self.old_secret and (self.old_secret_until or 0) > now_ms:
            return [self.secret, self.old_secret]
        return [self.secret]


def new_secret() -> str:
    """A secret in the form of Standard Webhooks: 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _parse(text: str) -> Webhook:
    known = Webhook.__dataclass_fields__
    fields = {name: value for name, value in json.loads(text).items() if name in known}
    return Webhook(
        **{
            **fields,
            "events": tuple(fields["events"]),
            "workspaces": tuple(fields["workspaces"]),
        }
    )


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a caller gives them, by the rules that need no store.

    Raises:
        UrlRefused, InvalidInput.
    """
    given = dict(fields)
    if "url" in given:
        check_url(given["url"])
    if "events" in given:
        unknown = sorted(set(given["events"]) - events.NAMES.keys() - {EVERYTHING})
        if unknown or not given["events"]:
            raise InvalidInput("events", f"'*' or names of events; unknown: {', '.join(unknown)}")
        given["events"] = tuple(given["events"])
    if "workspaces" in given:
        if not given["workspaces"]:
            raise InvalidInput("workspaces", "one or more workspace ids, or '*'")
        for workspace_id in given["workspaces"]:
            if workspace_id != EVERYTHING:
                ids.check_workspace(workspace_id)
        given["workspaces"] = tuple(given["workspaces"])
    return given


def create(
    platform: Platform, fields: Mapping[str, Any], webhook_id: str = "", disabled_reason: str = ""
) -> Webhook:
    """Make a webhook: it is owed what happens from now on. With a reason it begins disabled, and
    is owed that when it is enabled, as far as it is still kept.

    Raises:
        UrlRefused, InvalidInput.
        WebhookChanged: the id it is to have is taken.
    """
    now = platform.now_ms()
    usual = {"events": (EVERYTHING,), "workspaces": (EVERYTHING,)}
    made = Webhook(
        **{**usual, **checked(fields)},
        id=webhook_id or ids.new("wh"),
        secret=new_secret(),
        created_at=now,
        since=now,
        enabled=not disabled_reason,
        disabled_reason=disabled_reason or None,
    )
    if _write(platform, made, version=0) != "ok":
        raise WebhookChanged
    if made.enabled:
        _open_lines(platform, made)
    return made


def _write(platform: Platform, webhook: Webhook, version: int) -> str:
    reply = platform.run_control(
        "webhook_put",
        webhook_id=webhook.id,
        version=version,
        record=json.dumps(asdict(webhook), ensure_ascii=False),
    )
    return str(reply[0])


def listing(platform: Platform) -> list[Webhook]:
    """Every webhook, oldest first."""
    found = [_parse(text) for text in platform.clients.control.hvals(keys.WEBHOOKS)]
    return sorted(found, key=lambda webhook: webhook.id)


def get(platform: Platform, webhook_id: str) -> Webhook:
    """One webhook.

    Raises:
        NotFound.
    """
    text = platform.clients.control.hget(keys.WEBHOOKS, webhook_id)
    if text is None:
        raise NotFound(f"no webhook {webhook_id}")
    return _parse(text)


def _change(
    platform: Platform, webhook_id: str, changed: Callable[[Webhook], Webhook | None]
) -> Webhook | None:
    """Compare and set; ``changed`` answers None where nothing is to be done.

    Raises:
        NotFound, WebhookChanged.
    """
    for _ in range(TRIES):
        found = get(platform, webhook_id)
        wanted = changed(found)
        if wanted is None:
            return None
        wanted = replace(wanted, version=found.version + 1)
        outcome = _write(platform, wanted, found.version)
        if outcome == "ok":
            return wanted
        if outcome == "gone":
            raise NotFound(f"no webhook {webhook_id}")
    raise WebhookChanged


def change(platform: Platform, webhook_id: str, fields: Mapping[str, Any]) -> Webhook:
    """Change some fields. Enabled again, it goes on where it was, as far as that is kept.

    Raises:
        NotFound, UrlRefused, InvalidInput.
    """
    given, now = checked(fields), platform.now_ms()

    def changed(found: Webhook) -> Webhook:
        more = {"since": now} if "workspaces" in given else {}
        enabled = given.get("enabled", found.enabled)
        reason = None if enabled else found.disabled_reason or DISABLED_BY_OPERATOR
        counted = None if enabled else found.failed_count
        told = {"disabled_reason": reason, "failed_count": counted}
        return replace(found, **{**given, **more, **told})

    made = _change(platform, webhook_id, changed)
    assert made is not None  # noqa: S101 - changed() always wants something
    if made.enabled:
        _open_lines(platform, made)
    else:
        close_lines(platform, made, "webhook_disabled")
    return made


def rotate(platform: Platform, webhook_id: str) -> Webhook:
    """A new secret; the old one signs beside it for a day, so that no delivery fails meanwhile."""
    until = platform.now_ms() + ROTATION_S * 1000
    made = _change(
        platform,
        webhook_id,
        lambda found: replace(
            found, secret=new_secret(), old_secret=found.secret, old_secret_until=until
        ),
    )
    assert made is not None  # noqa: S101 - always wants something
    return made


def disable(
    platform: Platform, webhook: Webhook, reason: str, failed_count: int | None = None
) -> bool:
    """The platform gives a webhook up: what it is owed may be trimmed, and events say so.

    Returns False where it is enabled and was changed since it was read: what was seen of it then
    says nothing of what it is now.
    """

    def changed(found: Webhook) -> Webhook | None:
        if not found.enabled or found.version != webhook.version:
            return None
        return replace(found, enabled=False, disabled_reason=reason, failed_count=failed_count)

    try:
        made = _change(platform, webhook.id, changed)
        if made is None:
            return not get(platform, webhook.id).enabled
    except NotFound:
        return True
    close_lines(platform, made, "webhook_disabled")
    return True


def remove(platform: Platform, webhook_id: str) -> None:
    """Forget a webhook and what it is owed.

    Raises:
        NotFound, WebhookChanged.
    """
    for _ in range(TRIES):
        found = get(platform, webhook_id)
        outcome = platform.run_control(
            "webhook_put", webhook_id=webhook_id, version=found.version, record=""
        )[0]
        if outcome != "changed":
            break
    else:
        raise WebhookChanged
    platform.clients.control.hdel(keys.WEBHOOKS_SEEN, webhook_id)
    close_lines(platform, found, "webhook_removed", is_forgotten=True)


def _reach(platform: Platform, webhook: Webhook) -> Sequence[str]:
    """The workspaces of a webhook as far as they exist."""
    if EVERYTHING in webhook.workspaces:
        return [*platform.clients.control.zrange(keys.WORKSPACES, 0, -1), keys.PLATFORM_PLACE]
    known = platform.clients.control.zmscore(keys.WORKSPACES, list(webhook.workspaces))
    return [one for one, at in zip(webhook.workspaces, known, strict=True) if at is not None]


def _open_lines(platform: Platform, webhook: Webhook) -> None:
    """At once, so that nothing is trimmed before a worker has seen the webhook."""
    lines.open_many(platform, _reach(platform, webhook), webhook.id, cursor_of(webhook))


def close_lines(
    platform: Platform, webhook: Webhook, mechanism: str, is_forgotten: bool = False
) -> None:
    """In every workspace; where this stops half-way, the workers close the rest."""
    reason = webhook.disabled_reason or ""
    for workspace_id in _reach(platform, webhook):
        lines.close(
            platform,
            workspace_id,
            webhook.id,
            mechanism,
            reason,
            is_forgotten,
            webhook.failed_count,
        )


def cursor_of(webhook: Webhook) -> str:
    """Where a new line of this webhook begins."""
    return f"{webhook.since}-0"


def seen(platform: Platform, webhook_id: str) -> None:
    """Note that it has just taken an event: a hint, for whether its receiver lives."""
    platform.clients.control.hset(keys.WEBHOOKS_SEEN, webhook_id, platform.now_ms())


def last_seen_ms(platform: Platform, webhook_id: str) -> int:
    """When it last took an event; 0: never."""
    return int(platform.clients.control.hget(keys.WEBHOOKS_SEEN, webhook_id) or 0)
