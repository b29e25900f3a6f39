"""Heartbeats: what the agent says of itself, and what follows for the workspace's capacity."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core import doorbell
from app.core.platform import Platform

UNSET: Any = object()


@dataclass(frozen=True)
class Beat:
    """One heartbeat; a field left None was not said and changes nothing.

    ``sessions`` names the sessions of ours that the agent runs and whatever else it works on;
    without it ``active_tasks`` counts them. ``idle_timeout_s``: a number overrides the
    workspace's idle limit, None clears the override, UNSET leaves it.
    """

    seq: int | None = None
    instance: str = ""
    active_tasks: int | None = None
    max_concurrent: int | None = None
    sessions: Sequence[str] | None = None
    error_rate: float | None = None
    runtime_state: str | None = None
    current_task: str | None = None
    idle_timeout_s: Any = field(default=UNSET)


@dataclass(frozen=True)
class BeatAnswer:
    """``accepted`` is False for a beat older than the last one."""

    accepted: bool
    status: str
    depth: int
    directives: list[Mapping[str, Any]]


def heartbeat(platform: Platform, workspace_id: str, beat: Beat) -> BeatAnswer:
    """Take a heartbeat; rings at once when there is room and something waits.

    Raises:
        WorkspaceNotFound, WorkspaceRemoved: a heartbeat resurrects neither.
    """
    idle = beat.idle_timeout_s
    reply = platform.run(
        "heartbeat",
        workspace_id,
        seq=beat.seq,
        instance=beat.instance,
        active_tasks=beat.active_tasks,
        max_concurrent=beat.max_concurrent,
        sessions=None if beat.sessions is None else json.dumps(list(beat.sessions)),
        error_rate=beat.error_rate,
        runtime_state={"": "well", None: ""}.get(beat.runtime_state, beat.runtime_state),
        idle_timeout="" if idle is UNSET else "null" if idle is None else idle,
        current_task=None if beat.current_task is None else json.dumps(beat.current_task),
    )
    outcome, status, depth, runnable, look = reply[:5]
    if look:
        doorbell.watch(platform, workspace_id, 0)
    if runnable and depth:
        doorbell.ring(platform, workspace_id)
    return BeatAnswer(outcome == "ok", status, depth, [json.loads(item) for item in reply[5:]])


def mark_late(platform: Platform, workspace_id: str) -> bool:
    """Mark the workspace degraded if its last heartbeat is too old. Returns whether it was."""
    return bool(platform.run("late", workspace_id)[0] == "late")


def mark_offline(platform: Platform, workspace_id: str) -> bool:
    """Mark the workspace offline if its capacity key has expired. Returns whether it was marked."""
    return bool(platform.run("offline", workspace_id)[0] == "offline")
