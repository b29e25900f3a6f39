"""Core values as the API shows them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from app.core import workspaces
from app.core.clock import rfc3339
from app.core.records import Session, Turn
from app.core.schedules import Fire
from app.core.settings import Settings
from app.core.tokens import Token


def workspace(found: workspaces.Workspace, settings: Settings) -> dict[str, Any]:
    """A workspace's row."""
    stored = found.stored

    def at(name: str) -> str | None:
        return rfc3339(int(stored[name])) if name in stored else None

    return {
        "id": found.id,
        "name": stored.get("name"),
        "description": stored.get("description"),
        "status": found.status,
        "paused_reason": stored.get("paused_reason"),
        "max_concurrent": found.slots,
        "live_sessions": found.live_count,
        "zombies": found.zombie_count,
        "waiting": found.depth,
        "waiting_by_lane": {lane: count for lane, count in found.waiting.items() if count},
        "ceiling_s": found.limit_ms("ceiling_ms", settings.ceiling_s) / 1000,
        "idle_timeout_s": found.idle_ms(settings.idle_timeout_s)[0] / 1000,
        "stall_after_s": found.limit_ms("stall_ms", settings.stall_after_s) / 1000,
        "team": stored.get("team"),
        "redeliver": stored.get("redeliver") or "on_loss",
        "legacy_card": stored.get("legacy_card") != "0",
        "current_task": stored.get("current_task"),
        "last_heartbeat_at": at("beat_at"),
        "created_at": at("created_at"),
        "updated_at": at("updated_at"),
    }


def turn(
    workspace_id: str, found: Turn, body: Any = None, result: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A turn's row; with what was asked and what came back where they were read."""
    shown: dict[str, Any] = {
        "id": found.id,
        "workspace_id": workspace_id,
        "state": found.state,
        "lane": found.lane,
        "origin": found.origin,
        "attempt": found.attempt,
        "session_id": found.session_id,
        "schedule_id": found.schedule_id,
        "context_id": found.context_id,
        "mechanism": found.mechanism,
        "replay_of": found.replay_of,
        "request": body,
        "result": result,
        "error": (result or {}).get("error"),
    }
    for name in ("accepted_at", "state_at", "ended_at", "expires_at", "nominal_at"):
        shown[name] = rfc3339(getattr(found, name))
    return shown


def session(workspace_id: str, found: Session, now_ms: int) -> dict[str, Any]:
    """A session's row."""
    end = found.ended_at or now_ms
    shown: dict[str, Any] = {
        "id": found.id,
        "workspace_id": workspace_id,
        "turn_id": found.turn_id,
        "state": found.state,
        "fence": found.fence,
        "attempt": found.attempt,
        "lane": found.lane,
        "origin": found.origin,
        "schedule_id": found.schedule_id,
        "age_s": (end - found.claimed_at) / 1000,
        "heartbeat_age_s": (end - found.seen_at) / 1000,
        "progress_age_s": (end - found.progress_at) / 1000,
        "ceiling_s": found.ceiling_ms / 1000,
        "prompt_version": found.prompt_version,
        "mechanism": found.mechanism,
        "turn_state": found.turn_state,
        "ceiling_setting": found.ceiling_setting,
        "stalled_at": rfc3339(found.stalled_at),
        "checkpoint_requested_at": rfc3339(found.checkpoint_asked_at),
        "checkpoint_by": rfc3339(found.checkpoint_by),
        "cancel_requested_at": rfc3339(found.cancel_asked_at),
        "cancel_by": rfc3339(found.cancel_by),
    }
    for name in ("claimed_at", "delivered_at", "started_at", "ended_at", "ceiling_at"):
        shown[name] = rfc3339(getattr(found, name))
    return shown


def fire(found: Fire) -> dict[str, Any]:
    """A row of the ledger."""
    shown = asdict(found)
    shown["state_at"] = rfc3339(shown.pop("at"))
    shown["nominal_at"] = rfc3339(found.nominal_at)
    shown["started_at"] = rfc3339(found.started_at)
    return shown


def token(found: Token) -> dict[str, Any]:
    """A token without its text."""
    return asdict(found) | {
        "scopes": list(found.scopes),
        "workspaces": list(found.workspaces),
        "created_at": rfc3339(found.created_at),
        "expires_at": rfc3339(found.expires_at),
    }


def directives(found: list[Mapping[str, Any]] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Directives with their deadlines as HTTP shows times."""
    return [{**item, "deadline_at": rfc3339(item.get("deadline_at"))} for item in found]
