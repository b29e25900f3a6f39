"""Core values as the API shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from app.core import agents, backup, policy, workspaces
from app.core.backfills import Backfill
from app.core.clock import rfc3339
from app.core.invariant_reports import Report
from app.core.ledger import Fire
from app.core.memories import Memory
from app.core.policy import Freshness
from app.core.records import Session, Turn
from app.core.settings import Settings
from app.core.tokens import Token


def workspace(
    found: workspaces.Workspace, settings: Settings, rows: Sequence[Freshness] = (), now_ms: int = 0
) -> dict[str, Any]:
    """A workspace's row; ``rows``: how fresh its running sessions' policy is."""
    stalest = policy.worst(rows)
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
        "agent_url": backup.without_password(stored.get("agent_url")),
        "adapter": agents.adapter_of(stored, found.capacity),
        "agent_checkpoint": stored.get("agent_checkpoint") == "1",
        "has_agent_auth": "agent_auth" in stored,
        "policy": stalest.shown(now_ms) if stalest else None,
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
        "replayed_as": found.replayed_as,
        "request": body,
        "result": result,
        "error": (result or {}).get("error"),
    }
    for name in ("accepted_at", "state_at", "ended_at", "expires_at", "nominal_at", "discarded_at"):
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
        "memory_seq": found.memory_seq,
        "memory_team": found.memory_team or None,
        "digest": found.digest,
        "mechanism": found.mechanism,
        "turn_state": found.turn_state,
        "ceiling_setting": found.ceiling_setting,
        "stalled_at": rfc3339(found.stalled_at),
        "checkpoint_requested_at": rfc3339(found.checkpoint_asked_at),
        "checkpoint_by": rfc3339(found.checkpoint_by),
        "cancel_requested_at": rfc3339(found.cancel_asked_at),
        "cancel_by": rfc3339(found.cancel_by),
        "nominal_at": rfc3339(found.nominal_at),
        "coalesced": [rfc3339(at) for at in found.coalesced],
        "coalesced_count": found.coalesced_count,
    }
    for name in ("claimed_at", "delivered_at", "started_at", "ended_at", "ceiling_at"):
        shown[name] = rfc3339(getattr(found, name))
    return shown


def fire(found: Fire) -> dict[str, Any]:
    """A row of the ledger, with why it is so in words."""
    shown = asdict(found) | {"why": found.why}
    shown["state_at"] = rfc3339(shown.pop("at"))
    for name in ("nominal_at", "started_at", "ended_at"):
        shown[name] = rfc3339(shown[name])
    for name in ("duration", "limit", "measured"):
        span_ms = shown.pop(f"{name}_ms")
        shown[f"{name}_s"] = None if span_ms is None else span_ms / 1000
    for name in ("into", "behind"):
        if shown[name]:
            shown[name] = {**shown[name], "nominal_at": rfc3339(shown[name].get("nominal_at"))}
    return shown


def memory(found: Memory) -> dict[str, Any]:
    """A memory with its text."""
    shown = found.reference() | {"content": found.text}
    return shown | {"at": rfc3339(found.at), "created_at": rfc3339(found.created_at)}


def backfill(found: Backfill) -> dict[str, Any]:
    """A backfill and how far it has come."""
    shown = asdict(found) | {"share_done": round(found.share_done, 4)}
    for name in ("requested", "made", "already", "waiting", "running"):
        shown[name] = shown.pop(f"{name}_count")
    for name in ("start", "end", "created_at"):
        shown[name] = rfc3339(shown[name])
    return shown


def token(found: Token) -> dict[str, Any]:
    """A token without its text."""
    shown = asdict(found)
    del shown["session"], shown["fence"]  # of a session's token, which is never listed
    del shown["parent_digest"], shown["stored_as"], shown["principal"]
    return shown | {
        "scopes": list(found.scopes),
        "workspaces": list(found.workspaces),
        "teams": list(found.teams),
        "created_at": rfc3339(found.created_at),
        "expires_at": rfc3339(found.expires_at),
    }


def invariant_report(found: Report) -> dict[str, Any]:
    """The report on one workspace."""
    return asdict(found) | {
        "checked_at": rfc3339(found.checked_at),
        "doubts": {name: rfc3339(since) for name, since in found.doubts.items()},
    }


def directives(found: list[Mapping[str, Any]] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Directives with their deadlines as HTTP shows times."""
    return [{**item, "deadline_at": rfc3339(item.get("deadline_at"))} for item in found]
