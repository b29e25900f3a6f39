"""Where the time of a turn goes: ``python -m tests.bench.profile``, one row a script or command.

Each phase runs twice. The first run, undisturbed, gives its totals: the main thread of Redis, the
client's processor and the wall; the second, under a slow log that keeps every command, gives what
share of Redis' part each script has.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis

from app.core import doorbell, keys, scripts, telemetry, turns, workspaces
from app.core.platform import Platform
from app.core.settings import Settings
from tests.bench import ours
from tests.support import servers
from workers import jobs
from workers.adapters.scripted import Scripted
from workers.deliver import visit_all

SCRIPTS = {script.sha: name for name, script in scripts.load().items()}
TURNS, PLACES = 3000, 100
LATER_MS = 10**15
HEAD = (
    "| Per turn | Calls | Redis, us | Client, us | Wall, us | Messages |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
)


@dataclass
class Cost:
    """What one run of a phase cost in all."""

    wall_s: float = 0.0
    client_s: float = 0.0
    redis_s: float = 0.0
    messages: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    redis_us: Counter[str] = field(default_factory=Counter)


class Meter:
    """Measures what happens between two looks at the server."""

    def __init__(self, raw: Any, is_logged: bool) -> None:
        self._raw, self._is_logged = raw, is_logged
        self.cost = Cost()

    @contextmanager
    def measured(self) -> Iterator[None]:
        raw, cost = self._raw, self.cost
        raw.execute_command("SLOWLOG", "RESET")
        raw.config_set("slowlog-log-slower-than", 0 if self._is_logged else -1)
        reads, redis_s = self._server()
        wall, client = time.perf_counter(), time.process_time()
        yield
        cost.wall_s, cost.client_s = time.perf_counter() - wall, time.process_time() - client
        now_reads, now_redis_s = self._server()
        cost.messages, cost.redis_s = now_reads - reads, now_redis_s - redis_s
        raw.config_set("slowlog-log-slower-than", -1)
        self._read_log()

    def _server(self) -> tuple[int, float]:
        info = self._raw.info("everything")
        spent = info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]
        return info["total_reads_processed"], spent

    def _read_log(self) -> None:
        """Of our connections only: what a script itself calls is logged beside it."""
        for entry in self._raw.execute_command("SLOWLOG", "GET", -1):
            _, _, took_us, words = entry[:4]
            name = words[0].decode().lower()
            if name in ("evalsha", "eval"):
                name = SCRIPTS.get(words[1].decode(), name)
            self.cost.calls[name] += 1
            self.cost.redis_us[name] += took_us


Phase = Callable[[Platform, Meter], int]


def submitting(here: Platform, meter: Meter) -> int:
    """Submits into workspaces whose agent is away."""
    for at in range(PLACES):
        workspaces.create(here, f"submit-{at}", {})
    with meter.measured():
        for at in range(TURNS):
            turns.submit(here, f"submit-{at % PLACES}", turns.Request(body={"text": "x"}))
    return TURNS


def serving(here: Platform, meter: Meter) -> int:
    """From claim to finish, one worker, an instant agent, a backlog in a hundred workspaces."""
    ids = ours.make_workspaces(here, PLACES)
    for at in range(TURNS):
        turns.submit(here, ids[at % PLACES], turns.Request(body={"text": "x"}))
    with meter.measured():
        done = 0
        while done < TURNS:
            done += _visit(here)
    return TURNS


def one_by_one(here: Platform, meter: Meter) -> int:
    """Each turn submitted, rung, claimed and finished before the next."""
    (workspace_id,) = ours.make_workspaces(here, 1)
    with meter.measured():
        for _ in range(TURNS // 4):
            turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
            _visit(here)
    return TURNS // 4


def _visit(here: Platform) -> int:
    rung = doorbell.next_ready_many(here, 1, jobs.RINGS_MOST)
    return visit_all(here, Scripted(lambda claim, bound: {"text": ""}), rung).count


PHASES: dict[str, Phase] = {
    "submit": submitting,
    "claim to finish, backlog": serving,
    "submit to finish, one at a time": one_by_one,
}


def rows(name: str, turns_count: int, cost: Cost, logged: Cost) -> Iterator[str]:
    """The lines of a phase, per turn; commands that scripts call are left out."""
    each = turns_count / 1e6
    yield (
        f"| **{name}** | | {cost.redis_s / each:.0f} | {cost.client_s / each:.0f} "
        f"| {cost.wall_s / each:.0f} | {cost.messages / turns_count:.2f} |"
    )
    own = {*SCRIPTS.values(), "bzpopmin", "zpopmin"}
    for kind, took_us in logged.redis_us.most_common():
        if kind in own:
            calls = logged.calls[kind] / turns_count
            yield f"| {kind} | {calls:.2f} | {took_us / turns_count:.0f} | | | |"


def main() -> int:
    """Print one table."""
    argparse.ArgumentParser(prog="python -m tests.bench.profile").parse_args()
    binary = servers.binary_7()
    if binary is None:
        print("no redis-server of 7 or later to measure on", file=sys.stderr)
        return 1
    telemetry.configure_logs(Settings(log_level="WARNING"))
    with servers.redis_server(binary, appendonly=True) as server:
        raw = redis.Redis.from_url(server.url, protocol=2)
        ours.sync_each_second(server)
        raw.config_set("slowlog-max-len", 1_000_000)
        here = ours.platform(server.url)
        print(f"load {os.getloadavg()[0]:.1f}", *HEAD, sep="\n")
        for name, phase in PHASES.items():
            costs = []
            for is_logged in (False, True):
                raw.flushall()
                raw.zadd(keys.DISPATCHERS, {"profile": LATER_MS})
                meter = Meter(raw, is_logged)
                count = phase(here, meter)
                costs.append(meter.cost)
            print(*rows(name, count, *costs), sep="\n", flush=True)
        here.clients.close()
        raw.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
