"""Trims the events and the dead letters of every workspace, and repairs what bounds the trimming of
events: open lines."""

from collections.abc import Callable, Sequence
from itertools import chain

import structlog

from app.core import dead_letters, keys, lines, webhooks, workspaces
from app.core.lines import Standing
from app.core.platform import Platform
from app.core.webhooks import Webhook
from workers.owed import Close, Open, plan

PAGE = 500
log = structlog.get_logger(__name__)


def trim(platform: Platform, between: Callable[[], object] = lambda: None) -> int:
    """Go through every workspace once. Returns how many events went.

    ``between``: called after each page; the reaper's tick waits behind this.
    """
    trimmed, registry = 0, webhooks.listing(platform)
    for page in chain(workspaces.pages(platform, PAGE), [[keys.PLATFORM_PLACE]]):
        trimmed += _page(platform, page, registry, between)
        between()
    log.debug("events trimmed", trimmed_count=trimmed)
    return trimmed


def _page(
    platform: Platform,
    page: Sequence[str],
    registry: Sequence[Webhook],
    between: Callable[[], object],
) -> int:
    if any(hook.enabled for hook in registry):
        _open_missing(platform, page, registry)
    found = lines.trim(platform, page)
    dead_letters.bury(platform, page)
    trimmed, more = sum(one.events_count for one in found), found
    while full := [one.workspace_id for one in more if one.has_more]:
        between()
        more = lines.trim(platform, full)
        trimmed += sum(one.events_count for one in more)
    pushed = [one.workspace_id for one in found if one.push_count]
    if pushed:  # a hint of a configuration may have been lost
        now_ms = platform.now_ms()
        platform.clients.control.zadd(keys.PUSHES, dict.fromkeys(pushed, now_ms), nx=True)
    held = [one.workspace_id for one in found if one.open_count]
    for standing in lines.standing(platform, held) if held else ():
        if any(isinstance(action, Close) for action in plan(standing, registry)):
            close_strays(platform, standing)
    return trimmed


def _open_missing(platform: Platform, page: Sequence[str], registry: Sequence[Webhook]) -> None:
    """A workspace that is newer than its webhooks owes them from its beginning, also while nobody
    delivers. What is to be opened is read anew: a webhook may be disabled meanwhile."""
    for standing in lines.standing(platform, page):
        if not _missing(standing, registry):
            continue
        for line, cursor in _missing(standing, webhooks.listing(platform)).items():
            lines.open_one(platform, standing.workspace_id, line, cursor)


def _missing(found: Standing, registry: Sequence[Webhook]) -> dict[str, str]:
    """Lines of webhooks to be opened, and their cursors; a push's begins with its turn."""
    actions = plan(found, registry)
    return {one.line: one.cursor for one in actions if isinstance(one, Open) and one.cursor}


def close_strays(platform: Platform, found: Standing) -> None:
    """Close the open lines that nobody serves; they would keep their events for ever.

    The registry is read here, after the lines: a record is written before its lines are opened,
    so a line without one has lost it, and is not just new.
    """
    for action in plan(found, webhooks.listing(platform)):
        if isinstance(action, Close):
            carry_out(platform, found.workspace_id, action)


def carry_out(platform: Platform, workspace_id: str, action: Close) -> None:
    """Close a line as planned."""
    lines.close(
        platform,
        workspace_id,
        action.line,
        action.mechanism,
        action.reason,
        action.remove,
        action.failed_count,
    )
