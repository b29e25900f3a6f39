"""What a running session says of its own accord: a checkpoint note, a word to its user.

Both are fenced, count as progress, and change nothing about how the session will end.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.core import doorbell
from app.core.platform import Platform


def note(
    platform: Platform, workspace_id: str, session_id: str, fence: int, left: Mapping[str, Any]
) -> bool:
    """Keep a checkpoint note (``summary``, ``next_step``, ``artifacts``) while the session goes on.

    Returns:
        Whether a next session gets it: its turn has a schedule or a context.

    Raises:
        SessionNotFound, StaleFence, IllegalTransition.
    """
    text = json.dumps(left, ensure_ascii=False)
    reply = _run(platform, "note", workspace_id, session_id, fence, note=text)
    return bool(reply[0] == "kept")


def say(platform: Platform, workspace_id: str, session_id: str, fence: int, text: str) -> None:
    """Tell the user something, as an AGENT_MESSAGE event.

    Raises:
        SessionNotFound, StaleFence, IllegalTransition.
    """
    _run(platform, "say", workspace_id, session_id, fence, text=text)


def _run(
    platform: Platform, name: str, workspace_id: str, session_id: str, fence: int, **args: Any
) -> list[Any]:
    reply = platform.run(
        name, workspace_id, session_id=session_id, fence=fence, instance="", **args
    )
    if reply[1]:  # a clock runs from now on that did not run before
        doorbell.watch(platform, workspace_id, int(reply[1]) / 1000)
    return reply
