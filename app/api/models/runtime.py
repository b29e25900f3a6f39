"""What agents and their runtimes send and get."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.api.models.base import EXACT_MAX, Lenient, Name, Short, Slots, Span, Text


class Register(Lenient):
    """An agent says where it is and what it can; creates the workspace where it is absent."""

    id: Name
    url: Short | None = None
    agent_card: dict[str, Any] | None = None
    max_concurrent: Slots | None = None


class Card(Lenient):
    """An agent's card in place of the one before."""

    id: Name
    agent_card: dict[str, Any] = Field(default_factory=dict)


class Registered(BaseModel):
    """``auth_token`` is a runtime token for this workspace, shown once; null: keep yours."""

    status: Literal["registered"]
    auth_token: str | None


class RuntimeMetadata(Lenient):
    """What a runtime declares; an explicit null clears the idle override."""

    idle_timeout_seconds: Span | None = None


class Heartbeat(Lenient):
    """One heartbeat; a field left out changes nothing."""

    seq: Annotated[int, Field(ge=0, le=EXACT_MAX)] | None = None
    instance: Annotated[str, Field(max_length=128)] = ""
    active_tasks: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    max_concurrent: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        None, description="Sessions at once; 0: the runtime is stopping and takes no more."
    )
    sessions: (
        Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=4096)] | None
    ) = None
    error_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    sample_error: str | None = None
    uptime_seconds: float | None = None
    current_task: Short | None = None
    runtime_state: Literal["", "wedged"] | None = None
    runtime_metadata: RuntimeMetadata | None = None
    idle_timeout_s: Span | None = None


class FieldHeartbeat(Heartbeat):
    """The field platform's heartbeat names its workspace in the body."""

    workspace_id: Name


class Directive(BaseModel):
    """What a session is asked to do; it names its session and reaches no other."""

    type: Literal["checkpoint", "cancel", "terminate"]
    session_id: str
    fence: int
    deadline_at: str | None
    reason: str


class HeartbeatAnswer(BaseModel):
    """``status`` is ``ok``, or ``stale`` for a beat older than the last."""

    status: Literal["ok", "stale"]
    workspace_status: str
    directives: list[Directive]
    queue_depth: int


class Poll(BaseModel):
    """How long to wait for a turn, and which runtime asks."""

    wait_s: Annotated[float, Field(ge=0, le=300)] = Field(
        25, description="Seconds; the platform waits TURNKEEPER_POLL_WAIT_MAX_S at most."
    )
    instance: Annotated[str, Field(max_length=128)] = ""
    room: Annotated[int, Field(ge=0, le=1000)] = Field(
        1, description="Free slots of the runtime; 0: only directives, no turn."
    )


class HandedTurn(BaseModel):
    """A turn with everything bound to it at the claim.

    ``session_token``: for the agent's own tools (MCP); it acts for this session and ends with it.
    """

    turn_id: str
    session_id: str
    workspace_id: str
    fence: int
    attempt: int
    lane: str
    origin: str
    prompt: str
    message: dict[str, Any] | None
    context_id: str | None
    schedule_id: str | None
    nominal_at: str | None
    coalesced: list[str]
    coalesced_count: int
    session_mode: Literal["fresh", "resume"] | None
    prompt_version: int | None
    ceiling_at: str | None
    checkpoint_at: str | None
    cancel_at: str | None
    idle_timeout_s: float
    checkpoint: dict[str, Any] | None
    memories: list[dict[str, Any]]
    traceparent: str | None
    session_token: str


class NextTurn(BaseModel):
    """``turn`` is null when nothing came in time."""

    turn: HandedTurn | None
    directives: list[Directive]


class Fenced(Lenient):
    """A report of the holder of a session, under its fence."""

    fence: Annotated[int, Field(ge=1, le=EXACT_MAX)]


class Start(Fenced):
    """The agent has begun."""

    instance: Annotated[str, Field(max_length=128)] = ""


class Progress(Fenced):
    """The work advanced; ``keepalive``: a tool still runs."""

    kind: Literal["output", "text", "keepalive", "tool_start", "tool_end"] = "text"
    text: Text | None = None
    tool: Short | None = None
    percent: Annotated[float, Field(ge=0, le=100)] | None = None


class Note(Lenient):
    """What a session leaves for the next one."""

    summary: Text = ""
    next_step: Text = ""
    artifacts: list[Any] = []


class Failure(Lenient):
    """Why a session failed."""

    code: Short = "failed"
    message: Text = ""


class Result(Lenient):
    """What came back."""

    text: str | None = None
    parts: Annotated[list[dict[str, Any]], Field(max_length=1000)] | None = Field(
        None, description="The answer as parts of A2A 1.0, where it is more than text."
    )
    artifacts: Annotated[list[dict[str, Any]], Field(max_length=1000)] | None = Field(
        None, description="What was made, as artifacts of A2A 1.0."
    )
    answer: Literal["task", "message"] | None = Field(
        None, description="message: an A2A client that waits gets the answer as a bare message."
    )
    interrupt: Literal["input_required", "auth_required"] | None = Field(
        None, description="With the outcome input_required: what the agent needs of its caller."
    )


class Finish(Fenced):
    """The agent's own end of a session."""

    outcome: Literal["completed", "failed", "yielded", "input_required", "canceled"] = "completed"
    result: Result | None = None
    error: Failure | None = None
    checkpoint: Note | None = None
    exit_code: int | None = None
    limits: list[dict[str, Any]] = []


class Release(Fenced):
    """The holder hands a session back unfinished."""

    reason: Short = ""


class Spool(Fenced):
    """Reports that could not be delivered when they were made, in order."""

    reports: Annotated[list[dict[str, Any]], Field(max_length=10_000)]


class Reported(BaseModel):
    """The report was taken."""

    status: str
    state: str | None = None
    directives: list[Directive] = []
