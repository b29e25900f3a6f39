"""A2A as an agent is spoken to: requests of 1.0 and 0.3, and what their answers say. Pure.

What an agent answers is read by the protocol's own types before it is kept: it is shown to A2A
clients as it is. Source: A2A protocol 0.3 and 1.0 (JSON-RPC).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from app.core.agent_pushes import Invitation

NEW, OLD = "1.0", "0.3"
CHECKPOINT = "urn:turnkeeper:checkpoint"
PUSH_ID = "turnkeeper"
METHODS: Mapping[str, Mapping[str, str]] = {
    NEW: {
        "send": "SendMessage",
        "get": "GetTask",
        "cancel": "CancelTask",
        "subscribe": "SubscribeToTask",
    },
    OLD: {
        "send": "message/send",
        "get": "tasks/get",
        "cancel": "tasks/cancel",
        "subscribe": "tasks/resubscribe",
    },
}
DONE = frozenset({"completed", "failed", "canceled", "rejected"})
ASKS = frozenset({"input-required", "auth-required"})
DEPTH_MAX = 90


class NotA2A(Exception):
    """The agent's answer is not one of A2A."""


@dataclass(frozen=True)
class Endpoint:
    """Where and how an agent is spoken to, as its card says.

    ``protocols``: to be tried in turn.
    """

    url: str
    protocols: Sequence[str] = (NEW, OLD)
    is_streaming: bool = True
    takes_checkpoint: bool = False
    pushes: bool = False


@dataclass(frozen=True)
class Said:
    """What an agent said: a bare message (no task), or how its task stands.

    States are those of 0.3. ``parts`` and ``artifacts`` are in the form of 1.0.
    """

    task_id: str = ""
    context_id: str = ""
    state: str = ""
    text: str = ""
    parts: Sequence[Mapping[str, Any]] = ()
    artifacts: Sequence[Mapping[str, Any]] = field(default_factory=list)

    @property
    def is_message(self) -> bool:
        """Whether it is the final answer of an agent without tasks."""
        return not self.task_id and not self.state

    @property
    def has_stopped(self) -> bool:
        """Whether nothing more comes without being asked."""
        return self.is_message or self.state in DONE or self.state in ASKS


def endpoint(agent_url: str, card: Mapping[str, Any] | None) -> Endpoint:
    """Of the interfaces on a card: JSON-RPC, 1.0 before 0.3, on the agent's own host.

    A card may name any host; only the agent's own gets what is meant for the agent.
    """
    if not card:
        return Endpoint(agent_url)
    able = card.get("capabilities") or {}
    streaming = bool(able.get("streaming")) if isinstance(able, Mapping) else False
    named = able.get("extensions") or [] if isinstance(able, Mapping) else []
    takes = any(isinstance(one, Mapping) and one.get("uri") == CHECKPOINT for one in named)
    pushes = bool(able.get("pushNotifications")) if isinstance(able, Mapping) else False
    found: dict[str, str] = {}
    for url, binding, version in _interfaces(card):
        protocol = NEW if version.startswith("1.") else OLD if version.startswith("0.") else ""
        if binding == "JSONRPC" and protocol and _is_same_host(url, agent_url):
            found.setdefault(protocol, url)
    if not found:
        return Endpoint(agent_url, (NEW, OLD), streaming, takes, pushes)
    first = NEW if NEW in found else OLD
    same = tuple(one for one in (NEW, OLD) if found.get(one) == found[first])
    return Endpoint(found[first], same, streaming, takes, pushes)


def _interfaces(card: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for one in card.get("supportedInterfaces") or card.get("supported_interfaces") or []:
        if isinstance(one, Mapping):
            binding = one.get("protocolBinding") or one.get("protocol_binding")
            version = one.get("protocolVersion") or one.get("protocol_version")
            rows.append((str(one.get("url", "")), str(binding), str(version or "1.0")))
    version = str(card.get("protocolVersion") or "0.3")
    if card.get("url"):
        binding = str(card.get("preferredTransport") or "JSONRPC")
        rows.append((str(card["url"]), binding, version))
    for one in card.get("additionalInterfaces") or []:
        if isinstance(one, Mapping):
            rows.append((str(one.get("url", "")), str(one.get("transport")), version))
    return rows


def _is_same_host(url: str, agent_url: str) -> bool:
    try:
        one, other = urlsplit(url), urlsplit(agent_url)
        return (one.scheme, one.hostname, one.port) == (other.scheme, other.hostname, other.port)
    except ValueError:
        return False


def message(
    protocol: str,
    message_id: str,
    text: str,
    more_parts: Sequence[Mapping[str, Any]] = (),
    context_id: str = "",
    task_id: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A message to the agent; ``more_parts`` (form of 1.0) come behind the text."""
    is_old = protocol == OLD
    parts = [{"text": text}, *more_parts]
    shown: dict[str, Any] = {
        **({"kind": "message", "role": "user"} if is_old else {"role": "ROLE_USER"}),
        "messageId": message_id,
        "parts": [_old_part(part) for part in parts] if is_old else parts,
    }
    if context_id:
        shown["contextId"] = context_id
    if task_id:
        shown["taskId"] = task_id
    return shown | ({"metadata": dict(metadata)} if metadata else {})


def send_params(
    protocol: str, shown: Mapping[str, Any], push: Invitation | None = None
) -> dict[str, Any]:
    """Parameters of a send that is to be answered at once; ``push``: where the task's changes may
    be pushed. An answer to a question replaces what its task's first message said of that."""
    is_old = protocol == OLD
    wanted: dict[str, Any] = {"blocking": False} if is_old else {"returnImmediately": True}
    if push is not None:
        name = "pushNotificationConfig" if is_old else "taskPushNotificationConfig"
        wanted[name] = {"id": PUSH_ID, "url": push.url, "token": push.secret}
    return {"message": shown, "configuration": wanted}


def _old_part(part: Mapping[str, Any]) -> dict[str, Any]:
    rest = {"metadata": part["metadata"]} if part.get("metadata") else {}
    if "text" in part:
        return {"kind": "text", "text": part["text"], **rest}
    if "data" in part:
        data = part["data"] if isinstance(part["data"], dict) else {"value": part["data"]}
        return {"kind": "data", "data": data, **rest}
    file = {"bytes": part["raw"]} if "raw" in part else {"uri": part.get("url", "")}
    for ours, theirs in (("mediaType", "mimeType"), ("filename", "name")):
        if part.get(ours):
            file[theirs] = part[ours]
    return {"kind": "file", "file": file, **rest}


def new_part(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part in the form of 1.0, whichever it came in."""
    shown = {name: value for name, value in part.items() if name not in ("kind", "type", "file")}
    if isinstance(file := part.get("file"), Mapping):
        shown |= {"raw": file["bytes"]} if "bytes" in file else {"url": file.get("uri", "")}
        shown |= {"mediaType": file["mimeType"]} if file.get("mimeType") else {}
        shown |= {"filename": file["name"]} if file.get("name") else {}
    return shown


def said(result: Any) -> Said:
    """What a result, or an event of a stream, says; of either version.

    Raises:
        NotA2A.
    """
    if not isinstance(result, Mapping):
        raise NotA2A("the result is not an object")
    for name in ("task", "message", "statusUpdate", "artifactUpdate"):
        if isinstance(result.get(name), Mapping) and "kind" not in result and "id" not in result:
            return said({**result[name], "kind": _KINDS[name]})
    kind = result.get("kind")
    if kind == "artifact-update":
        return Said(str(result.get("taskId", "")), state="working")
    if kind == "task" or (kind is None and "id" in result and "status" in result):
        return _task(result, str(result.get("id") or ""))
    if kind == "status-update":
        return _task(result, str(result.get("taskId", "")))
    if "parts" in result:
        parts = _parts(result["parts"])
        return Said(context_id=str(result.get("contextId") or ""), text=_text(parts), parts=parts)
    raise NotA2A("neither a task nor a message")


_KINDS = {
    "task": "task",
    "message": "message",
    "statusUpdate": "status-update",
    "artifactUpdate": "artifact-update",
}


def _task(result: Mapping[str, Any], task_id: str) -> Said:
    status = result.get("status")
    if not isinstance(status, Mapping) or not task_id:
        raise NotA2A("a task without id or status")
    state = str(status.get("state", "")).removeprefix("TASK_STATE_").lower().replace("_", "-")
    words = status.get("message")
    parts = _parts(words.get("parts") or []) if isinstance(words, Mapping) else []
    made = [_artifact(one) for one in result.get("artifacts") or []]
    text = _text(parts)
    if state == "completed" and made:
        text = "\n".join(filter(None, (_text(one.get("parts") or []) for one in made))) or text
    return Said(task_id, str(result.get("contextId") or ""), state or "working", text, parts, made)


def _parts(given: Any) -> list[dict[str, Any]]:
    return list(_artifact({"artifactId": "x", "parts": given}).get("parts", []))


def _artifact(given: Any) -> dict[str, Any]:
    try:
        parts = [new_part(part) for part in given.get("parts") or []]
        read = ParseDict(
            {**given, "parts": parts},
            pb.Artifact(),
            ignore_unknown_fields=True,
            max_recursion_depth=DEPTH_MAX,
        )
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise NotA2A(f"parts: {str(error)[:200]}") from error
    shown: dict[str, Any] = MessageToDict(read)
    return shown


def _text(parts: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part.get("text"))
