"""Turns, the messages that make them, and sessions."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, RootModel

from app.api.models.base import Lenient, Page


class RpcRequest(Lenient):
    """JSON-RPC 2.0; without ``jsonrpc`` the field platform's short form of ``message/send``."""

    jsonrpc: Literal["2.0"] | None = None
    id: str | int | None = None
    method: str = "message/send"
    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Those of the method, as A2A 1.0 or 0.3 has it. Of message/send beside them: "
        "metadata {origin, from_workspace_id, redeliver: on_loss | never}, expires_in_seconds, "
        "priority.",
    )


class McpRequest(Lenient):
    """One JSON-RPC 2.0 message of the Model Context Protocol; without an ``id`` a notification."""

    jsonrpc: Literal["2.0"]
    id: str | int | None = None
    method: str
    params: dict[str, Any] = Field(default_factory=dict)


class A2AObject(RootModel[dict[str, Any]]):
    """A message of A2A 1.0 in its JSON form; see the protocol's specification."""


class AgentCard(RootModel[dict[str, Any]]):
    """An agent card of A2A, with its addresses here."""


class RpcError(BaseModel):
    """Why a JSON-RPC request was refused; ``data`` lists fields and rules, or a code."""

    code: int
    message: str
    data: Any = None


class RpcAnswer(BaseModel):
    """JSON-RPC's answer: what the method answers, or an error."""

    jsonrpc: Literal["2.0"]
    id: str | int | None
    result: Any = None
    error: RpcError | None = None


class Queued(BaseModel):
    """The field platform's answer to a message: accepted, not answered."""

    queued: bool
    queue_id: str
    queue_depth: int
    message: str
    position: int
    oldest_wait_s: float
    session_age_s: float


class Turn(BaseModel):
    """A turn as clients see it."""

    id: str
    workspace_id: str
    state: str
    lane: str
    origin: str
    attempt: int
    accepted_at: str | None
    state_at: str | None
    ended_at: str | None
    expires_at: str | None
    session_id: str | None
    schedule_id: str | None
    nominal_at: str | None
    context_id: str | None
    mechanism: str | None
    replay_of: str | None
    replayed_as: str | None
    discarded_at: str | None
    request: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class Turns(BaseModel):
    """Turns, the open ones first."""

    turns: list[Turn]


class TurnQuery(Page):
    """Which turns."""

    state: Annotated[str, Field(max_length=32)] | None = None


class Session(BaseModel):
    """A session as the operator sees it."""

    id: str
    workspace_id: str
    turn_id: str
    state: str
    fence: int
    attempt: int
    lane: str
    origin: str
    schedule_id: str | None
    claimed_at: str | None
    delivered_at: str | None
    started_at: str | None
    ended_at: str | None
    age_s: float
    heartbeat_age_s: float
    progress_age_s: float
    ceiling_at: str | None
    ceiling_s: float
    prompt_version: int | None
    memory_seq: dict[str, int] | None
    memory_team: str | None
    digest: str | None
    mechanism: str | None
    turn_state: str | None
    ceiling_setting: str
    stalled_at: str | None
    checkpoint_requested_at: str | None
    checkpoint_by: str | None
    cancel_requested_at: str | None
    cancel_by: str | None
    nominal_at: str | None
    coalesced: list[str]
    coalesced_count: int
    bound: dict[str, Any] | None = None


class QueueEntry(Turn):
    """One accepted message; ``status`` is the turn's state."""

    queue_id: str
    status: str
    session: Session | None


class Sessions(BaseModel):
    """Sessions, the live ones first."""

    sessions: list[Session]


class DelegationQuery(Page):
    """Which way; left out: both."""

    direction: Literal["sent", "received"] | None = None


class Delegation(BaseModel):
    """A turn that one workspace's agent asks of another's; ``delegation_id`` is the turn's id.

    ``source_id``: null where the sender named no workspace. ``status`` is the turn's state: null
    where it is no longer kept, or where the token does not reach the workspace it was sent to.
    """

    delegation_id: str
    direction: Literal["sent", "received"]
    source_id: str | None
    target_id: str
    summary: str
    status: str | None
    created_at: str | None
    updated_at: str | None
    ended_at: str | None


class Delegations(RootModel[list[Delegation]]):
    """Delegations, the newest first; a bare list, as the field platform answers one."""
