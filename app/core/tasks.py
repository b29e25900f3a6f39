"""A turn as the Task of an A2A client, for what the workers send: A2A's words, protobuf-free.

Source: A2A protocol 0.3 and 1.0 (JSON form).
"""

from collections.abc import Mapping
from typing import Any

from app.core.clock import rfc3339
from app.core.records import Turn

# State of a turn -> task state of 0.3; 1.0 writes it as TASK_STATE_…. What is missing has failed.
STATES = {
    "queued": "submitted",
    "claimed": "submitted",
    "delivered": "submitted",
    "running": "working",
    "checkpointing": "working",
    "completed": "completed",
    "yielded": "completed",
    "input_required": "input-required",
    "canceled": "canceled",
    "coalesced": "canceled",
    "skipped": "rejected",
}


def task_json(
    turn: Turn, body: Mapping[str, Any] | None, result: Mapping[str, Any] | None, protocol: str
) -> dict[str, Any]:
    """A Task in the JSON of protocol ``0.3`` or ``1.0``."""
    is_old = protocol == "0.3"
    state = STATES.get(turn.state, "failed")
    context_id = turn.context_id or turn.id
    text = (result or {}).get("text")
    reason = ((result or {}).get("error") or {}).get("message")
    status: dict[str, Any] = {
        "state": state if is_old else f"TASK_STATE_{state.upper().replace('-', '_')}",
        "timestamp": rfc3339(turn.state_at),
    }

    def part(words: Any) -> dict[str, Any]:
        return {"kind": "text", "text": str(words)} if is_old else {"text": str(words)}

    if text or reason:
        status["message"] = {
            **({"kind": "message", "role": "agent"} if is_old else {"role": "ROLE_AGENT"}),
            "messageId": f"{turn.id}-answer",
            "taskId": turn.id,
            "contextId": context_id,
            "parts": [part(reason or text)],
        }
    shown: dict[str, Any] = {
        **({"kind": "task"} if is_old else {}),
        "id": turn.id,
        "contextId": context_id,
        "status": status,
    }
    if text:
        artifact = {"artifactId": f"{turn.id}-result", "name": "result", "parts": [part(text)]}
        shown["artifacts"] = [artifact]
    return shown


def push_json(task: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """What a push notification carries: the Task itself (0.3), a StreamResponse (1.0)."""
    return dict(task) if protocol == "0.3" else {"task": task}
