"""A look at what running sessions work under: one whose policy has changed is asked to wrap up.

Only where its schedule says ``on_policy_change: checkpoint``; once, gently, and never for what
the session wrote itself. It acts on stored facts, so two looks ask once.
"""

from collections.abc import Sequence

from app.core import policy, schedules
from app.core.platform import Platform
from app.core.policy import Freshness
from app.core.records import Session
from app.core.sessions import Ask
from app.core.workspaces import Workspace

START_LOOK_MS = 1000


def due(platform: Platform, found: Workspace, live: Sequence[Session]) -> dict[str, Freshness]:
    """The sessions that are stale and not yet asked anything, of schedules that want them asked."""
    open_ones = {one.id for one in live if one.schedule_id and not _is_asked(one)}
    if not open_ones or not _wants_any(platform, found.id, live):
        return {}
    rows = policy.read(platform, found)
    return {
        row.session_id: row
        for row in rows
        if row.session_id in open_ones
        and row.stale_since is not None
        and row.on_policy_change == "checkpoint"
    }


def _wants_any(platform: Platform, workspace_id: str, live: Sequence[Session]) -> bool:
    ids = sorted({one.schedule_id for one in live if one.schedule_id})
    found = schedules.get_many(platform, workspace_id, ids)
    return any(one.on_policy_change == "checkpoint" for one in found)


def _is_asked(session: Session) -> bool:
    return session.checkpoint_asked_at is not None or session.cancel_asked_at is not None


def request(row: Freshness, now_ms: int, grace_s: float) -> Ask:
    """What a stale session is asked."""
    return Ask(
        kind="checkpoint",
        mechanism="policy_changed",
        reason=f"its policy has changed: {row.sentence}",
        within_s=grace_s,
        setting="schedule.on_policy_change",
        measured_ms=max(0, now_ms - (row.stale_since or now_ms)),
    )
