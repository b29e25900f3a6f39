"""The ledger: what became of each fire of a schedule. Written by the scripts, read here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core import keys
from app.core.platform import Platform

# Why a fire is in the state it is in, in words; of a limit its numbers are told with it.
WHY = {
    "finish": "the agent ended its session",
    "ceiling": "the platform ended its session at the ceiling",
    "operator": "an operator ended its session",
    "cancel": "it was canceled",
    "ttl": "it waited longer than its time to live",
    "catchup_window": "no scheduler made it within the catch-up window",
    "queue_depth": "the queue had reached its bound",
    "retry": "its session ended badly and the schedule has retries left",
    "lost": "its runtime no longer knew the session",
    "idle_timeout": "nothing was heard of its session",
    "delivery_failed": "it could not be handed to the agent",
    "released": "its runtime gave it back",
}


@dataclass(frozen=True)
class Fire:
    """One row of the ledger. ``reason`` is a mechanism; the limit's fields are there where one
    acted, in ms or as a count.

    ``into``: the fire that ran in the stead of a coalesced one; ``behind``: the one whose run a
    skipped fire found unfinished. Each is a turn id and a nominal time."""

    schedule_id: str
    nominal_at: int
    state: str
    at: int
    turn_id: str | None = None
    session_id: str | None = None
    started_at: int | None = None
    ended_at: int | None = None
    duration_ms: int | None = None
    attempt: int | None = None
    into: Mapping[str, Any] | None = None
    behind: Mapping[str, Any] | None = None
    reason: str | None = None
    origin: str | None = None
    setting: str | None = None
    limit_ms: int | None = None
    measured_ms: int | None = None
    limit_count: int | None = None
    measured_count: int | None = None

    @property
    def why(self) -> str | None:
        """The reason as a sentence, with limit, setting and measured value; None: none yet."""
        if self.reason is None:
            return None
        text = WHY.get(self.reason, self.reason.replace("_", " "))
        if self.setting is None:
            return text
        if self.limit_count is not None:
            return f"{text}: {self.measured_count} of {self.limit_count} by {self.setting}"
        if self.limit_ms is None or self.measured_ms is None:
            return text
        return (
            f"{text}: {self.measured_ms / 1000:g} s of {self.limit_ms / 1000:g} by {self.setting}"
        )


def fires(platform: Platform, workspace_id: str, schedule_id: str, limit: int) -> list[Fire]:
    """The ledger of a schedule, newest nominal time first."""
    own, data = keys.of(workspace_id), platform.clients.data
    rows = data.zrevrangebylex(
        own["fire_index"], f"[{schedule_id};", f"[{schedule_id}:", start=0, num=limit
    )
    if not rows:
        return []
    texts = zip(rows, data.hmget(own["fires"], rows), strict=True)
    return [_fire(schedule_id, int(row.rsplit(":", 1)[1]), text) for row, text in texts if text]


def _fire(schedule_id: str, nominal_ms: int, text: str) -> Fire:
    names = Fire.__dataclass_fields__
    stored = {name: value for name, value in json.loads(text).items() if name in names}
    return Fire(schedule_id=schedule_id, nominal_at=nominal_ms, **stored)


def at(
    platform: Platform, workspace_id: str, schedule_id: str, times: Sequence[int]
) -> list[Fire | None]:
    """The rows of these nominal times, in this order; None where there is none."""
    if not times:
        return []
    names = [f"{schedule_id}:{nominal_ms}" for nominal_ms in times]
    texts = platform.clients.data.hmget(keys.of(workspace_id)["fires"], names)
    pairs = zip(times, texts, strict=True)
    return [_fire(schedule_id, nominal_ms, text) if text else None for nominal_ms, text in pairs]


@dataclass(frozen=True)
class Summary:
    """What is counted of a schedule's fires, without reading its rows."""

    run_count: int
    waiting_count: int
    failure_count: int
    last_run: Fire | None
    newest: Fire | None


def summary(platform: Platform, workspace_id: str, schedule_id: str) -> Summary:
    """How a schedule's fires stand; cheap, however many there are."""
    own, data = keys.of(workspace_id), platform.clients.data
    pipe = data.pipeline(transaction=False)
    pipe.hget(own["run_counts"], schedule_id)
    pipe.hmget(
        own["tallies"], *(f"{schedule_id}:{name}" for name in ("waiting", "failures", "last"))
    )
    run_count, (waiting, failures, last) = pipe.execute()
    last_run = at(platform, workspace_id, schedule_id, [int(last)])[0] if last else None
    newest = next(iter(fires(platform, workspace_id, schedule_id, 1)), None)
    return Summary(int(run_count or 0), int(waiting or 0), int(failures or 0), last_run, newest)


def error_of(platform: Platform, workspace_id: str, fire: Fire) -> str | None:
    """What went wrong in a fire that did not complete, if anything is known."""
    if fire.state == "completed" or not fire.turn_id:
        return None
    stored = platform.clients.data.hget(keys.of(workspace_id)["results"], fire.turn_id)
    error = (json.loads(stored).get("error") if stored else None) or {}
    return error.get("message") or fire.why


def newest(
    platform: Platform, schedule_ids: Mapping[str, Sequence[str]], count: int
) -> dict[str, list[Fire]]:
    """The newest fires of all schedules together, by workspace, oldest first; three round trips.

    Args:
        schedule_ids: workspace id -> its schedules.
    """
    data = platform.clients.data
    pairs = [(ws, one) for ws, some in schedule_ids.items() for one in some]
    pipe = data.pipeline(transaction=False)
    for workspace_id, one in pairs:
        index = keys.of(workspace_id)["fire_index"]
        pipe.zrevrangebylex(index, f"[{one};", f"[{one}:", start=0, num=count)
    names: dict[str, list[str]] = {workspace_id: [] for workspace_id in schedule_ids}
    for (workspace_id, _), rows in zip(pairs, pipe.execute() if pairs else [], strict=True):
        names[workspace_id] += rows
    pipe = data.pipeline(transaction=False)
    for workspace_id, rows in names.items():
        rows.sort(key=lambda row: int(row.rsplit(":", 1)[1]))
        del rows[:-count]
        pipe.hmget(keys.of(workspace_id)["fires"], rows or ["-"])
    found = {}
    for (workspace_id, rows), texts in zip(names.items(), pipe.execute(), strict=True):
        told = zip(rows, texts, strict=False)
        found[workspace_id] = [_fire(*_named(row), text) for row, text in told if text is not None]
    return found


def _named(row: str) -> tuple[str, int]:
    schedule_id, nominal = row.rsplit(":", 1)
    return schedule_id, int(nominal)
