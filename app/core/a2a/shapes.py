"""Turns as Tasks, Messages and Artifacts of A2A 1.0; nothing unknown to the protocol gets in.

Everything is built in the form of 1.0; ``legacy`` makes 0.3 of it. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.core.a2a import legacy
from app.core.clock import rfc3339
from app.core.follow_up import exchange
from app.core.records import Turn

SUBMITTED, WORKING = "TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"
COMPLETED, FAILED = "TASK_STATE_COMPLETED", "TASK_STATE_FAILED"
CANCELED, REJECTED = "TASK_STATE_CANCELED", "TASK_STATE_REJECTED"
INPUT_REQUIRED, AUTH_REQUIRED = "TASK_STATE_INPUT_REQUIRED", "TASK_STATE_AUTH_REQUIRED"
ENDED = frozenset({COMPLETED, FAILED, CANCELED, REJECTED})
INTERRUPTED = frozenset({INPUT_REQUIRED, AUTH_REQUIRED})

# failed, force_idled, expired and dead are FAILED.
STATE_OF_TASK = {
    "queued": SUBMITTED,
    "claimed": SUBMITTED,
    "delivered": SUBMITTED,
    "running": WORKING,
    "checkpointing": WORKING,
    "completed": COMPLETED,
    "yielded": COMPLETED,
    "input_required": INPUT_REQUIRED,
    "canceled": CANCELED,
    "coalesced": CANCELED,
    "skipped": REJECTED,
}
PART_MEMBERS = ("text", "raw", "url", "data", "metadata", "filename", "mediaType")
MESSAGE_MEMBERS = ("messageId", "role", "parts", "metadata", "extensions", "referenceTaskIds")
ARTIFACT_MEMBERS = ("artifactId", "name", "description", "parts", "metadata", "extensions")


def turn_states(task_state: str) -> frozenset[str]:
    """The states of turns that may be shown as this state of a task."""
    shown = {state for state, name in STATE_OF_TASK.items() if name == task_state}
    if task_state in (FAILED, REJECTED):
        shown |= {"failed", "force_idled", "expired", "dead"}
    return frozenset(shown | ({"input_required"} if task_state == AUTH_REQUIRED else set()))


def task_state(state: str, result: Mapping[str, Any] | None) -> str:
    """The state of a task; what came back tells rejected from failed, and auth from input."""
    shown = STATE_OF_TASK.get(state, FAILED)
    told = result or {}
    if state == "failed" and (told.get("error") or {}).get("code") == "rejected":
        return REJECTED
    if shown == INPUT_REQUIRED and told.get("interrupt") == "auth_required":
        return AUTH_REQUIRED
    return shown


def context_of(turn: Turn) -> str:
    """The context of a task; a turn of none has one of its own."""
    return turn.context_id or turn.id


def task(
    turn: Turn,
    body: Mapping[str, Any] | None,
    result: Mapping[str, Any] | None,
    *,
    history_length: int | None = None,
    has_artifacts: bool = True,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A turn as a Task; ``facts`` join what its metadata tells of the turn."""
    own = {"state": turn.state, "attempt": turn.attempt, "mechanism": turn.mechanism}
    told = {name: value for name, value in {**own, **(facts or {})}.items() if value is not None}
    shown: dict[str, Any] = {
        "id": turn.id,
        "contextId": context_of(turn),
        "status": status(turn, result),
        "metadata": {"turnkeeper": told},
    }
    said = history(turn, body)
    if history_length is not None:
        said = said[-history_length:] if history_length else []
    if said:
        shown["history"] = said
    made = artifacts(turn, body, result) if has_artifacts else []
    if made:
        shown["artifacts"] = made
    return shown


def pushed(
    turn: Turn, body: Mapping[str, Any] | None, result: Mapping[str, Any] | None, protocol: str
) -> dict[str, Any]:
    """What a push notification carries: a StreamResponse (1.0) or the Task itself (0.3). What was
    said before is left out: it may be large, and its receiver asks for it where it wants it."""
    shown = task(turn, body, result, history_length=0)
    return legacy.task(shown) if protocol == "0.3" else {"task": shown}


def status(turn: Turn, result: Mapping[str, Any] | None) -> dict[str, Any]:
    """The status of a task with what the agent said last."""
    shown: dict[str, Any] = {
        "state": task_state(turn.state, result),
        "timestamp": rfc3339(turn.state_at),
    }
    said = answer_parts(result)
    reason = ((result or {}).get("error") or {}).get("message")
    if reason:
        said = [{"text": str(reason)}]
    if said:
        shown["message"] = agent_message(f"{turn.id}-{turn.attempt}-answer", turn, said)
    return shown


def answer_parts(result: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What the agent answered: its own parts, or its text as one."""
    told = result or {}
    if told.get("parts"):
        return [part(one) for one in told["parts"]]
    return [{"text": str(told["text"])}] if told.get("text") else []


def agent_message(
    message_id: str, turn: Turn, parts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A word of the agent within a task."""
    return {
        "messageId": message_id,
        "taskId": turn.id,
        "contextId": context_of(turn),
        "role": "ROLE_AGENT",
        "parts": list(parts),
    }


def bare_message(turn: Turn, result: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of an agent that answers without a task."""
    shown = agent_message(f"{turn.id}-{turn.attempt}-answer", turn, answer_parts(result))
    del shown["taskId"]
    return shown


def is_bare(turn: Turn, result: Mapping[str, Any] | None) -> bool:
    """Whether the agent's answer is a message and no task."""
    told = result or {}
    is_message = turn.state == "completed" and told.get("answer") == "message"
    return is_message and bool(answer_parts(told))


def artifacts(
    turn: Turn, body: Mapping[str, Any] | None, result: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """What a task has made; an answer that makes nothing else is one itself."""
    told = result or {}
    own = told.get("artifacts") or []
    made = [artifact(one) for one in (*(body or {}).get("artifacts", ()), *own)]
    if not own and turn.state in ("completed", "yielded") and answer_parts(told):
        answer = {"artifactId": f"{turn.id}-result", "name": "result"}
        made.append({**answer, "parts": answer_parts(told)})
    return made


def history(turn: Turn, body: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What was said in a task, oldest first."""
    if not body:
        return []
    said = []
    for at, entry in enumerate(exchange(body)):
        if entry["role"] == "user":
            said.append(_user_message(turn, entry, at))
        elif answer_parts(entry):
            said.append(agent_message(f"{turn.id}-said-{at}", turn, answer_parts(entry)))
    return [one for one in said if one["parts"]]


def _user_message(turn: Turn, entry: Mapping[str, Any], at: int) -> dict[str, Any]:
    given = entry["message"]
    if entry.get("protocol") != "1.0":
        given = legacy.message_up(given)
    shown = {name: given[name] for name in MESSAGE_MEMBERS if given.get(name)}
    return {
        "messageId": f"{turn.id}-asked-{at}",
        "role": "ROLE_USER",
        **shown,
        "parts": [part(one) for one in given.get("parts", ())],
        "taskId": turn.id,
        "contextId": context_of(turn),
    }


def part(given: Mapping[str, Any]) -> dict[str, Any]:
    """A part with nothing in it that the protocol does not know."""
    return {name: given[name] for name in PART_MEMBERS if name in given}


def artifact(given: Mapping[str, Any]) -> dict[str, Any]:
    """An artifact with nothing in it that the protocol does not know."""
    shown = {name: given[name] for name in ARTIFACT_MEMBERS if given.get(name)}
    return {**shown, "parts": [part(one) for one in given["parts"]]}
