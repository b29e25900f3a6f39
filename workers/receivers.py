"""Who is sent events, and what each is sent: webhooks, and A2A push notifications."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.core import agents, alerts, keys, turns, webhooks
from app.core.a2a import shapes
from app.core.errors import NotFound, TurnNotFound
from app.core.events import Event
from app.core.lines import PUSH
from app.core.platform import Platform
from app.core.states import TERMINAL
from app.core.webhook_post import Request, message_id
from app.core.webhooks import Webhook

# What changes the state of a turn as an A2A client sees it.
PUSHED = frozenset(
    {
        "SESSION_STARTED",
        "SESSION_ENDED",
        "TURN_RETURNED",
        "TURN_EXPIRED",
        "TURN_COALESCED",
        "TURN_DEAD",
        "TASK_UPDATED",
    }
)


@dataclass(frozen=True)
class Sending:
    """What one event is to its receiver; ``is_last``: nothing follows, its line is done."""

    request: Request
    is_last: bool = False


class Receiver(Protocol):
    """One that is sent events."""

    @property
    def id(self) -> str:
        """Whose deliveries run at a time only so many."""

    def wants(self, event: Event) -> bool:
        """Whether this event is for it."""

    def sending(self, platform: Platform, event: Event, now_ms: int) -> Sending | None:
        """What to send; None where there is nothing to say any more."""

    def is_alive_since(self, platform: Platform, at_ms: int) -> bool:
        """Whether it took something since then."""

    def took(self, platform: Platform) -> None:
        """It took something."""

    def give_up(self, platform: Platform, reason: str, failed_count: int | None) -> bool:
        """Send it nothing any more; False where it has been changed since it was read."""


@dataclass(frozen=True)
class WebhookReceiver:
    """A webhook."""

    webhook: Webhook

    @property
    def id(self) -> str:
        """The webhook's id."""
        return self.webhook.id

    def wants(self, event: Event) -> bool:
        """By the names it asked for."""
        return self.webhook.wants(event.event)

    def sending(self, platform: Platform, event: Event, now_ms: int) -> Sending | None:
        """The envelope, signed with its secrets."""
        return Sending(
            Request(
                self.webhook.url,
                message_id(event.workspace_id, event),
                alerts.body(self.webhook.format, event),
                self.webhook.secrets_at(now_ms),
            )
        )

    def is_alive_since(self, platform: Platform, at_ms: int) -> bool:
        """By the hint that every delivery leaves."""
        return webhooks.last_seen_ms(platform, self.id) > at_ms

    def took(self, platform: Platform) -> None:
        """Leave that hint."""
        webhooks.seen(platform, self.id)

    def give_up(self, platform: Platform, reason: str, failed_count: int | None) -> bool:
        """Disable it everywhere."""
        return webhooks.disable(platform, self.webhook, reason, failed_count)


@dataclass(frozen=True)
class PushReceiver:
    """A push configuration of one turn."""

    line: str
    config: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its origin: many turns are pushed to one, and a path of its own is no other receiver."""
        return PUSH + agents.origin_of(str(self.config.get("url", "")))

    @property
    def turn_id(self) -> str:
        """The turn it is for."""
        return turn_of(self.line)

    def wants(self, event: Event) -> bool:
        """What changes the state of its turn."""
        return event.turn_id == self.turn_id and event.event in PUSHED

    def sending(self, platform: Platform, event: Event, now_ms: int) -> Sending | None:
        """The task as it is now, which may be later than the event."""
        workspace_id, protocol = event.workspace_id, str(self.config.get("protocol") or "1.0")
        try:
            turn = turns.get(platform, workspace_id, self.turn_id)
        except TurnNotFound:
            return None
        body, result = turns.read_parts(platform, workspace_id, self.turn_id)
        token = str(self.config.get("token") or "")
        request = Request(
            str(self.config.get("url", "")),
            message_id(workspace_id, event),
            shapes.pushed(turn, body, result, protocol),
            [token.encode()] if token else [],
            _push_headers(self.config),
            "application/json" if protocol == "0.3" else "application/a2a+json",
        )
        return Sending(request, is_last=turn.state in TERMINAL)

    def is_alive_since(self, platform: Platform, at_ms: int) -> bool:
        """Its next state is worth a try, whatever became of this one."""
        return True

    def took(self, platform: Platform) -> None:
        """Nothing is kept of it."""

    def give_up(self, platform: Platform, reason: str, failed_count: int | None) -> bool:
        """Its line is done: see the settlement."""
        return True


def _push_headers(config: Mapping[str, Any]) -> dict[str, str]:
    headers = {}
    if config.get("token"):
        headers["x-a2a-notification-token"] = str(config["token"])
    login = config.get("authentication") or {}
    if login.get("scheme") and login.get("credentials"):
        headers["authorization"] = f"{login['scheme']} {login['credentials']}"
    return headers


def turn_of(line: str) -> str:
    """The turn of a push line."""
    return line.removeprefix(PUSH).partition(":")[0]


def find(platform: Platform, workspace_id: str, line: str) -> Receiver | None:
    """The receiver of a line as it is now; None where it is gone or disabled."""
    if line.startswith(PUSH):
        return push_receiver(platform, workspace_id, line)
    try:
        found = webhooks.get(platform, line.partition("|")[0])
    except NotFound:
        return None
    return WebhookReceiver(found) if found.enabled else None


def push_receiver(platform: Platform, workspace_id: str, line: str) -> PushReceiver | None:
    """The receiver of a push line; None where its configuration is gone."""
    own = keys.of(workspace_id)
    text = platform.clients.data.hget(own["push"], line.removeprefix(PUSH))
    return PushReceiver(line, json.loads(text)) if text else None
