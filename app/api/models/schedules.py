"""Schedules and their ledgers."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field

from app.api.models.base import Redeliver, Span, Strict
from app.api.models.imports import ScheduleForecast

# Whose session wraps up for a late fire: another cron session's, any session's, nobody's.
Preempt = Literal["cron", "any", "off"]
# What a fire does while an earlier one of its schedule is unfinished: Temporal's six words.
OverlapPolicy = Literal[
    "skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"
]
# Whether an agent that can resume starts each fire afresh or in its schedule's last session.
SessionMode = Literal["fresh", "resume"]
OnPolicyChange = Literal["off", "checkpoint"]
Count = Annotated[int, Field(ge=0, le=1000)]
Notes = Annotated[str, Field(max_length=10_000)]


def _is_text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("a moment as RFC 3339, such as 2026-01-31T09:00:00Z")
    return value


Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_is_text)]


class ScheduleFields(Strict):
    """What a schedule may carry."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    cron_expr: str
    timezone: str = "UTC"
    prompt: Annotated[str, Field(min_length=1, max_length=262_144)]
    enabled: bool = True
    catchup_window_s: Span | None = None
    window_s: Annotated[float, Field(ge=0, le=86_400)] = 0
    ttl_s: Annotated[float, Field(gt=0, le=31_536_000)] | None = None
    ceiling_s: Span | None = None
    idle_timeout_s: Span | None = None
    stall_after_s: Span | None = None
    preempt: Preempt = "cron"
    preempt_after_s: Span | None = Field(None, description="Null: one cadence. 0: never.")
    overlap_policy: OverlapPolicy = "buffer_all"
    session_mode: SessionMode = "fresh"
    pause_on_failure_count: Count = Field(0, description="Failures in a row; 0: never.")
    retries: Count = Field(0, description="Of a fire that failed or was force-idled.")
    redeliver: Redeliver | None = Field(None, description="Null: the workspace's.")
    on_policy_change: OnPolicyChange = "off"
    notes: Notes = ""


class ScheduleChange(Strict):
    """The fields to change."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    cron_expr: str | None = None
    timezone: str | None = None
    prompt: Annotated[str, Field(min_length=1, max_length=262_144)] | None = None
    enabled: bool | None = None
    catchup_window_s: Span | None = None
    window_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    ttl_s: Annotated[float, Field(gt=0, le=31_536_000)] | None = None
    ceiling_s: Span | None = None
    idle_timeout_s: Span | None = None
    stall_after_s: Span | None = None
    preempt: Preempt | None = None
    preempt_after_s: Span | None = None
    overlap_policy: OverlapPolicy | None = None
    session_mode: SessionMode | None = None
    pause_on_failure_count: Count | None = None
    retries: Count | None = None
    redeliver: Redeliver | None = None
    on_policy_change: OnPolicyChange | None = None
    notes: Notes | None = None


class Schedule(BaseModel):
    """A schedule; what happened to it is read from its ledger."""

    id: str
    workspace_id: str
    name: str
    cron_expr: str
    timezone: str
    prompt: str
    enabled: bool
    last_run_at: str | None
    next_run_at: str | None
    run_count: int
    last_status: str | None
    last_error: str | None
    created_at: str | None
    updated_at: str | None
    version: int
    prompt_version: int
    paused_reason: str
    catchup_window_s: float | None
    window_s: float
    ttl_s: float | None
    ceiling_s: float | None
    idle_timeout_s: float | None
    stall_after_s: float | None
    preempt: Preempt
    preempt_after_s: float | None
    overlap_policy: OverlapPolicy
    session_mode: SessionMode
    pause_on_failure_count: int
    retries: int
    redeliver: Redeliver | None
    on_policy_change: OnPolicyChange
    notes: str
    forecast: ScheduleForecast | None = Field(description="Null while it is paused.")


class Schedules(BaseModel):
    """A workspace's schedules."""

    schedules: list[Schedule]


class OtherFire(BaseModel):
    """Another fire of the same schedule."""

    turn_id: str
    nominal_at: str | None


class Fire(BaseModel):
    """One row of the ledger; the limit's fields are set where one acted."""

    schedule_id: str
    nominal_at: str | None
    state: str = Field(
        description="queued, running, or an end: completed, failed, yielded, force_idled, "
        "coalesced, skipped, expired, missed, canceled, dead."
    )
    state_at: str | None
    turn_id: str | None
    session_id: str | None
    started_at: str | None
    ended_at: str | None
    duration_s: float | None
    attempt: int | None
    reason: str | None = Field(description="The mechanism that brought it into its state.")
    why: str | None = Field(description="The same in words, with limit, setting and measure.")
    setting: str | None
    limit_s: float | None
    measured_s: float | None
    limit_count: int | None
    measured_count: int | None
    origin: str | None
    into: OtherFire | None
    behind: OtherFire | None


class Fires(BaseModel):
    """The newest nominal time first."""

    fires: list[Fire]


class History(BaseModel):
    """The ledger under the field platform's name."""

    history: list[Fire]


class BackfillWish(Strict):
    """A range that has passed; its end is not included."""

    start: Moment
    end: Moment
    overlap_policy: OverlapPolicy = "buffer_all"
    dry_run: bool = Field(False, description="Count only; nothing is made.")


class Stopped(BaseModel):
    """The limit that stopped a backfill half way; ask again to go on."""

    mechanism: str
    limit_count: int
    setting: str


class Backfill(BaseModel):
    """A backfill and how far it has come; ``already``: what had a turn before it."""

    id: str
    schedule_id: str
    start: str
    end: str
    overlap_policy: OverlapPolicy
    created_at: str
    requested: int
    made: int
    already: int
    waiting: int
    running: int
    ended: dict[str, int] = Field(description="How many by each end.")
    share_done: float = Field(description="From 0 to 1.")
    stopped: Stopped | None


class Backfills(BaseModel):
    """The newest first."""

    backfills: list[Backfill]


class PreviewQuery(BaseModel):
    """How many fires ahead."""

    count: Annotated[int, Field(ge=1, le=100)] = 5


class Preview(BaseModel):
    """The next nominal times, and the expression in words."""

    next: list[str]
    description: str


class ScheduleHealth(BaseModel):
    """``stale``: nothing was made for two intervals."""

    schedule_id: str
    workspace_id: str
    name: str
    enabled: bool
    status: Literal["ok", "stale", "never_run"]
    interval_s: float
    last_fire_at: str | None
    last_state: str | None
    waiting_fires: int


class ScheduleHealths(BaseModel):
    """Health of each schedule."""

    schedules: list[ScheduleHealth]
