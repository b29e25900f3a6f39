"""The configuration of everything as one document."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.api.models.base import Name, Short, Strict, Text
from app.api.models.schedules import ScheduleFields
from app.api.models.webhooks import Format, Names, Url
from app.api.models.workspaces import WorkspaceFields

ItemId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class BackupWorkspace(WorkspaceFields):
    """A workspace; a field that is left out stays as it is."""

    id: Name
    is_paused: bool = False
    paused_reason: Short = ""


class BackupSchedule(ScheduleFields):
    """A schedule with its id; a field that is left out stays as it is."""

    id: ItemId
    workspace_id: Name
    timezone: str
    paused_reason: Short = ""


class BackupMemory(Strict):
    """A memory with its id. LOCAL ones name their workspace, TEAM ones their team."""

    id: ItemId
    scope: Literal["LOCAL", "TEAM", "GLOBAL"]
    content: Text
    namespace: Short = ""
    key: Short | None = None
    workspace_id: Name | None = None
    team: Name | None = None


class BackupWebhook(Strict):
    """A webhook without its secret. New to a platform, it comes in with a new one and disabled;
    a field that is left out stays as it is."""

    id: ItemId
    url: Url
    events: Names = ["*"]
    workspaces: Names = ["*"]
    description: Short = ""
    format: Format = "event"


class Backup(Strict):
    """A backup; a document may be taken in parts."""

    format: Literal["turnkeeper-backup"]
    version: int
    exported_at: str | None = None
    workspaces: list[BackupWorkspace] = []
    schedules: list[BackupSchedule] = []
    memories: list[BackupMemory] = []
    webhooks: list[BackupWebhook] = []


class BackupQuery(BaseModel):
    """Whether to change anything."""

    dry_run: bool = False


class BackupOutcome(BaseModel):
    """What became, or would become, of one item."""

    kind: Literal["workspace", "schedule", "memory", "webhook"]
    id: str
    workspace_id: str | None
    outcome: Literal["created", "updated", "unchanged", "refused"]
    changed: list[str]
    reason: str


class BackupTaken(BaseModel):
    """Every item's outcome, in the order of the document."""

    dry_run: bool
    items: list[BackupOutcome]
