"""The methods of A2A 1.0, for both bindings: parameters in plain camelCase JSON, results too."""

from collections.abc import Mapping
from typing import Any

from app.api.a2a import cards, sending, tasks, wire
from app.api.a2a.faults import Fault

PROTOCOL = "1.0"


def check_version(header: str | None) -> None:
    """A client names the version it speaks; what it leaves out goes by the method's name.

    Raises:
        Fault: -32009.
    """
    major = (header or PROTOCOL).strip().partition(".")[0]
    if major not in ("", "1"):
        raise Fault("VERSION_NOT_SUPPORTED", f"version {str(header)[:20]}: 1.0 is served here")


def read_send(method: str, raw: Any) -> sending.Send:
    """A message with what its sender asks for."""
    params = wire.request(method, raw)
    message = params["message"]
    if message["role"] != "ROLE_USER":
        raise Fault("INVALID_PARAMS", "message.role: ROLE_USER")
    empty = [at for at, part in enumerate(message["parts"]) if not part.keys() & wire.CONTENT]
    if empty:
        raise Fault("INVALID_PARAMS", f"message.parts.{empty[0]}: text, raw, url or data")
    configuration = params.get("configuration", {})
    config = configuration.get("taskPushNotificationConfig")
    length = configuration.get("historyLength")
    if length is not None and length < 0:
        raise Fault("INVALID_PARAMS", "configuration.historyLength: 0 or more")
    return sending.Send(
        message=message,
        protocol=PROTOCOL,
        text="\n".join(part["text"] for part in message["parts"] if "text" in part),
        is_waiting=not configuration.get("returnImmediately", False),
        history_length=length,
        push=tasks.push_config(config, PROTOCOL) if config else None,
        metadata=params.get("metadata", {}),
    )


def task_id(method: str, raw: Any) -> str:
    """Which task a method of one task is about."""
    return str(wire.request(method, raw)["id"])


def send(workspace_id: str, raw: Any) -> tuple[dict[str, Any], int]:
    """SendMessage: the task or the agent's bare message, and the HTTP status."""
    wanted = read_send("SendMessage", raw)
    return sending.once(
        workspace_id, wanted, lambda: (sending.answer_to(workspace_id, wanted), 200)
    )


def _get(workspace_id: str, raw: Any) -> dict[str, Any]:
    params = wire.request("GetTask", raw)
    return tasks.get(workspace_id, params["id"], params.get("historyLength"))


def _list(workspace_id: str, raw: Any) -> dict[str, Any]:
    return tasks.listed(workspace_id, wire.request("ListTasks", raw))


def _cancel(workspace_id: str, raw: Any) -> dict[str, Any]:
    return tasks.cancel(workspace_id, wire.request("CancelTask", raw)["id"])


def _put_push(workspace_id: str, raw: Any) -> dict[str, Any]:
    params = wire.request("CreateTaskPushNotificationConfig", raw)
    return tasks.put_push(workspace_id, params, PROTOCOL)


def _get_push(workspace_id: str, raw: Any) -> dict[str, Any]:
    params = wire.request("GetTaskPushNotificationConfig", raw)
    return tasks.get_push(workspace_id, params["taskId"], params["id"])


def _list_push(workspace_id: str, raw: Any) -> dict[str, Any]:
    return tasks.list_push(workspace_id, wire.request("ListTaskPushNotificationConfigs", raw))


def _remove_push(workspace_id: str, raw: Any) -> dict[str, Any]:
    params = wire.request("DeleteTaskPushNotificationConfig", raw)
    tasks.remove_push(workspace_id, params["taskId"], params["id"])
    return {}


def _extended_card(workspace_id: str, raw: Any) -> dict[str, Any]:
    wire.request("GetExtendedAgentCard", raw)
    return cards.of(workspace_id).pure


METHODS: Mapping[str, Any] = {
    "GetTask": _get,
    "ListTasks": _list,
    "CancelTask": _cancel,
    "CreateTaskPushNotificationConfig": _put_push,
    "GetTaskPushNotificationConfig": _get_push,
    "ListTaskPushNotificationConfigs": _list_push,
    "DeleteTaskPushNotificationConfig": _remove_push,
    "GetExtendedAgentCard": _extended_card,
}
STREAMS = ("SendStreamingMessage", "SubscribeToTask")
