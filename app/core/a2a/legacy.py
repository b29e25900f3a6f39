"""A2A 0.3 made of 1.0, and messages of 0.3 made into 1.0. Pure.

Written out, and not taken from the protocol's library: a task costs 3 µs here and 116 there, where
it has to become the library's own object first. The tests hold both against each other.
"""

from collections.abc import Mapping
from typing import Any

COMPAT = "data_part_compat"  # the library's own mark of data that is no object


def _state(name: str) -> str:
    return name.removeprefix("TASK_STATE_").lower().replace("_", "-")


def part_down(given: Mapping[str, Any]) -> dict[str, Any]:
    """A part as 0.3 has it: of a kind of its own."""
    metadata = dict(given.get("metadata") or {})
    shown: dict[str, Any]
    if "text" in given:
        shown = {"kind": "text", "text": given["text"]}
    elif "data" in given:
        data = given["data"]
        if not isinstance(data, dict):
            data, metadata = {"value": data}, {**metadata, COMPAT: True}
        shown = {"kind": "data", "data": data}
    else:
        file = {"bytes": given["raw"]} if "raw" in given else {"uri": given.get("url", "")}
        names = {"mimeType": given.get("mediaType"), "name": given.get("filename")}
        shown = {"kind": "file", "file": file | {k: v for k, v in names.items() if v}}
    return shown | ({"metadata": metadata} if metadata else {})


def part_up(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """A part of 0.3 as 1.0 has it; None where it holds nothing that 1.0 knows."""
    metadata = dict(given["metadata"]) if isinstance(given.get("metadata"), dict) else {}
    file, data = given.get("file"), given.get("data")
    shown: dict[str, Any]
    if isinstance(given.get("text"), str):
        shown = {"text": given["text"]}
    elif isinstance(data, dict):
        is_wrapped = metadata.pop(COMPAT, False) and "value" in data
        shown = {"data": data["value"] if is_wrapped else data}
    elif isinstance(file, dict) and isinstance(file.get("bytes", file.get("uri")), str):
        shown = {"raw": file["bytes"]} if "bytes" in file else {"url": file["uri"]}
        names = {"mediaType": file.get("mimeType"), "filename": file.get("name")}
        shown |= {name: text for name, text in names.items() if isinstance(text, str) and text}
    else:
        return None
    return shown | ({"metadata": metadata} if metadata else {})


def message_up(given: Mapping[str, Any]) -> dict[str, Any]:
    """A message of 0.3, or of the short form that checks little, as 1.0 has it."""
    raw = given.get("parts")
    found = [part_up(one) for one in raw or () if isinstance(one, dict)]
    shown: dict[str, Any] = {
        "role": "ROLE_AGENT" if given.get("role") == "agent" else "ROLE_USER",
        "parts": [one for one in found if one],
    }
    if isinstance(given.get("messageId"), str):
        shown["messageId"] = given["messageId"]
    if isinstance(given.get("metadata"), dict):
        shown["metadata"] = given["metadata"]
    for name in ("extensions", "referenceTaskIds"):
        texts = given.get(name)
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            shown[name] = texts
    return shown


def message(given: Mapping[str, Any]) -> dict[str, Any]:
    """A message as 0.3 has it."""
    role = "agent" if given["role"] == "ROLE_AGENT" else "user"
    shown = {**given, "kind": "message", "role": role}
    return shown | {"parts": [part_down(one) for one in given["parts"]]}


def status(given: Mapping[str, Any]) -> dict[str, Any]:
    """A status as 0.3 has it."""
    shown = {**given, "state": _state(given["state"])}
    return shown | ({"message": message(given["message"])} if "message" in given else {})


def artifact(given: Mapping[str, Any]) -> dict[str, Any]:
    """An artifact as 0.3 has it."""
    return {**given, "parts": [part_down(one) for one in given["parts"]]}


def task(given: Mapping[str, Any]) -> dict[str, Any]:
    """A task as 0.3 has it."""
    shown = {**given, "kind": "task", "status": status(given["status"])}
    if "history" in given:
        shown["history"] = [message(one) for one in given["history"]]
    if "artifacts" in given:
        shown["artifacts"] = [artifact(one) for one in given["artifacts"]]
    return shown


def streamed(given: Mapping[str, Any], is_last: bool) -> dict[str, Any]:
    """One event of a stream as 0.3 has it; of 1.0 it is wrapped in a member that names its kind."""
    ((name, event),) = given.items()
    if name == "task":
        return task(event)
    if name == "message":
        return message(event)
    if name == "artifactUpdate":
        shown = {**event, "kind": "artifact-update"}
        return shown | {"artifact": artifact(event["artifact"])}
    shown = {**event, "kind": "status-update", "status": status(event["status"])}
    return shown | {"final": is_last}


def push_config(given: Mapping[str, Any]) -> dict[str, Any]:
    """A push configuration as 0.3 has it."""
    inner = {name: given[name] for name in ("id", "url", "token") if given.get(name)}
    if found := given.get("authentication"):
        schemes = [found["scheme"]] if found.get("scheme") else []
        inner["authentication"] = {"schemes": schemes} | (
            {"credentials": found["credentials"]} if found.get("credentials") else {}
        )
    return {"taskId": given["taskId"], "pushNotificationConfig": inner}
