"""Settings of what waits, streams and is let in over HTTP; part of the one settings object."""

from pydantic import BaseModel, Field

Seconds = float


class WebSettings(BaseModel):
    """Polls, streams, webhooks, A2A, and how often a token may ask."""

    poll_wait_max_s: Seconds = Field(30, gt=0, description="Longest wait of a runtime's long poll.")
    waiters_max: int = Field(
        5_000, ge=1, description="Long polls and bounded sends waiting in one web process."
    )
    message_wait_s: Seconds = Field(
        4, ge=0, description="How long message/send waits for the answer unless told not to."
    )
    streams_max: int = Field(2_000, ge=1, description="Event streams open in one web process.")
    stream_ping_s: Seconds = Field(15, gt=0, description="Comment ping on a quiet event stream.")
    stream_buffer_count: int = Field(
        1_000, ge=10, description="Events a slow stream may lag before it gets a gap."
    )
    webhook_timeout_s: Seconds = Field(
        15, gt=0, description="How long one delivery to a webhook may take in all."
    )
    webhook_attempts: int = Field(
        16, ge=1, description="Attempts at one event; then it is dead, or the webhook is disabled."
    )
    webhook_retry_s: Seconds = Field(
        5, gt=0, description="First pause before an event is delivered again; doubles, with jitter."
    )
    webhook_retry_max_s: Seconds = Field(
        86_400, gt=0, description="Longest pause before an event is delivered again."
    )
    webhook_slots: int = Field(
        16, ge=1, description="Deliveries at a time in one worker; a quarter for one receiver."
    )
    stream_write_timeout_s: Seconds = Field(
        30,
        gt=0,
        description="Who takes nothing of an A2A stream or a WebSocket for so long is dropped.",
    )
    a2a_ping_s: Seconds = Field(
        2, gt=0, description="Comment ping on a quiet A2A stream; clients leave after 5 s."
    )
    history_max_bytes: int = Field(
        1_048_576, ge=1024, description="What was said in a turn, as kept; the oldest goes first."
    )
    push_configs_max: int = Field(10, ge=1, description="Push configurations of one turn.")
    public_url: str = Field(
        "",
        description="Our address in agent cards, and for agents that push; empty: as asked for, "
        "and no pushes.",
    )
    public_cards: bool = Field(False, description="Agent cards are shown without a token.")
    open_loopback: bool = Field(
        False, description="Programs on this machine read and send without a token; development."
    )
    egress_allow: str = Field(
        "",
        description="Hosts and networks that may be called although they are not public, "
        "separated by commas: `127.0.0.1/32, agents.internal`.",
    )
    body_timeout_s: Seconds = Field(
        30, gt=0, description="How long a request's body may take to arrive; then 408."
    )
    rate_limit_per_min: int = Field(
        6_000, ge=0, le=60_000_000, description="Requests of one token a minute; 0: any number."
    )
    agent_rate_limit_per_min: int = Field(
        6_000,
        ge=0,
        le=60_000_000,
        description="Beats, polls and reports of one token in one workspace a minute, and as many "
        "calls of tools; 0: any.",
    )
    streams_per_token_max: int = Field(
        500, ge=1, description="Event streams of one token open in one web process."
    )
    waiters_per_token_max: int = Field(
        2_500, ge=1, description="Long polls and bounded sends of one token in one web process."
    )
    logins_per_token_max: int = Field(
        20, ge=1, description="Browsers logged in by links of one token; the oldest is logged out."
    )
    refusals_told_per_min: int = Field(
        60, ge=1, description="Events a minute of one workspace for refusals of one kind."
    )
    token_retention_s: Seconds = Field(
        604_800, ge=0, description="How long an expired token stays in the list."
    )
    alert_interval_s: Seconds = Field(
        10,
        ge=0,
        description="How often it is looked for what needs a person's attention; 0: never.",
    )
    alert_hold_s: Seconds = Field(
        15, ge=0, description="So long a condition must hold, or be gone, before that is told."
    )
    alert_repeat_s: Seconds = Field(
        600, ge=0, description="A condition of a workspace is told anew after this at the earliest."
    )
    metrics_workspaces_max: int = Field(
        0,
        ge=0,
        description="Workspaces with metrics of their own, those in most trouble; 0: none.",
    )
    scale_ready_per_worker: int = Field(
        50, ge=1, description="Workspaces in the ready set for one dispatch worker, for a scaler."
    )
    scale_workers_max: int = Field(
        10, ge=1, description="Dispatch workers a scaler is told to run at most."
    )
