"""Reads what a forecast is made of, and tells once when the need passes what there is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from app.core import forecast, keys, schedules, workspaces
from app.core.forecast import CLEARS_BELOW_PERCENT, LIMIT_PERCENT, Forecast, Load
from app.core.platform import Platform
from app.core.schedules import Schedule

RUNS_COUNT = 20  # the newest runs that count
# Ledger rows looked at for them, a page after another while fewer than ENOUGH_COUNT were found: a
# long queue lies before the runs, and just then they must be seen.
PAGES = ((0, 40), (40, 400), (440, 10_000))
ENOUGH_COUNT = 5
# Ends that tell how long the work lasts; a loss or a cancel does not.
ENDS = frozenset({"completed", "failed", "yielded", "force_idled"})
OVER = "forecast_over_at"  # field of the workspace's hash while its schedules need too much


def read(platform: Platform, workspace_id: str) -> Forecast:
    """What a workspace's schedules need, from its ledger as it is now; five round trips.

    Raises:
        WorkspaceNotFound.
    """
    return _read(platform, workspaces.get(platform, workspace_id))


def _read(platform: Platform, workspace: workspaces.Workspace) -> Forecast:
    enabled = [item for item in schedules.listing(platform, workspace.id) if item.enabled]
    durations = _durations(platform, workspace.id, [item.id for item in enabled])
    now = platform.now_ms()
    loads = [
        Load(
            schedule_id=item.id,
            name=item.name,
            fires_per_day=forecast.fires_per_day(item.cron_expr, item.timezone, now),
            durations_s=durations[item.id],
            ceiling_s=_ceiling_s(platform, workspace, item),
            overlap_policy=item.overlap_policy,
        )
        for item in enabled
    ]
    return forecast.forecast(loads, _slots(workspace))


def _slots(workspace: workspaces.Workspace) -> int:
    """A runtime that is stopping offers none; what it usually offers is the owner's figure."""
    return workspace.slots or int(workspace.stored.get("max_concurrent") or 1)


def _ceiling_s(platform: Platform, workspace: workspaces.Workspace, schedule: Schedule) -> float:
    if schedule.ceiling_s is not None:
        return schedule.ceiling_s
    return workspace.limit_ms("ceiling_ms", platform.settings.ceiling_s) / 1000


def _durations(
    platform: Platform, workspace_id: str, schedule_ids: Sequence[str]
) -> Mapping[str, tuple[float, ...]]:
    """How long the newest runs of each schedule lasted; usually in two round trips."""
    found: dict[str, tuple[float, ...]] = dict.fromkeys(schedule_ids, ())
    left = list(schedule_ids)
    for start, count in PAGES:
        pages = _page(platform, workspace_id, left, start, count)
        for one, texts in pages.items():
            found[one] = (*found[one], *_lasted_s(texts))[:RUNS_COUNT]
        left = [
            one
            for one, texts in pages.items()
            if len(texts) == count and len(found[one]) < ENOUGH_COUNT
        ]
    return found


def _page(
    platform: Platform, workspace_id: str, schedule_ids: Sequence[str], start: int, count: int
) -> dict[str, Sequence[str | None]]:
    """Ledger rows of each schedule that has some, newest nominal time first."""
    if not schedule_ids:
        return {}
    own, data = keys.of(workspace_id), platform.clients.data
    pipe = data.pipeline(transaction=False)
    for one in schedule_ids:
        pipe.zrevrangebylex(own["fire_index"], f"[{one};", f"[{one}:", start=start, num=count)
    names = {one: rows for one, rows in zip(schedule_ids, pipe.execute(), strict=True) if rows}
    if not names:
        return {}
    pipe = data.pipeline(transaction=False)
    for rows in names.values():
        pipe.hmget(own["fires"], rows)
    return dict(zip(names, pipe.execute(), strict=True))


def _lasted_s(texts: Sequence[str | None]) -> tuple[float, ...]:
    rows: list[Mapping[str, Any]] = [json.loads(text) for text in texts if text]
    ended = [row for row in rows if row["state"] in ENDS and row.get("started_at")]
    return tuple(max(0, row["at"] - row["started_at"]) / 1000 for row in ended)


def check(platform: Platform, workspace_id: str) -> Forecast:
    """Read the forecast, and tell if it has passed what there is or come back below it.

    Comes back only below ``CLEARS_BELOW_PERCENT``, so that a need about the limit tells nothing
    at each run. Two that check at once tell once; one that saw an older ledger is put right by
    the next sweep.

    Raises:
        WorkspaceNotFound.
    """
    workspace = workspaces.get(platform, workspace_id)
    found = _read(platform, workspace)
    was_over = OVER in workspace.stored
    is_over = found.measured_percent > (CLEARS_BELOW_PERCENT if was_over else LIMIT_PERCENT)
    if is_over != was_over:
        tell(platform, workspace_id, found, is_over)
    return found


def tell(platform: Platform, workspace_id: str, found: Forecast, is_over: bool) -> None:
    """Note it, and append the event unless it is noted already."""
    platform.run(
        "forecast",
        workspace_id,
        is_over=is_over,
        measured_percent=found.measured_percent,
        limit_percent=LIMIT_PERCENT,
        setting=found.advice[0].setting if found.advice else "schedule.cron_expr",
        sentence=found.sentence,
        advice="; ".join(item.text for item in found.advice),
    )


def of_schedule(found: Forecast, schedule_id: str) -> dict[str, Any] | None:
    """The part of one schedule with the whole's sentence and advice; None: it is paused."""
    need = next((item for item in found.schedules if item.schedule_id == schedule_id), None)
    if need is None:
        return None
    shown = asdict(need)
    del shown["schedule_id"], shown["name"]
    return shown | {
        "workspace_percent": found.share_percent,
        "sentence": found.sentence,
        "advice": [item.text for item in found.advice],
    }


def shown(found: Forecast) -> dict[str, Any]:
    """As the API shows it."""
    whole = asdict(found) | {"is_over": found.is_over, "limit_percent": LIMIT_PERCENT}
    return whole | {"advice": [asdict(item) for item in found.advice]}
