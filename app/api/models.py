"""What requests carry and answers show: the models that validate are the ones documented."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=262_144)]
Short = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=1, le=1000)]
Span = Annotated[float, Field(ge=0, le=31_536_000)]


class Strict(BaseModel):
    """A request body: an unknown field is a fault, so that a typo never passes for a setting."""

    model_config = ConfigDict(extra="forbid")


class Lenient(BaseModel):
    """A body of the field platform: it sends more than we use."""

    model_config = ConfigDict(extra="allow")


class Ok(BaseModel):
    """It was done."""

    status: str = "ok"


class Page(BaseModel):
    """How many rows at most."""

    limit: Count = 50


class WorkspaceFields(Strict):
    """Configuration; null clears a field, the default then holds."""

    name: Short | None = None
    description: Text | None = None
    max_concurrent: Annotated[int, Field(ge=1, le=1000)] | None = None
    ceiling_s: Span | None = Field(None, description="Absolute length of a session; 0: none.")
    idle_timeout_s: Span | None = Field(None, description="Silence that ends a session; 0: never.")
    stall_after_s: Span | None = None


class NewWorkspace(WorkspaceFields):
    """A workspace to create; without an id it gets one."""

    id: str | None = None


class Workspace(BaseModel):
    """A workspace with its figures."""

    id: str
    name: str | None
    description: str | None
    status: Literal["online", "degraded", "offline", "paused", "removed"]
    paused_reason: str | None
    max_concurrent: int
    live_sessions: int
    waiting: int
    waiting_by_lane: dict[str, int]
    oldest_wait_s: float | None = None
    ceiling_s: float
    idle_timeout_s: float
    current_task: str | None
    last_heartbeat_at: str | None
    created_at: str | None
    updated_at: str | None


class Workspaces(BaseModel):
    """All workspaces that the token reaches."""

    workspaces: list[Workspace]


class Reason(Strict):
    """Why; shown where the operator looks."""

    reason: Short = ""


class Register(Lenient):
    """An agent says where it is and what it can; creates the workspace where it is absent."""

    id: str
    url: Short | None = None
    agent_card: dict[str, Any] | None = None
    max_concurrent: Annotated[int, Field(ge=1, le=1000)] | None = None


class Registered(BaseModel):
    """``auth_token`` is a runtime token for this workspace, shown once; null: keep yours."""

    status: Literal["registered"]
    auth_token: str | None


class RuntimeMetadata(Lenient):
    """What a runtime declares; an explicit null clears the idle override."""

    idle_timeout_seconds: Span | None = None


class Heartbeat(Lenient):
    """One heartbeat; a field left out changes nothing."""

    seq: Annotated[int, Field(ge=0)] | None = None
    instance: Annotated[str, Field(max_length=128)] = ""
    active_tasks: Annotated[int, Field(ge=0)] | None = None
    max_concurrent: Annotated[int, Field(ge=1, le=1000)] | None = None
    sessions: list[str] | None = None
    error_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    sample_error: str | None = None
    uptime_seconds: float | None = None
    current_task: Short | None = None
    runtime_state: Literal["", "wedged"] | None = None
    runtime_metadata: RuntimeMetadata | None = None
    idle_timeout_s: Span | None = None


class FieldHeartbeat(Heartbeat):
    """The field platform's heartbeat names its workspace in the body."""

    workspace_id: str


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

    wait_s: Annotated[float, Field(ge=0, le=300)] = 25
    instance: Annotated[str, Field(max_length=128)] = ""


class HandedTurn(BaseModel):
    """A turn with everything bound to it at the claim."""

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
    prompt_version: int | None
    ceiling_at: str | None
    checkpoint_at: str | None
    cancel_at: str | None
    idle_timeout_s: float
    checkpoint: dict[str, Any] | None
    memories: list[dict[str, Any]]
    traceparent: str | None


class NextTurn(BaseModel):
    """``turn`` is null when nothing came in time."""

    turn: HandedTurn | None
    directives: list[Directive]


class Fenced(Lenient):
    """A report of the holder of a session, under its fence."""

    fence: Annotated[int, Field(ge=1)]


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
    request: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class Turns(BaseModel):
    """Turns, the open ones first."""

    turns: list[Turn]


class TurnQuery(Page):
    """Which turns."""

    state: str | None = None


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
    progress_age_s: float
    ceiling_at: str | None
    ceiling_s: float
    prompt_version: int | None
    mechanism: str | None
    turn_state: str | None
    checkpoint_requested_at: str | None
    bound: dict[str, Any] | None = None


class Sessions(BaseModel):
    """Sessions, the live ones first."""

    sessions: list[Session]


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


class Schedules(BaseModel):
    """A workspace's schedules."""

    schedules: list[Schedule]


class Fire(BaseModel):
    """One row of the ledger."""

    schedule_id: str
    nominal_at: str | None
    state: str
    state_at: str | None
    turn_id: str | None
    session_id: str | None
    started_at: str | None
    reason: str | None
    origin: str | None


class Fires(BaseModel):
    """The newest nominal time first."""

    fires: list[Fire]


class History(BaseModel):
    """The ledger under the field platform's name."""

    history: list[Fire]


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


class Activity(Lenient):
    """An entry of the activity log."""

    type: Literal[
        "a2a_send", "a2a_receive", "task_update", "agent_log", "memory_write", "error", "cron_run"
    ] = Field("agent_log", validation_alias="type")
    summary: Text | None = None


class ActivityQuery(Page):
    """Which entries, newest first."""

    type: str | None = None


class Activities(BaseModel):
    """The newest entry first."""

    activities: list[dict[str, Any]]


class Notify(Lenient):
    """The agent's word to the user."""

    message: Annotated[str, Field(min_length=1, max_length=262_144)]


class Appended(BaseModel):
    """The event that was appended."""

    status: str
    id: str


class WhyAnswer(BaseModel):
    """Why nothing runs, or what everything waits for."""

    code: str
    sentence: str
    oldest_wait_s: float
    depth: int


class Queued(BaseModel):
    """The field platform's answer to a message: accepted, not answered."""

    queued: bool
    queue_id: str
    queue_depth: int
    message: str
    position: int
    oldest_wait_s: float
    session_age_s: float


class NewToken(Strict):
    """A token to make."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    scopes: list[str]
    workspaces: list[str] = ["*"]
    expires_in_s: Annotated[float, Field(gt=0)] | None = None


class Token(BaseModel):
    """A token as listed: by its first characters."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    workspaces: list[str]
    created_at: str | None
    expires_at: str | None


class MadeToken(Token):
    """The one time that the token itself is shown."""

    token: str


class Tokens(BaseModel):
    """Every token."""

    tokens: list[Token]


class LoginLink(BaseModel):
    """Opens the UI once."""

    url: str


class StreamQuery(BaseModel):
    """From where to replay: an age such as ``10m``, or an event id."""

    since: Annotated[str, Field(max_length=40)] | None = None


class Liveness(BaseModel):
    """Whether the parts behind the API are alive."""

    ticks: dict[str, str]
    dispatchers: int
    ready: int
    jobs_waiting: dict[str, int]


class Health(BaseModel):
    """The process answers; ``ready``: it also reaches its store."""

    status: str
