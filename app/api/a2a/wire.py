"""A2A 1.0 on the wire: requests read by the protocol's own types, and nothing else of its library.

ParseDict takes camelCase and snake_case and passes unknown members over; the required fields are
checked after it, which it does not do itself. Source: a2a.proto of A2A 1.0.
"""

from collections.abc import Mapping
from typing import Any

from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InvalidParamsError
from a2a.utils.proto_utils import validate_proto_required_fields
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from app.api.a2a.faults import Fault

REQUESTS: Mapping[str, type[Message]] = {
    "SendMessage": pb.SendMessageRequest,
    "SendStreamingMessage": pb.SendMessageRequest,
    "GetTask": pb.GetTaskRequest,
    "ListTasks": pb.ListTasksRequest,
    "CancelTask": pb.CancelTaskRequest,
    "SubscribeToTask": pb.SubscribeToTaskRequest,
    "CreateTaskPushNotificationConfig": pb.TaskPushNotificationConfig,
    "GetTaskPushNotificationConfig": pb.GetTaskPushNotificationConfigRequest,
    "ListTaskPushNotificationConfigs": pb.ListTaskPushNotificationConfigsRequest,
    "DeleteTaskPushNotificationConfig": pb.DeleteTaskPushNotificationConfigRequest,
    "GetExtendedAgentCard": pb.GetExtendedAgentCardRequest,
}
CONTENT = frozenset({"text", "raw", "url", "data"})
DEPTH_MAX = 90  # the library counts each list and each object of free data twice


def request(method: str, params: Any) -> dict[str, Any]:
    """The parameters of a 1.0 method as plain camelCase JSON, unknown members left out.

    Raises:
        Fault: -32602, naming the fields.
    """
    if not isinstance(params, dict):
        raise Fault("INVALID_PARAMS", "params: an object is required")
    message = REQUESTS[method]()
    _check_names(params, message)
    return _read(params, message)


def _check_names(params: Mapping[str, Any], message: Message) -> None:
    """A name that stands for nothing is refused: the library would pass it over, as if not given.

    Those further in need no look: the only one, a message's role, is required.
    """
    for field in message.DESCRIPTOR.fields:
        given, names = params.get(field.name), field.enum_type
        if names is None or given in (None, ""):
            continue
        known = {*names.values_by_name, *names.values_by_number}
        if isinstance(given, bool) or not isinstance(given, str | int) or given not in known:
            rule = f"one of {', '.join(names.values_by_name)}"
            raise Fault("INVALID_PARAMS", f"{field.name}: {rule}")


def parts(given: Any) -> list[dict[str, Any]]:
    """Parts as an agent gives them, in the form of 1.0.

    Raises:
        Fault: -32602.
    """
    read = _read({"artifactId": "x", "parts": given}, pb.Artifact())
    return list(read["parts"])


def artifact(given: Any) -> dict[str, Any]:
    """An artifact as an agent gives it, in the form of 1.0.

    Raises:
        Fault: -32602.
    """
    return _read(given, pb.Artifact())


def _read(given: dict[str, Any], message: Message) -> dict[str, Any]:
    try:
        ParseDict(given, message, ignore_unknown_fields=True, max_recursion_depth=DEPTH_MAX)
        validate_proto_required_fields(message)
    except InvalidParamsError as error:
        rows = [
            {"field": _camel(row["field"]), "rule": row["message"]}
            for row in (error.data or {}).get("errors", [])
        ]
        raise Fault("INVALID_PARAMS", rules=rows) from error
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Fault("INVALID_PARAMS", str(error)[:500]) from error
    read: dict[str, Any] = MessageToDict(message)
    return read


def _camel(path: str) -> str:
    first, *rest = path.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
