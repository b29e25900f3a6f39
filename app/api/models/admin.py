"""What the operator sends and gets."""

from typing import Annotated

from pydantic import BaseModel, Field

from app.api.models.base import Name, Strict


class NewToken(Strict):
    """A token to make."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    scopes: Annotated[list[str], Field(min_length=1, max_length=20)]
    workspaces: Annotated[list[Name], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="Left out: all (`*`), or only the teams' where teams are named."
    )
    teams: Annotated[list[Annotated[Name, Field(min_length=1)]], Field(max_length=1000)] = Field(
        [], description="Reaches every workspace that is in one of these now."
    )
    expires_in_s: Annotated[float, Field(gt=0, le=315_360_000)] | None = None


class Rotation(Strict):
    """How long the old token is good beside the new one; 0: not at all."""

    grace_s: Annotated[float, Field(ge=0, le=31_536_000)] = 3600


class Token(BaseModel):
    """A token as listed: by its first characters."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    workspaces: list[str]
    teams: list[str]
    created_at: str | None
    expires_at: str | None
    parent: str | None
    made_by: str | None


class MadeToken(Token):
    """The one time that the token itself is shown."""

    token: str


class Tokens(BaseModel):
    """Every token."""

    tokens: list[Token]


class LoginLink(BaseModel):
    """Opens the UI once. ``absolute_url``: at TURNKEEPER_PUBLIC_URL, else as asked for on this
    machine, else the path alone.
    """

    url: str
    absolute_url: str


class Liveness(BaseModel):
    """Whether the parts behind the API are alive."""

    ticks: dict[str, str]
    dispatchers: int
    ready: int
    jobs_waiting: dict[str, int]


class Scale(BaseModel):
    """For a scaler of dispatch workers."""

    runnable: int = Field(description="Workspaces that may have something to claim.")
    running: int = Field(description="Sessions that hold a slot.")
    desired_workers: int = Field(description="Never 0, at most TURNKEEPER_SCALE_WORKERS_MAX.")


class Violation(BaseModel):
    """What cannot be: a stable code, what it is about, and a sentence."""

    code: str
    subject: str
    sentence: str


class InvariantReport(BaseModel):
    """The last look at one workspace; of its violations the first twenty.

    ``checked`` of ``total`` records: a big workspace is looked at part by part. ``doubts``: hints
    of the control side that are wrong and may only lag, and since when.
    """

    workspace_id: str
    checked_at: str
    duration_ms: int
    look: int
    checked: int
    total: int
    violation_count: int
    violations: list[Violation]
    doubts: dict[str, str]


class Invariants(BaseModel):
    """The last rounds through all workspaces; ``violations`` counts those of all last reports.

    ``round_ended_at``: when all had last been looked at. ``workspaces``: those with violations
    first.
    """

    interval_s: float
    round_began_at: str | None
    round_ended_at: str | None
    violations: int
    workspaces: list[InvariantReport]
