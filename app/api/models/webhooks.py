"""Webhooks as the operator writes and reads them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.api.models.base import Count, Name, Short, Strict

Names = Annotated[list[Name], Field(min_length=1, max_length=1000)]
Url = Annotated[str, Field(min_length=1, max_length=2048)]
Format = Annotated[
    Literal["event", "slack"],
    Field(description='event: the whole event; slack: one sentence, `{"text": …}`.'),
]
Outcome = Literal["acked", "retry", "dead", "disabled"]
EventId = Annotated[str, Field(pattern=r"^\d{1,15}-\d{1,15}$")]


class NewWebhook(Strict):
    """A webhook to make; ``*`` stands for all."""

    url: Url
    events: Names = ["*"]
    workspaces: Names = ["*"]
    description: Short = ""
    format: Format = "event"


class WebhookChange(Strict):
    """What to change. Enabled again, it goes on where it stopped, as far as that is kept."""

    url: Url | None = None
    events: Names | None = None
    workspaces: Names | None = None
    description: Short | None = None
    format: Format | None = None
    enabled: bool | None = None


class Webhook(BaseModel):
    """A webhook as listed: without its secret."""

    id: str
    url: str
    events: list[str]
    workspaces: list[str]
    description: str
    format: str
    enabled: bool
    disabled_reason: str | None
    created_at: str | None
    last_delivered_at: str | None


class MadeWebhook(Webhook):
    """The one time that the secret is shown."""

    secret: str


class Webhooks(BaseModel):
    """Every webhook."""

    webhooks: list[Webhook]


class TestAnswer(BaseModel):
    """What the receiver said to a test event."""

    __test__ = False
    outcome: str
    status: int | None
    duration_s: float
    code: str | None
    error: str | None


class DeliveriesQuery(BaseModel):
    """Which attempts to list."""

    workspace_id: Name | None = None
    outcome: Outcome | None = None
    limit: Count = 50


class Delivery(BaseModel):
    """One attempt; ``url`` without its path."""

    id: str
    at: str | None
    workspace_id: str | None = Field(description="None: the event concerns the whole platform.")
    event_id: str
    event: str
    outcome: str
    attempt: int
    is_replay: bool
    url: str
    status: int | None
    duration_s: float
    code: str | None
    error: str | None


class Deliveries(BaseModel):
    """The newest attempts, newest first."""

    deliveries: list[Delivery]


class Replay(Strict):
    """What to deliver again: one event, or all that came of an outcome since a moment."""

    workspace_id: Name | None = None
    event_id: EventId | None = None
    outcome: Outcome = "dead"
    since_s: Annotated[float, Field(gt=0, le=31_536_000)] | None = None
    limit: Count = 1000


class Replayed(BaseModel):
    """How many will be delivered again, and how many are not kept any more."""

    replayed: int
    not_kept: int
