"""Events: appended by the scripts with the change they tell of, read back from the stream."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.core import keys
from app.core.clock import rfc3339
from app.core.platform import Platform

NAMES: Mapping[str, str] = {
    "WORKSPACE_HEARTBEAT": "a heartbeat came (published only, never stored)",
    "WORKSPACE_ONLINE": "the workspace takes work",
    "WORKSPACE_OFFLINE": "no heartbeat within the TTL: capacity unknown, no new claims",
    "WORKSPACE_DEGRADED": "error rate at or above 0.5, or the runtime says it is wedged",
    "WORKSPACE_CHANGED": "created, paused, resumed, removed or configured",
    "TASK_UPDATED": "a turn was canceled, or asked to be",
    "ACTIVITY_LOGGED": "the agent or the platform wrote to the activity log",
    "AGENT_MESSAGE": "the agent's answer, or its word to the user",
    "A2A_RESPONSE": "an answer to another agent's message",
    "CRON_QUEUED": "a fire was made and waits in its lane",
    "CRON_EXECUTED": "a fire's turn ended, however it ended",
    "CRON_SKIPPED": "a fire was not queued, or did not run; the mechanism says why",
    "CRON_MISSED": "a fire was due longer ago than the catch-up window",
    "MESSAGE_QUEUED": "a turn was accepted",
    "TURN_CLAIMED": "a session was opened for the turn",
    "TURN_DELIVERED": "the agent has been handed its turn",
    "SESSION_STARTED": "the agent has begun",
    "TURN_PROGRESS": "the work advanced",
    "TURN_KEEPALIVE": "a tool still runs",
    "TURN_STALLED": "no progress for stall_after_s while heartbeats go on",
    "SESSION_CHECKPOINT_REQUESTED": "the session was asked to save and exit",
    "SESSION_CANCEL_REQUESTED": "the session was asked to stop at once",
    "SESSION_CHECKPOINTED": "the session left a note",
    "SESSION_ENDED": "the session ended and its slot is free; the mechanism says what ended it",
    "TURN_RETURNED": "the session was lost; the turn is back in its lane",
    "TURN_EXPIRED": "the turn waited longer than its time to live",
    "TURN_COALESCED": "a newer fire runs in this one's place",
    "TURN_DEAD": "attempts used up: a dead letter, kept and replayable",
    "TURN_REPLAYED": "an ended turn was queued again, as the new turn that is named",
    "TURN_DISCARDED": "an operator gave a dead letter up",
    "POLICY_CHANGED": "a prompt or a memory changed",
    "POLICY_SEEN": "a session has recalled what was committed after it began",
    "OPERATOR_ACTED": "a person changed something through the API or the pages; who, and what",
    "ALERT_OPENED": "something needs a person's attention, and has for a while",
    "ALERT_RECOVERED": "it no longer does, and has not for a while",
    "WRITE_FENCED": "a write under a stale fence was refused",
    "LIMIT_HIT": "a limit acted; the mechanism, limit, setting and measured value are named",
}


@dataclass(frozen=True)
class Event:
    """One event; ``id`` is its place in the workspace's stream and its server time."""

    id: str
    event: str
    workspace_id: str
    payload: Mapping[str, Any]
    turn_id: str | None = None
    session_id: str | None = None
    fence: int | None = None
    mechanism: str | None = None

    def envelope(self) -> dict[str, Any]:
        """As it goes over the wire: the field platform's four, and ours beside them."""
        whole: dict[str, Any] = {
            "event": self.event,
            "workspace_id": (
                None if self.workspace_id == keys.PLATFORM_PLACE else self.workspace_id
            ),
            "timestamp": rfc3339(int(self.id.split("-")[0])) if self.id else None,
            "payload": _on_the_wire(self.payload),
            "id": self.id,
            "turn_id": self.turn_id,
            "session_id": self.session_id,
            "fence": self.fence,
        }
        if self.mechanism:
            whole["mechanism"] = self.mechanism
        return whole


def wire_name(name: str) -> str:
    """A payload field's name over the wire: milliseconds become seconds there."""
    return name.removesuffix("_ms") + "_s" if name.endswith("_ms") else name


def _on_the_wire(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload with moments as RFC 3339 and spans in seconds, as everywhere over HTTP."""
    shown: dict[str, Any] = {}
    for name, value in payload.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and name.endswith("_at"):
            shown[name] = rfc3339(value)
        elif name == "coalesced":
            shown[name] = [rfc3339(at) for at in value]
        elif is_number and name.endswith("_ms"):
            shown[wire_name(name)] = value / 1000
        else:
            shown[name] = value
    return shown


def parse(workspace_id: str, entries: Iterable[tuple[str, Mapping[str, str]]]) -> list[Event]:
    """Events from stream entries."""
    return [
        Event(
            id=entry_id,
            event=fields["event"],
            workspace_id=workspace_id,
            payload=json.loads(fields.get("payload", "{}")),
            turn_id=fields.get("turn_id"),
            session_id=fields.get("session_id"),
            fence=int(fields["fence"]) if "fence" in fields else None,
            mechanism=fields.get("mechanism"),
        )
        for entry_id, fields in entries
    ]


def after(platform: Platform, workspace_id: str, event_id: str, limit: int) -> list[Event]:
    """The events that came after ``event_id`` (exclusive), oldest first."""
    key = keys.of(workspace_id)["events"]
    return parse(workspace_id, platform.clients.data.xrange(key, f"({event_id}", "+", count=limit))


def latest(platform: Platform, workspace_id: str, limit: int, before: str = "+") -> list[Event]:
    """The newest events, newest first."""
    key = keys.of(workspace_id)["events"]
    return parse(workspace_id, platform.clients.data.xrevrange(key, before, "-", count=limit))


def last_id(platform: Platform, workspace_id: str) -> str:
    """Where the stream ends now; ``0-0`` while it is empty."""
    newest = platform.clients.data.xrevrange(keys.of(workspace_id)["events"], count=1)
    return str(newest[0][0]) if newest else "0-0"


@dataclass(frozen=True)
class Cut:
    """Events were trimmed: the oldest that is left, and how many there ever were."""

    first_id: str
    appended_count: int


def first_after_cut(platform: Platform, workspace_id: str, event_id: str) -> Cut | None:
    """Where the stored events begin, if some after ``event_id`` were trimmed."""
    own = keys.of(workspace_id)
    pipe = platform.clients.data.pipeline(transaction=False)
    pipe.xrange(own["events"], count=1)
    pipe.xlen(own["events"])
    pipe.hvals(own["stats"])
    oldest, kept_count, appended_counts = pipe.execute()
    if not oldest or order(oldest[0][0]) <= order(event_id):
        return None
    appended_count = sum(map(int, appended_counts))
    return Cut(str(oldest[0][0]), appended_count) if appended_count > kept_count else None


def order(event_id: str) -> tuple[int, int]:
    """An event id as something that compares in stream order."""
    at_ms, _, number = event_id.partition("-")
    return int(at_ms), int(number or 0)


def append(
    platform: Platform,
    workspace_id: str,
    event: str,
    payload: Mapping[str, Any],
    mechanism: str = "",
    turn_id: str = "",
    session_id: str = "",
) -> str:
    """Append an event that changes no state. Returns its id."""
    reply = platform.run(
        "append",
        workspace_id,
        client=platform.clients.once,
        event=event,
        payload=json.dumps(payload, ensure_ascii=False),
        mechanism=mechanism,
        turn_id=turn_id,
        session_id=session_id,
    )
    return str(reply[1])
