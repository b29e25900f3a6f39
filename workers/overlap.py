"""What a waiting fire makes of a running session of its own schedule, by the overlap policy.

Pure: a session, the policies of the fires that wait behind it and a time are arguments, a step is
the answer. The reaper takes it; it works from stored facts, so it may come late, twice or never.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.core.records import Session

ENDS_OTHER = ("terminate_other", "cancel_other")  # the harder first


@dataclass(frozen=True)
class Step:
    """What to do with the session now; ``policy`` asked for it, ``count`` fires wait."""

    kind: Literal["checkpoint", "cancel", "terminate"]
    policy: str
    count: int


def step(session: Session, waiting: Mapping[str, int], now_ms: int) -> Step | None:
    """The step due at ``now_ms`` (server time), if any.

    ``waiting``: overlap policy -> never claimed fires of the session's schedule under it. A
    checkpoint that somebody else asked for counts as asked; its deadline is not extended, and a
    cancel follows it. Whatever cancel was asked for ends by its own clock.
    """
    policy = next((name for name in ENDS_OTHER if waiting.get(name)), None)
    if policy is None:
        return None
    count = waiting[policy]
    if policy == "terminate_other":
        return Step("terminate", policy, count)
    if session.cancel_asked_at is not None:
        return None
    if session.checkpoint_asked_at is None:
        return Step("checkpoint", policy, count)
    is_over = session.checkpoint_by is not None and session.checkpoint_by <= now_ms
    return Step("cancel", policy, count) if is_over else None


def look_again_at(session: Session, waiting: Mapping[str, int]) -> int | None:
    """When the next step is due, in ms; None: nothing is asked for, or nothing is left to ask."""
    if not waiting.get("cancel_other") or session.cancel_asked_at is not None:
        return None
    return session.checkpoint_by
