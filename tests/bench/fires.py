"""What schedules cost: those of one minute, a day to catch up, and a tick with nothing due."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict

from app.core import keys
from app.core.platform import Platform
from app.core.schedules import Schedule
from scheduler import fires
from tests.bench.ours import make_workspaces

DAY_MS, MINUTE_MS = 86_400_000, 60_000


def put(here: Platform, workspace_ids: Iterable[str], each: int, due_ms: int, expr: str) -> None:
    """So many schedules in each workspace, all due at one time."""
    pipe, control = (client.pipeline(False) for client in (here.clients.data, here.clients.control))
    for workspace_id in workspace_ids:
        own = keys.of(workspace_id)
        for at in range(each):
            made = Schedule(f"sch_{at}", workspace_id, "s", expr, "UTC", "go", version=1)
            record = {name: v for name, v in asdict(made).items() if v is not None}
            pipe.hset(own["schedules"], made.id, json.dumps(record))
            pipe.zadd(own["due"], {made.id: due_ms})
            control.zadd(keys.DUE, {f"{workspace_id}|{made.id}": due_ms})
        pipe.execute()
        control.execute()


def last_of_a_minute(here: Platform, count: int) -> float:
    """Seconds until the last of so many schedules of one minute is on its stream."""
    due_ms = here.now_ms() // MINUTE_MS * MINUTE_MS
    put(here, make_workspaces(here, count // 10), 10, due_ms, "*/5 * * * *")
    start, made = time.perf_counter(), 0
    while made < count:
        made += fires.fire_due(here)
    assert made == count, made
    return time.perf_counter() - start


def catch_up_rate(here: Platform, count: int = 50) -> float:
    """Fires per second of minutely schedules for which no scheduler ran for a day."""
    ids = make_workspaces(here, count)
    put(here, ids, 1, (here.now_ms() - DAY_MS) // MINUTE_MS * MINUTE_MS + MINUTE_MS, "* * * * *")
    start, made = time.perf_counter(), 0
    while found := fires.fire_due(here):
        made += found
    assert made >= 1438 * count, made
    return made / (time.perf_counter() - start)


def live_behind_a_backlog(here: Platform, count: int = 50) -> float:
    """Seconds until the last of 500 schedules of this minute is on its stream, while so many
    others have a day to catch up."""
    now = here.now_ms()
    ids = make_workspaces(here, count + 50)
    put(here, ids[50:], 1, (now - DAY_MS) // MINUTE_MS * MINUTE_MS, "* * * * *")
    put(here, ids[:50], 10, now - 1000, "*/5 * * * *")
    start_ms, data = here.now_ms(), here.clients.data
    newest: list[list[tuple[str, dict[str, str]]]] = [[]]
    while not all(newest):
        fires.fire_due(here)
        newest = [data.xrevrange(keys.of(one)["lane_cron"], count=1) for one in ids[:50]]
    return max(int(rows[0][0].split("-")[0]) for rows in newest) / 1000 - start_ms / 1000


def idle_tick(here: Platform, count: int = 100_000) -> list[float]:
    """Seconds of a tick with nothing due among so many schedules."""
    ids = [f"idle-{at}" for at in range(100)]
    put(here, ids, count // 100, here.now_ms() + DAY_MS, "0 0 * * *")
    waits = []
    for _ in range(100):
        start = time.perf_counter()
        fires.fire_due(here)
        waits.append(time.perf_counter() - start)
    return waits
