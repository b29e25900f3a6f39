"""Why nothing runs, or what everything waits for: one sentence and a reason code.

The same sentence stands in the API, the command line, the UI and the alerts.
"""

from collections import Counter
from dataclasses import dataclass

from app.core import keys, schedules, sessions, workspaces
from app.core.platform import Platform
from app.core.records import Session, Turn

PAGE_COUNT = 200
NAMED_DEPTH_MAX = 1000  # with more waiting turns they are told by lane, not by schedule


UNREACHED = ("backing_off", "the agent could not be reached")
HELD_BY = {
    "busy": ("backing_off", "the agent said that it is busy"),
    "rate_limited": ("rate_limited", "the agent limits its rate"),
    "hold_slots": ("backing_off", "no slot was free to hold the agent's answer"),
}


@dataclass(frozen=True)
class Why:
    """``code``: capacity_full, heartbeat_expired, paused, backing_off, rate_limited,
    draining, overlap, empty or ready."""

    code: str
    sentence: str
    oldest_wait_s: float
    depth: int


def span(seconds: float) -> str:
    """A duration as a person says it: ``2 h 10 min``, ``45 s``."""
    whole = max(0, int(seconds))  # the clock may have been set back since
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest and minutes < 10 else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def explain(platform: Platform, workspace_id: str) -> Why:
    """Read the workspace and say it.

    Raises:
        WorkspaceNotFound.
    """
    workspace = workspaces.get(platform, workspace_id)
    now = platform.now_ms()
    queued = _queued(platform, workspace)
    waiting = queued[0] if queued else None
    wait_s = max(0, now - waiting.accepted_at) / 1000 if waiting else 0.0
    code, because = _reason(platform, workspace, now, waiting)
    if waiting:
        crowd = _crowd(platform, workspace, queued)
        return Why(code, f"Waiting {span(wait_s)}: {because}; {crowd}.", wait_s, workspace.depth)
    return Why(code, f"{because[0].upper()}{because[1:]}.", wait_s, workspace.depth)


def _reason(
    platform: Platform, workspace: workspaces.Workspace, now: int, waiting: Turn | None
) -> tuple[str, str]:
    stored = workspace.stored

    def since(at_ms: str) -> str:
        return span((now - int(at_ms)) / 1000)

    def until(at_ms: int) -> str:
        return span((at_ms - now) / 1000)

    if "paused_at" in stored:
        reason = stored.get("paused_reason") or "no reason given"
        return "paused", f"the workspace is paused since {since(stored['paused_at'])} ({reason})"
    running = sessions.live(platform, workspace.id)
    if waiting is None:
        if running:
            return "empty", "Nothing waits; " + _held(platform, workspace, running[0], now)
        return "empty", "Nothing waits and nothing runs"
    if not workspace.capacity:
        limit = span(platform.settings.heartbeat_ttl_s)
        if "beat_at" not in stored:
            return "heartbeat_expired", "no runtime has ever sent a heartbeat"
        last = since(stored["beat_at"])
        return "heartbeat_expired", f"the last heartbeat came {last} ago (limit {limit})"
    if workspace.capacity.get("max_concurrent") == "0":
        return "draining", "its runtime is stopping or has stopped and offers no slot"
    hold = int(float(stored.get("hold_until", 0)))
    if hold > now:
        code, because = HELD_BY.get(stored.get("hold_by", ""), UNREACHED)
        return code, f"{because}; next try in {until(hold)}"
    if workspace.parked_count == workspace.depth:
        return "overlap", _behind(platform, workspace, running, waiting, now)
    foreign = int(workspace.capacity.get("foreign", 0))
    if workspace.live_count + foreign >= workspace.slots:
        return "capacity_full", _full(platform, workspace, running, foreign, now)
    if waiting.not_before and waiting.not_before > now:
        again = until(waiting.not_before)
        return (
            "backing_off",
            f"its last session was lost ({waiting.mechanism}); next try in {again}",
        )
    return "ready", "a slot is free and the turn is about to be claimed"


def _full(
    platform: Platform,
    workspace: workspaces.Workspace,
    running: list[Session],
    foreign: int,
    now: int,
) -> str:
    own = f"the agent reports {foreign} task{'' if foreign == 1 else 's'} of its own"
    if not running:
        return f"{own} in {workspace.slots} slot{'' if workspace.slots == 1 else 's'}"
    held = f"{workspace.live_count} of {workspace.slots} slots held by "
    held += _held(platform, workspace, running[0], now)
    if len(running) > 1:
        held += f" and {len(running) - 1} more"
    return held + (f", and {own}" if foreign else "")


def _behind(
    platform: Platform,
    workspace: workspaces.Workspace,
    running: list[Session],
    waiting: Turn,
    now: int,
) -> str:
    """Everything that waits waits for a run of its own schedule."""
    own = next((one for one in running if one.schedule_id == waiting.schedule_id), None)
    if own is None:
        return "an earlier fire of its schedule has not ended"
    held = _held(platform, workspace, own, now)
    return f"an earlier fire of its schedule runs in {held}, and its fires do not overlap"


def _held(platform: Platform, workspace: workspaces.Workspace, session: Session, now: int) -> str:
    what = session.origin
    if session.schedule_id:
        what = f"cron {_name(platform, workspace.id, session.schedule_id)}"
    age = span((now - session.claimed_at) / 1000)
    ceiling = span(session.ceiling_ms / 1000) if session.ceiling_ms else ""
    doing = (
        f"running {age}" if session.started_at else f"claimed {age} ago, not begun by its runtime"
    )
    facts = [what, doing, f"ceiling {ceiling}" if ceiling else "no ceiling set"]
    if session.stalled_at:
        facts.append(f"no progress for {span((now - session.progress_at) / 1000)}")
    if session.checkpoint_asked_at:
        asked = span((now - session.checkpoint_asked_at) / 1000)
        facts.append(f"asked to checkpoint {asked} ago")
    return f"session {session.id} ({', '.join(facts)})"


def _crowd(platform: Platform, workspace: workspaces.Workspace, queued: list[Turn]) -> str:
    """What waits: by schedule where only fires wait, else by lane."""
    of = Counter(turn.schedule_id for turn in queued)
    if None not in of and len(of) <= 3 and of.total() == workspace.depth:
        fires = [
            f"{count} fire{'' if count == 1 else 's'} of {_name(platform, workspace.id, str(one))}"
            for one, count in of.most_common()
        ]
        named = " and ".join(part for part in (", ".join(fires[:-1]), fires[-1]) if part)
        return f"{named} wait{'s' if workspace.depth == 1 else ''}"
    lanes = [f"{count} {lane}" for lane, count in workspace.waiting.items() if count > 0]
    if workspace.parked_count:
        lanes.append(f"{workspace.parked_count} behind a fire of their own schedule")
    if workspace.returned_count:
        lanes.append(f"{workspace.returned_count} returned")
    return (
        f"{workspace.depth} turn{'s' if workspace.depth > 1 else ''} waiting ({', '.join(lanes)})"
    )


def _name(platform: Platform, workspace_id: str, schedule_id: str) -> str:
    stored = platform.clients.data.hget(keys.of(workspace_id)["schedules"], schedule_id)
    return schedules.Schedule.parse(stored).name if stored else schedule_id


def _queued(platform: Platform, workspace: workspaces.Workspace) -> list[Turn]:
    """The turns that wait, oldest first: all of them, or the first few where too many wait."""
    own, start = keys.of(workspace.id), 0
    found: list[Turn] = []
    while ids := platform.clients.data.zrange(own["open"], start, start + PAGE_COUNT - 1):
        texts = platform.clients.data.hmget(own["turns"], ids)
        turns = (Turn.parse(text) for text in texts if text)
        found += [turn for turn in turns if turn.state == "queued"]
        if found and workspace.depth > NAMED_DEPTH_MAX:
            break
        start += PAGE_COUNT
    return found
