"""``python -m tests.bench.soak [--minutes 60] [--rate N] [--json FILE]``: does anything grow?

Real web, workers and scheduler on a Redis of their own. First the most that the machine carries,
by a closed loop of chats; then half of that, or the rate given, as an open loop: message/send,
answered by agents that poll over HTTP, beside schedules of every minute, heartbeats, event streams
and a fleet page. Each minute: latencies, the memory of every process, and what Redis holds. Bounds
that act within the hour are made shorter, so that what is trimmed is trimmed while it is looked at.
"""

import argparse
import json
import statistics
import sys
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gevent
import psutil

from app.core.platform import Platform
from tests.bench.keepalive import Connection
from tests.bench.load import SENDERS, Load, all_processes, percentile
from tests.support.wait import let_pass, wait_until
from tests.support.world import ADMIN, World, ledger, open_turns

OPEN = ("queued", "running")  # what no row of a fire may say at the end
WORKSPACES, SCHEDULES, STREAMS, PEAK_S = 40, 4, 4, 20.0


@dataclass
class Minute:
    """What one minute told: sizes at its end."""

    at_s: float
    answered: int
    p50_ms: float
    p99_ms: float
    rss_mb: dict[str, float]
    redis_mb: float
    redis_keys: int
    late_ms: float  # the longest that a request was sent after its time


def sizes(here: World) -> dict[str, float]:
    """Resident MB by process: its name, and its number where there are several of it."""
    found: dict[str, float] = {}
    for name, process in here.processes.items():
        for at, one in enumerate(process.family()):
            with suppress(psutil.NoSuchProcess):
                found[f"{name} {at}" if at else name] = one.memory_info().rss / 1e6
    found["redis-server"] = psutil.Process(here.redis.process.pid).memory_info().rss / 1e6
    return {name: round(value, 1) for name, value in found.items()}


def look(here: World, platform: Platform, load: Load, at_s: float) -> Minute:
    """The minute that has just gone by."""
    waits, load.waits = load.waits, []
    late_ms, load.late_s = load.late_s * 1000, 0.0
    return Minute(
        at_s=round(at_s),
        answered=len(waits),
        p50_ms=round(percentile(waits, 0.5) * 1000, 1),
        p99_ms=round(percentile(waits, 0.99) * 1000, 1),
        rss_mb=sizes(here),
        redis_mb=round(platform.clients.data.info("memory")["used_memory"] / 1e6, 1),
        redis_keys=platform.clients.data.dbsize(),
        late_ms=round(late_ms, 1),
    )


def run(
    here: World, platform: Platform, ids: list[str], minutes: int, asked_rate: float | None
) -> dict[str, Any]:
    """The peak, then the soak; every message must be answered, every fire accounted for."""
    load, found = Load(here.port, WORKSPACES), []
    with closing(Connection(here.port, ADMIN)) as line:
        for workspace_id in ids:
            for at in range(SCHEDULES):
                body = {"name": f"s{at}", "cron_expr": "* * * * *", "prompt": "go"}
                line.ask("POST", f"/workspaces/{workspace_id}/schedules", body)
    spawned = [gevent.spawn(load.agent, one) for one in ids]
    spawned += [gevent.spawn(load.beats, one) for one in ids]
    spawned += [gevent.spawn(load.stream, one) for one in ids[:STREAMS]]
    spawned.append(gevent.spawn(load.page))
    with closing(Connection(here.port, ADMIN)) as line:
        while not load.waits:  # processes that start answer late
            load.sender(line, None)
    load.unanswered = 0
    peak = load.closed_loop(PEAK_S)
    rate = asked_rate or peak / 2
    print(f"peak {peak:.0f} answered a second; from now on {rate:.0f}", flush=True)
    load.waits, load.late_s = [], 0.0
    began = time.perf_counter()
    spawned += [gevent.spawn(load.open_loop, rate, at) for at in range(SENDERS)]
    for at in range(minutes):
        let_pass(began + (at + 1) * 60 - time.perf_counter())
        failed = [one.exception for one in spawned if one.exception is not None]
        if failed:
            raise failed[0]
        found.append(look(here, platform, load, time.perf_counter() - began))
        print(json.dumps(asdict(found[-1])), flush=True)
    load.is_quiet = True
    wait_until(lambda: let_pass(1) or not any(open_turns(platform, one) for one in ids), 50)
    load.is_over = True
    gevent.joinall(spawned, timeout=30, raise_error=True)
    rows = [row for one in ids for row in ledger(platform, one).values()]
    states = {
        state: sum(row["state"] == state for row in rows) for state in {r["state"] for r in rows}
    }
    return {
        "peak": peak,
        "rate": rate,
        "sent": load.sent,
        "unanswered": load.unanswered,
        "refused": dict(Connection.refused),
        "fires": states,
        **drift(found),
    }


def drift(found: list[Minute]) -> dict[str, Any]:
    """The last quarter beside the second one: by then every bound has begun to act."""
    quarter = max(1, len(found) // 4)
    early, late = found[quarter : 2 * quarter], found[-quarter:]

    def both(value: Any) -> list[float]:
        return [round(statistics.median(map(value, part)), 1) for part in (early, late)]

    return {
        "p50_ms": both(lambda one: one.p50_ms),
        "p99_ms": both(lambda one: one.p99_ms),
        "redis_mb": both(lambda one: one.redis_mb),
        "redis_keys": both(lambda one: one.redis_keys),
        "rss_mb": {
            name: both(lambda one, name=name: one.rss_mb.get(name, 0.0)) for name in late[-1].rss_mb
        },
        "minutes": [asdict(one) for one in found],
    }


def main() -> int:
    """Run it; print the minutes, then what the second and the last quarter differ by."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, help="messages a second; else half of the peak")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.minutes < 2:
        parser.error("--minutes: at least 2, for two quarters are compared")
    with all_processes(WORKSPACES) as started:
        told = run(*started, options.minutes, options.rate)
    print(json.dumps({name: value for name, value in told.items() if name != "minutes"}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    lost = told["unanswered"] + sum(told["fires"].get(state, 0) for state in OPEN)
    if lost:
        print(f"{lost} messages not answered or fires not ended", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
