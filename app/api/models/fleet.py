"""The fleet: what needs attention, and a row of every workspace; the checks of the doctor."""

from pydantic import BaseModel

from app.api.models.base import Count


class FleetQuery(BaseModel):
    """How many rows at most; what needs attention is told of all."""

    limit: Count = 500


class FleetSession(BaseModel):
    """A live session. ``ceiling_s`` 0: none."""

    id: str
    turn_id: str
    state: str
    schedule: str | None
    age_s: float
    ceiling_s: float
    heartbeat_age_s: float
    progress_age_s: float


class FleetRow(BaseModel):
    """One workspace. ``sessions``: the first five, the oldest first."""

    id: str
    name: str
    status: str
    live_sessions: int
    max_concurrent: int
    sessions: list[FleetSession]
    heartbeat_age_s: float | None
    waiting: int
    waiting_by_lane: dict[str, int]
    waiting_fires: int
    oldest_wait_s: float
    policy: str | None
    next_fire_at: str | None
    dead_letters: int


class AttentionCondition(BaseModel):
    """A condition that holds: what was measured, against which limit, and whose it is."""

    code: str
    measured: float
    limit: float
    setting: str


class AttentionItem(BaseModel):
    """One sentence about a workspace, or about the platform (no ``workspace_id``)."""

    workspace_id: str | None
    name: str
    severity: str
    sentence: str
    mechanism: str
    conditions: list[AttentionCondition]


class Fleet(BaseModel):
    """The worst first, the longest wait first. ``total``: the workspaces that the token reaches."""

    at: str
    total: int
    attention: list[AttentionItem]
    workspaces: list[FleetRow]


class CheckRow(BaseModel):
    """One check: ``ok``, ``warn`` or ``fail``; ``next``: what to do about it."""

    name: str
    status: str
    detail: str
    next: str


class Checkup(BaseModel):
    """Every check; ``status`` is the worst of them."""

    status: str
    checks: list[CheckRow]
