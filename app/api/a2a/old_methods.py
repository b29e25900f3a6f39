"""The methods of A2A 0.3: their parameters, checked, and their results."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.a2a import sending, tasks
from app.api.a2a.faults import Fault
from app.core.a2a import legacy

PROTOCOL = "0.3"
UNNAMED = "default"  # the id of a task's configuration that was set without one
Id = Annotated[str, Field(max_length=256)]


class File(BaseModel):
    """A file by its bytes or by its address."""

    bytes: str | None = None
    uri: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "File":
        if (self.bytes is None) == (self.uri is None):
            raise ValueError("either bytes or uri")
        return self


class TextPart(BaseModel):
    """Text."""

    model_config = ConfigDict(extra="allow")
    kind: Literal["text"]
    text: str
    metadata: dict[str, Any] | None = None


class FilePart(BaseModel):
    """A file."""

    model_config = ConfigDict(extra="allow")
    kind: Literal["file"]
    file: File
    metadata: dict[str, Any] | None = None


class DataPart(BaseModel):
    """Structured data."""

    model_config = ConfigDict(extra="allow")
    kind: Literal["data"]
    data: dict[str, Any]
    metadata: dict[str, Any] | None = None


class Message(BaseModel):
    """A message of A2A 0.3; members we do not use reach the agent unchanged."""

    model_config = ConfigDict(extra="allow")
    kind: Literal["message"] = "message"
    role: Literal["user", "agent"]
    parts: list[Annotated[TextPart | FilePart | DataPart, Field(discriminator="kind")]] = Field(
        min_length=1, max_length=1000
    )
    messageId: Annotated[str, Field(min_length=1, max_length=256)]  # noqa: N815 - the wire's name
    contextId: Id | None = None  # noqa: N815
    taskId: Id | None = None  # noqa: N815
    metadata: dict[str, Any] | None = None


class Authentication(BaseModel):
    """How the client wants to be called."""

    schemes: list[str] = []
    credentials: str | None = None


class PushConfig(BaseModel):
    """Where a task's changes are pushed."""

    url: str
    id: Id | None = None
    token: str | None = None
    authentication: Authentication | None = None


class Configuration(BaseModel):
    """How the client wants its answer."""

    blocking: bool | None = None
    historyLength: int | None = Field(None, ge=0)  # noqa: N815
    pushNotificationConfig: PushConfig | None = None  # noqa: N815


class SendParams(BaseModel):
    """Parameters of ``message/send`` and ``message/stream``."""

    message: Message
    configuration: Configuration | None = None
    metadata: dict[str, Any] | None = None
    expires_in_seconds: float | None = Field(None, gt=0, le=31_536_000)
    priority: int | None = None


class TaskParams(BaseModel):
    """Which task."""

    id: str
    historyLength: int | None = Field(None, ge=0)  # noqa: N815


class PushParams(BaseModel):
    """Which configuration of which task."""

    id: str
    pushNotificationConfigId: str | None = None  # noqa: N815


class NewPushParams(BaseModel):
    """A configuration for a task."""

    taskId: str  # noqa: N815
    pushNotificationConfig: PushConfig  # noqa: N815


def read_send(raw: Any) -> sending.Send:
    """A message with what its sender asks for."""
    params = SendParams.model_validate(raw)
    asked = raw["message"]
    configuration = params.configuration or Configuration.model_validate({})
    config = configuration.pushNotificationConfig
    return sending.Send(
        message=asked,
        protocol=PROTOCOL,
        text=text_of(asked["parts"]),
        is_waiting=configuration.blocking is not False,
        history_length=configuration.historyLength or None,
        push=tasks.push_config(_up(config), PROTOCOL) if config else None,
        metadata=params.metadata or {},
        expires_in_s=params.expires_in_seconds,
        priority=params.priority,
    )


def text_of(parts: Any) -> str:
    """What an agent is told of a message: the texts of its parts."""
    return "\n".join(str(part["text"]) for part in parts if isinstance(part.get("text"), str))


def _up(given: PushConfig) -> dict[str, Any]:
    found = given.authentication
    secrets = (
        {"scheme": (found.schemes or ["Bearer"])[0], "credentials": found.credentials or ""}
        if found
        else None
    )
    return {
        "id": given.id or UNNAMED,
        "url": given.url,
        "token": given.token or "",
        "authentication": secrets,
    }


def _send(workspace_id: str, raw: Any) -> tuple[Any, int]:
    send = read_send(raw)

    def answer() -> tuple[dict[str, Any], int]:
        told = sending.answer_to(workspace_id, send)
        return (
            legacy.message(told["message"]) if "message" in told else legacy.task(told["task"])
        ), 200

    return sending.once(workspace_id, send, answer)


def _get(workspace_id: str, raw: Any) -> Any:
    params = TaskParams.model_validate(raw)
    return legacy.task(tasks.get(workspace_id, params.id, params.historyLength or None))


def _cancel(workspace_id: str, raw: Any) -> Any:
    return legacy.task(tasks.cancel(workspace_id, TaskParams.model_validate(raw).id))


def _put_push(workspace_id: str, raw: Any) -> Any:
    params = NewPushParams.model_validate(raw)
    given = {**_up(params.pushNotificationConfig), "taskId": params.taskId}
    return legacy.push_config(tasks.put_push(workspace_id, given, PROTOCOL))


def _get_push(workspace_id: str, raw: Any) -> Any:
    params = PushParams.model_validate(raw)
    found = tasks.get_push(workspace_id, params.id, params.pushNotificationConfigId or "")
    return legacy.push_config(found)


def _list_push(workspace_id: str, raw: Any) -> Any:
    found = tasks.list_push(workspace_id, {"taskId": PushParams.model_validate(raw).id})
    return [legacy.push_config(one) for one in found["configs"]]


def _remove_push(workspace_id: str, raw: Any) -> Any:
    params = PushParams.model_validate(raw)
    if not params.pushNotificationConfigId:
        raise Fault("INVALID_PARAMS", "params.pushNotificationConfigId: a text is required")
    tasks.remove_push(workspace_id, params.id, params.pushNotificationConfigId)
    return None


def _extended_card(workspace_id: str, raw: Any) -> Any:
    raise Fault("EXTENDED_AGENT_CARD_NOT_CONFIGURED")


def streamed(told: Mapping[str, Any], is_last: bool) -> dict[str, Any]:
    """One event of a stream."""
    return legacy.streamed(told, is_last)


SEND = ("message/send", _send)
METHODS: Mapping[str, Any] = {
    "tasks/get": _get,
    "tasks/cancel": _cancel,
    "tasks/pushNotificationConfig/set": _put_push,
    "tasks/pushNotificationConfig/get": _get_push,
    "tasks/pushNotificationConfig/list": _list_push,
    "tasks/pushNotificationConfig/delete": _remove_push,
    "agent/getAuthenticatedExtendedCard": _extended_card,
}
STREAMS = ("message/stream", "tasks/resubscribe")
