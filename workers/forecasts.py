"""Looks again at what schedules need: durations change with every run, and nobody asks."""

from collections.abc import Callable, Iterable

import structlog
from redis.exceptions import RedisError

from app.core import forecasting
from app.core.errors import WorkspaceNotFound
from app.core.platform import Platform

CHECKS_COUNT = 50  # a sweep
log = structlog.get_logger(__name__)


def check_some(
    platform: Platform,
    workspace_ids: Iterable[str],
    most: int = CHECKS_COUNT,
    between: Callable[[], object] = lambda: None,
) -> None:
    """Check a bounded part of the workspaces: the next part at each sweep, all of them in turn.

    ``between``: called before each check, as the sweep calls it after each page.
    """
    ordered = sorted(workspace_ids)
    if not ordered:
        return
    interval_ms = max(1, round(platform.settings.sweep_interval_s * 1000))
    start = platform.now_ms() // interval_ms * most % len(ordered)
    for workspace_id in (ordered[start:] + ordered[:start])[:most]:
        between()
        try:
            forecasting.check(platform, workspace_id)
        except WorkspaceNotFound:
            continue  # removed meanwhile
        except RedisError:
            raise
        except Exception:  # noqa: BLE001 - one workspace's trouble is not the others'
            log.exception("forecast not checked", workspace_id=workspace_id)
