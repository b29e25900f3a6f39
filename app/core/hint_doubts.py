"""What the control side ought to know, or to have done, of a workspace; the doubts are pure.

Hints lag behind the truth and the sweep repairs them, so what stands here is no violation yet: it
becomes one when the same doubt stands at a later look (``invariant_reports``). Therefore each
subject names what would have moved meanwhile: a due time, a session, the fence counter.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.core import agents, cron, keys
from app.core.invariants import Snapshot, Violation
from app.core.platform import Platform


@dataclass(frozen=True)
class Hints:
    """What the control side says of a workspace: times in ms, None where it says nothing."""

    is_rung: bool
    look_at: float | None
    is_taken: bool
    due: Mapping[str, float | None]
    agent_at: float | None = None


def read(platform: Platform, stored: Snapshot) -> Hints:
    """The hints on a snapshot's workspace; a ring that was taken counts as none."""
    members = {key: str(keys.DueMember(stored.workspace_id, key)) for key in stored.due}
    pipe = platform.clients.control.pipeline(transaction=False)
    for name in (keys.READY, keys.DEADLINES, keys.DEADLINES_TAKEN, keys.AGENTS):
        pipe.zscore(name, stored.workspace_id)
    for member in members.values():
        pipe.zscore(keys.DUE, member)
    ring, look_at, taken, agent_at, *due = pipe.execute()
    hints = dict(zip(members, due, strict=True))
    return Hints(ring is not None, look_at, taken is not None, hints, agent_at)


def doubts(stored: Snapshot, hints: Hints) -> list[Violation]:
    """What is missing, too late or overdue by the hints."""
    if stored.workspace.get("status") == "removed":
        return []
    found = [*_unrung(stored, hints), *_unwatched(stored, hints), *_unserved(stored, hints)]
    return [*found, *_undue(stored, hints)]


def _unrung(stored: Snapshot, hints: Hints) -> Iterator[Violation]:
    workspace = stored.workspace
    waiting = stored.fresh_count + stored.sizes["returned"]
    has_room = bool(stored.capacity) and stored.sizes["live"] + stored.foreign < stored.slots
    is_held = "paused_at" in workspace or int(workspace.get("hold_until", 0)) > stored.at_ms
    if waiting and has_room and not is_held and not hints.is_rung:
        text = f"{waiting} turns wait, there is room, and nobody was rung for"
        yield Violation("waiting_unrung", f"epoch {workspace.get('epoch', 0)}", text)


def _unwatched(stored: Snapshot, hints: Hints) -> Iterator[Violation]:
    for key in stored.sets["live"]:
        ceiling_at = (stored.sessions.get(key) or {}).get("ceiling_at")
        if ceiling_at is not None and ceiling_at < stored.at_ms:
            text = f"session {key} is {stored.at_ms - ceiling_at} ms past its ceiling"
            yield Violation("session_past_ceiling", key, text)
        elif hints.is_taken:
            continue
        elif hints.look_at is None:
            yield Violation("session_unwatched", key, f"no look is planned for session {key}")
        elif ceiling_at is not None and hints.look_at > ceiling_at:
            text = f"the next look is after the ceiling of session {key}"
            yield Violation("session_unwatched", key, text)


def _unserved(stored: Snapshot, hints: Hints) -> Iterator[Violation]:
    for key in stored.sets["live"] if hints.agent_at is None else ():
        if (stored.sessions.get(key) or {}).get("adapter") == agents.A2A:
            text = f"no worker is to look at the agent of session {key}"
            yield Violation("agent_unwatched", key, text)


def _undue(stored: Snapshot, hints: Hints) -> Iterator[Violation]:
    for key, nominal in stored.due.items():
        window_s = (stored.schedules.get(key) or {}).get("window_s", 0)
        made_at = nominal + (cron.jitter_ms(key, window_s) if window_s else 0)
        hint, subject = hints.due[key], f"{key}:{nominal:.0f}"
        if hint is None or hint > made_at:
            text = f"schedule {key} is due at {nominal:.0f}, the scheduler looks at {hint}"
            yield Violation("due_unhinted", subject, text)
        elif made_at < stored.at_ms:
            text = f"the fire {subject} is {stored.at_ms - made_at:.0f} ms late"
            yield Violation("fire_overdue", subject, text)
