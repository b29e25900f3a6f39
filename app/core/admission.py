"""Who asks, and whether not too often: one round trip to the control side for each request, two
where whom to count is only known from the token itself.

A token has a rate of its own for each :class:`Pace`, so that what one client does in excess keeps
no agent from beating, and one agent's excess no other's. Not counted: who has no good token (the
answer is 401 and costs one look-up) and what needs none (probes, the API's document, the login).
"""

import json
from enum import StrEnum
from math import ceil
from typing import Any

import structlog

from app.core import keys, tokens
from app.core.errors import RateLimited
from app.core.platform import Platform
from app.core.settings import env_name
from app.core.tokens import Token

log = structlog.get_logger(__name__)


class Pace(StrEnum):
    """What a request counts as."""

    REQUEST = "request"
    STREAM = "stream"  # opening an event stream; a reader that reconnects does not stop the rest
    AGENT = "agent"  # beats, polls and reports, counted in each workspace
    TOOL = "tool"  # what a running agent calls, as above; a loop of it stops no beat
    LATER = "later"  # the route counts for itself, once it knows the workspace


SETTING_OF = {
    Pace.REQUEST: "rate_limit_per_min",
    Pace.STREAM: "rate_limit_per_min",
    Pace.AGENT: "agent_rate_limit_per_min",
    Pace.TOOL: "agent_rate_limit_per_min",
}


def admit(
    platform: Platform,
    text: str,
    pace: Pace,
    workspace_id: str | None = None,
    known: Token | None = None,
    scope: str = "",
) -> Token | None:
    """The token of this text, its request counted; None where it is unknown, expired or revoked.

    Args:
        workspace_id: counted there alone, where ``pace`` is the agent's or its tools', the
            workspace exists and the token reaches it; else with all that names none.
        known: a token that is not a stored one, or that has been found already.
        scope: what the request needs there (``one or other``); left out: nothing.

    Raises:
        RateLimited: counted once for each request refused.
    """
    known = known or tokens.unstored(platform, text)
    setting = SETTING_OF.get(pace)
    limit = getattr(platform.settings, setting) if setting else 0
    digest = tokens.digest(text)
    there = _there(platform, pace, workspace_id, known, scope)
    counted = f"{tokens.paced_as(platform, text, known)[:32]}:{pace}"
    outcome, *told = platform.run(
        "admit",
        "",
        client=platform.clients.control,
        extra_keys={
            "workspaces": keys.WORKSPACES,
            "pace": keys.PACES + counted,
            "pace_there": f"{keys.PACES}{counted}:{there}",
            "pace_told": keys.PACES_TOLD + counted,
        },
        digest=digest,
        known=known is not None,
        limit_per_min=limit,
        bucket=str(pace),
        there=there,
        scopes=json.dumps(tokens.sufficient(scope)),
    )
    found = known
    if known is None and outcome != "unknown":
        found = tokens.valid(platform, str(told[0]), int(told[1]), digest)
        if found is not None and outcome == "uncounted":
            return admit(platform, text, pace, workspace_id, found, scope)
    if found is not None and outcome == "limited":
        raise _refusal(found, pace, limit, *(int(part) for part in told[2:]))
    return found


def _there(
    platform: Platform, pace: Pace, workspace_id: str | None, known: Token | None, scope: str
) -> str:
    """The workspace to count in; of a token yet to be found the script decides."""
    if workspace_id is None or pace not in (Pace.AGENT, Pace.TOOL):
        return ""
    if known is None or not scope:
        return workspace_id
    reached = any(tokens.reach(platform, known, one, workspace_id) for one in scope.split(" or "))
    return workspace_id if reached else ""


def _refusal(
    token: Token, pace: Pace, limit: int, wait_ms: int, measured: int, is_first: int
) -> RateLimited:
    told: dict[str, Any] = {
        "mechanism": "rate_limit",
        "limit_per_min": limit,
        "measured_per_min": measured,
        "setting": env_name(SETTING_OF[pace]),
        "counted": str(pace),
    }
    if is_first:  # of a minute: a flood of requests is no flood of log lines
        log.warning("LIMIT_HIT", token_id=token.id, token_name=token.name, **told)
    return RateLimited(retry_after_s=ceil(wait_ms / 1000), **told)
