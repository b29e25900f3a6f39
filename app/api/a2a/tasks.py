"""What is asked of tasks: one, many, cancel, and where their changes are pushed."""

import base64
import binascii
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from app.api import ownership
from app.api.a2a import sending
from app.api.a2a.faults import Fault
from app.api.operation import platform, token
from app.core import changed, push, turns
from app.core.a2a import shapes
from app.core.changed import Place
from app.core.records import Turn
from app.core.states import TERMINAL

PAGE_SIZE, PAGE_SIZE_MAX = 50, 100


def get(workspace_id: str, turn_id: str, history_length: int | None) -> dict[str, Any]:
    """One task as it is now."""
    if history_length is not None and history_length < 0:
        raise Fault("INVALID_PARAMS", "historyLength: 0 or more")
    turn = ownership.turn_of(workspace_id, turn_id)
    body, result = turns.read_parts(platform(), workspace_id, turn_id)
    return shapes.task(turn, body, result, history_length=history_length)


def cancel(workspace_id: str, turn_id: str) -> dict[str, Any]:
    """Cancel a task; one that an agent has is asked to stop, and answered as it then is.

    Raises:
        Fault: -32002, it has ended.
    """
    turn = ownership.turn_of(workspace_id, turn_id)
    if turn.state in TERMINAL:
        raise Fault("TASK_NOT_CANCELABLE", f"the task has ended: {turn.state}")
    wait_s = platform().settings.message_wait_s
    with ExitStack() as stack:
        waiter = (
            stack.enter_context(sending.hub().waiting(workspace_id, token().owner))
            if wait_s
            else None
        )
        outcome = turns.cancel(platform(), workspace_id, turn_id, "canceled by an A2A client")
        if outcome == "canceling" and waiter:
            sending.wait(waiter, workspace_id, turn_id, sending.has_stopped, wait_s)
    if outcome not in ("canceled", "canceling"):
        raise Fault("TASK_NOT_CANCELABLE", f"the task has ended: {outcome}")
    return get(workspace_id, turn_id, None)


def listed(workspace_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of tasks, the one that changed last first."""
    size = params.get("pageSize", PAGE_SIZE)
    if not 1 <= size <= PAGE_SIZE_MAX:
        raise Fault("INVALID_PARAMS", f"pageSize: 1 to {PAGE_SIZE_MAX}")
    length = params.get("historyLength")
    if length is not None and length < 0:
        raise Fault("INVALID_PARAMS", "historyLength: 0 or more")
    since_ms = _ms(params["statusTimestampAfter"]) if "statusTimestampAfter" in params else None
    wanted = _wanted(workspace_id, params)
    after = _place(params["pageToken"]) if params.get("pageToken") else None
    found = changed.page(
        platform(),
        workspace_id,
        size,
        after=after,
        since_ms=since_ms,
        wanted=wanted or (lambda _: True),
    )
    shown = []
    for turn in found.turns:
        body, result = turns.read_parts(platform(), workspace_id, turn.id)
        with_artifacts = bool(params.get("includeArtifacts"))
        shown.append(
            shapes.task(turn, body, result, history_length=length, has_artifacts=with_artifacts)
        )
    if state := params.get("status"):  # what came back tells some states apart
        shown = [one for one in shown if one["status"]["state"] == state]
    return {
        "tasks": shown,
        "nextPageToken": _text(found.after) if found.after else "",
        "pageSize": size,
        "totalSize": changed.count(platform(), workspace_id, since_ms, wanted),
    }


def _wanted(workspace_id: str, params: Mapping[str, Any]) -> Callable[[Turn], bool] | None:
    context_id, state = params.get("contextId"), params.get("status")
    is_limited = not ownership.sees_all(workspace_id)
    if not context_id and not state and not is_limited:
        return None
    caller = token().principal
    states = shapes.turn_states(state) if state else None

    def check(turn: Turn) -> bool:
        if is_limited and turn.principal != caller:
            return False
        is_there = not context_id or shapes.context_of(turn) == context_id
        return is_there and (states is None or turn.state in states)

    return check


def _ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise Fault("INVALID_PARAMS", "statusTimestampAfter: a time of RFC 3339") from error
    return round(moment.timestamp() * 1000)


def _text(place: Place) -> str:
    return base64.urlsafe_b64encode(f"{place.at_ms} {place.turn_id}".encode()).decode()


def _place(text: str) -> Place:
    try:
        at_ms, turn_id = base64.urlsafe_b64decode(text.encode()).decode().split(" ", 1)
        return Place(int(at_ms), turn_id)
    except (ValueError, binascii.Error) as error:
        raise Fault("INVALID_PARAMS", "pageToken: not one of ours") from error


# Push configurations.


def put_push(workspace_id: str, params: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """Write one; one of the same id is replaced."""
    turn = ownership.turn_of(workspace_id, params.get("taskId", ""))
    config = push_config(params, protocol, turn.id)
    return shown_push(push.put(platform(), workspace_id, config))


def push_config(params: Mapping[str, Any], protocol: str, turn_id: str = "") -> push.Config:
    """A configuration from its 1.0 form. One that comes with a message and has no id is named by
    what it says: sent with each answer of an exchange, it is one and the same."""
    config_id = params.get("id", "")
    if not config_id and not turn_id:
        config_id = push.content_id(params)
    return push.made(
        turn_id,
        params.get("url", ""),
        protocol,
        config_id=config_id,
        token=params.get("token", ""),
        authentication=params.get("authentication"),
        principal=token().principal,
    )


def get_push(workspace_id: str, turn_id: str, config_id: str) -> dict[str, Any]:
    """One configuration; without an id the first."""
    turn = ownership.turn_of(workspace_id, turn_id)
    if not config_id and turn.push:
        config_id = turn.push[0]
    return shown_push(push.get(platform(), workspace_id, turn_id, config_id))


def list_push(workspace_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Every configuration of a task: few, so always one page."""
    turn = ownership.turn_of(workspace_id, params.get("taskId", ""))
    found = push.of_turn(platform(), workspace_id, turn)
    return {"configs": [shown_push(one) for one in found], "nextPageToken": ""}


def remove_push(workspace_id: str, turn_id: str, config_id: str) -> None:
    """Remove one; that it is gone already is no error."""
    turn = ownership.turn_of(workspace_id, turn_id)
    push.remove(platform(), workspace_id, turn.id, config_id)


def shown_push(config: push.Config) -> dict[str, Any]:
    """A configuration in the form of 1.0; its secrets only for who wrote it."""
    shown: dict[str, Any] = {"id": config.id, "taskId": config.task_id, "url": config.url}
    if config.principal != token().principal:
        return shown
    if config.token:
        shown["token"] = config.token
    if config.authentication:
        shown["authentication"] = dict(config.authentication)
    return shown
