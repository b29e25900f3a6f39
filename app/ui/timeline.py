"""The timeline of a workspace: sessions, fires, messages, policy changes, gaps of the heartbeat."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from app.core import events, keys, ledger, schedules, sessions
from app.core.events import Event
from app.core.ledger import Fire
from app.core.platform import Platform
from app.core.records import Session
from app.ui import svg
from app.ui.svg import Mark

WINDOWS_S: Mapping[str, int] = {"1h": 3600, "6h": 21_600, "24h": 86_400, "7d": 604_800}
ROWS = ("sessions", "fires", "messages", "changes", "silence")
EVENTS_READ = 2000
SESSIONS_READ = 300
FIRES_READ = 300
# Event -> row, class, words.
TOLD: Mapping[str, tuple[str, str, str]] = {
    "MESSAGE_QUEUED": ("messages", "wait", "message queued"),
    "AGENT_MESSAGE": ("messages", "good", "answer"),
    "SESSION_CHECKPOINTED": ("changes", "good", "checkpoint saved"),
    "SESSION_CHECKPOINT_REQUESTED": ("changes", "warn", "checkpoint asked"),
    "POLICY_CHANGED": ("changes", "run", "policy changed"),
    "WORKSPACE_CHANGED": ("changes", "run", "workspace changed"),
}


@dataclass(frozen=True)
class Timeline:
    """The picture and, for its table, what is in it."""

    picture: Markup
    marks: list[Mark]
    is_cut: bool


def draw(platform: Platform, workspace_id: str, window: str, now: int) -> Timeline:
    """What happened in the window (``1h``, ``6h``, ``24h``, ``7d``; another means 6 h)."""
    start = now - WINDOWS_S.get(window, WINDOWS_S["6h"]) * 1000
    told = events.latest(platform, workspace_id, EVENTS_READ)
    names = {one.id: one.name for one in schedules.listing(platform, workspace_id)}
    fires = ledger.newest(platform, {workspace_id: list(names)}, FIRES_READ)[workspace_id]
    lived = sessions.recent(platform, workspace_id, SESSIONS_READ)
    beating = "beat_at" in platform.clients.data.hgetall(keys.of(workspace_id)["workspace"])
    marks = [
        *_of_sessions(lived, names, now),
        *_of_fires(fires, names),
        *_of_events(told),
        *_silence(told, now if beating else None),
    ]
    inside = [mark for mark in marks if (mark.until or mark.at) >= start and mark.at <= now]
    inside.sort(key=lambda mark: -mark.at)
    is_cut = len(told) == EVENTS_READ and events.order(told[-1].id)[0] > start
    return Timeline(svg.timeline(inside, ROWS, start, now), inside, is_cut)


def _of_sessions(found: Iterable[Session], names: Mapping[str, str], now: int) -> Iterable[Mark]:
    for one in found:
        what = names.get(one.schedule_id or "", one.origin)
        state = one.turn_state or "running"
        ended = f", ended by {one.mechanism}" if one.mechanism else ""
        title = f"session {one.id} of {what}: {state.replace('_', ' ')}{ended}"
        kind = svg.look(state if one.ended_at else "running")[0]
        yield Mark("sessions", one.claimed_at, one.ended_at or now, kind, title)


def _of_fires(found: Iterable[Fire], names: Mapping[str, str]) -> Iterable[Mark]:
    for one in found:
        what = names.get(one.schedule_id, one.schedule_id)
        title = f"fire of {what}: {one.state.replace('_', ' ')}"
        kind = svg.look(one.state)[0]
        yield Mark("fires", one.nominal_at, None, kind, title + (f", {one.why}" if one.why else ""))


def _of_events(found: Iterable[Event]) -> Iterable[Mark]:
    for one in found:
        if one.event in TOLD:
            row, kind, words = TOLD[one.event]
            yield Mark(row, events.order(one.id)[0], None, kind, words)


def _silence(found: list[Event], now: int | None) -> Iterable[Mark]:
    """From each WORKSPACE_OFFLINE to the next WORKSPACE_ONLINE; the list is newest first."""
    until = now
    for one in found:
        at = events.order(one.id)[0]
        if one.event == "WORKSPACE_OFFLINE":
            if until is not None:
                yield Mark("silence", at, until, "bad", "no heartbeats")
            until = None
        elif one.event == "WORKSPACE_ONLINE":
            until = at
