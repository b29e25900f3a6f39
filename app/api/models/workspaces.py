"""Workspaces, and what happens in them."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field

from app.api.models.base import (
    Lenient,
    Name,
    Page,
    Redeliver,
    Short,
    Slots,
    Span,
    Strict,
    Text,
)

ActivityType = Literal[
    "a2a_send", "a2a_receive", "task_update", "agent_log", "memory_write", "error", "cron_run"
]


class AgentAuth(Strict):
    """What an agent is sent in the header Authorization; written, never shown."""

    scheme: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "Bearer"
    credentials: Annotated[str, Field(pattern=r"^[!-~ ]{1,4096}$")]


class WorkspaceFields(Strict):
    """Configuration; null clears a field, the default then holds."""

    name: Short | None = None
    description: Text | None = None
    max_concurrent: Slots | None = Field(
        None,
        validation_alias=AliasChoices("max_concurrent", "max_concurrent_tasks"),
        description="Sessions at once; also under the field platform's max_concurrent_tasks.",
    )
    ceiling_s: Span | None = Field(None, description="Absolute length of a session; 0: none.")
    idle_timeout_s: Span | None = Field(None, description="Silence that ends a session; 0: never.")
    stall_after_s: Span | None = None
    team: Name | None = Field(None, description="Whose TEAM memories it shares.")
    redeliver: Redeliver | None = Field(
        None, description="What becomes of a turn whose session is lost; null: on_loss."
    )
    agent_url: Short | None = Field(
        None, description="Where the agent is called by A2A; null: its runtime polls."
    )
    agent_card: dict[str, Any] | None = Field(
        None, description="The agent's card; null: asked of the agent itself."
    )
    adapter: Literal["auto", "runtime", "a2a"] | None = Field(
        None,
        description="How turns reach the agent; null or auto: a2a where it has a URL, unless a "
        "runtime that polls beats for it.",
    )
    agent_checkpoint: bool | None = Field(
        None, description="Whether the agent takes a message that asks it to save and stop."
    )
    legacy_card: bool | None = Field(
        None, description="Whether its agent card is also for clients of A2A 0.3; null: yes."
    )


class ChangedWorkspace(WorkspaceFields):
    """Configuration, with what is written and never shown."""

    agent_auth: AgentAuth | None = Field(
        None, description="For the host of agent_url and no other; null removes it."
    )


class NewWorkspace(ChangedWorkspace):
    """A workspace to create; without an id it gets one."""

    id: Name | None = None


class Policy(BaseModel):
    """What the session that is stale the longest works under, beside what holds now.

    ``unseen_memories``: written, or removed, after it last looked, and not by itself.
    """

    running_prompt_version: int | None
    current_prompt_version: int | None
    unseen_memories: int
    stale_for_s: float | None
    session_id: str


class Workspace(BaseModel):
    """A workspace with its figures."""

    id: str
    name: str | None
    description: str | None
    status: Literal["online", "degraded", "offline", "paused", "removed"]
    paused_reason: str | None
    max_concurrent: int
    live_sessions: int
    zombies: int
    waiting: int
    waiting_by_lane: dict[str, int]
    oldest_wait_s: float | None = None
    ceiling_s: float
    idle_timeout_s: float
    stall_after_s: float
    team: str | None
    redeliver: Redeliver
    legacy_card: bool
    agent_url: str | None
    adapter: Literal["runtime", "a2a"] = Field(description="How its next turn would reach it.")
    agent_checkpoint: bool
    has_agent_auth: bool
    policy: Policy | None = Field(description="Null while no session runs.")
    current_task: str | None
    last_heartbeat_at: str | None
    created_at: str | None
    updated_at: str | None


class Workspaces(BaseModel):
    """All workspaces that the token reaches."""

    workspaces: list[Workspace]


class WhyAnswer(BaseModel):
    """Why nothing runs, or what everything waits for."""

    code: str
    sentence: str
    oldest_wait_s: float
    depth: int


class Activity(Lenient):
    """An entry of the activity log."""

    type: ActivityType = "agent_log"
    summary: Text | None = None


class ActivityQuery(Page):
    """Which entries, newest first."""

    type: ActivityType | None = None


class Event(BaseModel):
    """An event as it was appended."""

    event: str
    workspace_id: str
    timestamp: str | None
    payload: dict[str, Any]
    id: str
    turn_id: str | None
    session_id: str | None
    fence: int | None
    mechanism: str | None = None


class Events(BaseModel):
    """Stored events, oldest first."""

    events: list[Event]


class ActivityRow(Event):
    """An event under its type of activity."""

    type: str


class Activities(BaseModel):
    """The newest entry first."""

    activities: list[ActivityRow]


class Notify(Lenient):
    """The agent's word to the user."""

    message: Annotated[str, Field(min_length=1, max_length=262_144)]


class Appended(BaseModel):
    """The event that was appended."""

    status: str
    id: str


class StreamQuery(BaseModel):
    """From where to replay: an age such as ``10m``, or an event id."""

    since: Annotated[str, Field(max_length=40)] | None = None


class SocketQuery(StreamQuery):
    """Of which workspace; left out: of every one that the token reaches."""

    workspace: Name | None = None
