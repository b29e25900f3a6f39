"""What every tool's answer carries: the policy's version, and a pending wrap-up.

A session that runs for long calls tools; so it learns of both at its next call.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from redis.exceptions import RedisError

from app.core import policy, sessions
from app.core.clock import rfc3339
from app.core.errors import TurnkeeperError
from app.core.platform import Platform
from app.core.records import Session

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class News:
    """For programs and in a sentence or two for models."""

    shown: Mapping[str, Any]
    text: str


UNREAD = News(
    {"policy_version": None, "policy_changed": None, "wrap_up": None},
    "The policy could not be read just now.",
)


def read(platform: Platform, workspace_id: str, session_id: str | None) -> News:
    """As it stands now. Never fails: what the tool did is done, and the answer must say so."""
    try:
        session = sessions.find(platform, workspace_id, session_id) if session_id else None
        return (
            _of_workspace(platform, workspace_id)
            if session is None
            else _of_session(platform, workspace_id, session)
        )
    except (RedisError, TurnkeeperError) as error:
        log.warning("policy not read", workspace_id=workspace_id, error=str(error))
        return UNREAD


def _of_workspace(platform: Platform, workspace_id: str) -> News:
    version = policy.version(platform, workspace_id, None)
    shown = {"policy_version": version, "policy_changed": None, "wrap_up": None}
    return News(shown, f"policy_version: {version}.")


def _of_session(platform: Platform, workspace_id: str, session: Session) -> News:
    wrapped, words = wrap_up(session)
    if session.ended_at is not None:
        version, changed = policy.version(platform, workspace_id, session.prompt_version), ""
    else:
        fresh = policy.of_session(platform, workspace_id, session)
        version = policy.version(platform, workspace_id, fresh.current_prompt_version)
        changed = fresh.sentence
    lines = [f"policy_version: {version}."]
    if changed:
        lines.append(
            f"The policy has changed since this session looked: {changed}. Call get_policy for the "
            "prompt and recall_memory for what is new."
        )
    lines += [words] if words else []
    shown: dict[str, Any] = {
        "policy_version": version,
        "policy_changed": changed or None,
        "wrap_up": wrapped,
    }
    # Some clients show their model only this part of an answer.
    shown |= {"notice": " ".join(lines[1:])} if lines[1:] else {}
    return News(shown, " ".join(lines))


def wrap_up(session: Session) -> tuple[dict[str, Any] | None, str]:
    """What a session is asked to do with itself, and in words. Pure."""
    by: int | None
    if session.ended_at is not None:
        action, by, why = "ended", session.ended_at, session.mechanism
        words = f"This session has ended ({why}): stop now, nothing more that you do counts."
    elif session.cancel_asked_at is not None:
        action, by, why = "cancel", session.cancel_by, session.cancel_reason
        words = f"WRAP-UP: this session is canceled ({why}). Stop at once."
    elif session.checkpoint_asked_at is not None:
        action, by, why = "checkpoint", session.checkpoint_by, session.checkpoint_reason
        words = (
            f"WRAP-UP was asked for ({why}): start nothing new. Call checkpoint with what is done "
            "and what comes next, then answer and stop."
        )
    else:
        return None, ""
    deadline = rfc3339(by)
    if deadline and action != "ended":
        words += f" This session is ended at {deadline}."
    return {"action": action, "deadline_at": deadline, "reason": why}, words
