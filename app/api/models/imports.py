"""Forecasts, cron expressions in words, crontabs."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.api.models.base import Strict

Basis = Literal["history", "ceiling", "unknown"]
Percent = float | None


class Need(BaseModel):
    """What one schedule needs; percents are of all slots of its workspace."""

    basis: Basis
    fires_per_day: float
    samples: int = Field(description="Runs that were measured, at most the newest 20.")
    mean_duration_s: float | None
    p90_duration_s: float | None
    ceiling_s: float
    share_percent: Percent = Field(description="By its mean duration, or by its ceiling.")
    worst_share_percent: Percent = Field(description="If every run lasted its ceiling.")


class ScheduleForecast(Need):
    """One schedule's part, and what its workspace's schedules need together."""

    workspace_percent: Percent
    sentence: str
    advice: list[str]


class NamedNeed(Need):
    """A schedule's need in the list of all."""

    schedule_id: str
    name: str


class Advice(BaseModel):
    """A change that brings the need down."""

    schedule_id: str
    setting: str
    text: str


class Forecast(BaseModel):
    """What the enabled schedules need of the workspace's slots."""

    slots: int
    basis: Basis = Field(description="The weakest of the schedules'.")
    share_percent: Percent
    worst_share_percent: Percent
    measured_percent: int = Field(description="Only what was measured; the limit looks at this.")
    limit_percent: int
    is_over: bool
    sentence: str
    advice: list[Advice]
    schedules: list[NamedNeed]


class ExplainQuery(BaseModel):
    """A cron expression and its zone."""

    expr: Annotated[str, Field(min_length=1, max_length=256)]
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    count: Annotated[int, Field(ge=1, le=100)] = 5


class Explained(BaseModel):
    """A cron expression in words, and when it fires next."""

    cron_expr: str
    timezone: str
    description: str
    fires_per_day: float
    next: list[str]


class CrontabImport(Strict):
    """A crontab to make schedules of."""

    crontab: Annotated[str, Field(max_length=1_048_576)]
    dry_run: bool = False
    skip_bad: bool = Field(False, description="Take the good lines although others are bad.")
    prompt_template: Annotated[str, Field(max_length=262_144)] = "{command}"


class CrontabLine(BaseModel):
    """What becomes, or would become, of one line; known again by its name."""

    line: int
    action: Literal["create", "update", "unchanged", "error"]
    name: str
    schedule_id: str | None
    cron_expr: str
    timezone: str
    words: str
    next: list[str]
    changed: list[str]
    field: str
    rule: str


class PassedLine(BaseModel):
    """A line that means nothing here."""

    line: int
    text: str


class CrontabImported(BaseModel):
    """Every line that is not empty or a comment; ``forecast`` as it is afterwards."""

    dry_run: bool
    lines: list[CrontabLine]
    passed: list[PassedLine]
    forecast: str


class CrontabExport(BaseModel):
    """A workspace's schedules as a crontab."""

    crontab: str
