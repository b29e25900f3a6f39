"""``python -m tests.bench [--runs N] [--part NAME] [--json FILE]``: one table of one run.

Medians and ratios. The server writes its log to disk once a second, as the embedded one does.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import redis

from app.core import telemetry
from app.core.settings import Settings
from tests.bench import clocks, fires, floor, incident, ours, scale, scaleout, together
from tests.bench.floor import RAW_LOOP
from tests.bench.load import percentile
from tests.bench.peers import part as peers
from tests.support import servers

HOLD_S = 20.0
HALF_ACCEPT, HTTP_S = 600, 2  # half of what one web process must take, and for how long


class Table:
    """Rows as they are measured; each is the median of its runs."""

    def __init__(self, url: str, runs: int) -> None:
        self.url, self.runs = url, runs
        self.rows: dict[str, dict[str, float | str | None]] = {}
        self.faults: list[str] = []  # what must not be overlooked: the run ends with 1

    def add(
        self, name: str, unit: str, measure: Callable[[], float], base: str | None = None
    ) -> None:
        """Measure ``runs`` times on an empty server; the ratio is to an earlier row's median."""
        values = []
        for _ in range(self.runs):
            redis.Redis.from_url(self.url, protocol=2).flushall()
            values.append(measure())
        self.put(name, unit, values, base)

    def put(self, name: str, unit: str, values: list[float], base: str | None = None) -> None:
        """Keep a row that is measured already."""
        median = statistics.median(values)
        ratio = median / float(self.rows[base]["median"] or 1) if base else None
        self.rows[name] = {
            "unit": unit,
            "median": median,
            "low": min(values),
            "high": max(values),
            "ratio": ratio,
            "base": base,
            "load": os.getloadavg()[0],
        }
        figures = 2 if unit in ("s", "ms") else 0
        spread = f"{min(values):,.{figures}f} to {max(values):,.{figures}f}"
        beside = f"{ratio:.2f} x {base}" if ratio is not None else ""
        load = f"load {os.getloadavg()[0]:.1f}"
        told = f"{median:>10,.{figures}f} {unit:4} {spread:>18}  {load}  {beside}"
        print(f"{name:58} {told.rstrip()}", flush=True)

    def tell(self, name: str, sentence: str) -> None:
        """A row without a figure: why it is not there, or what was seen."""
        self.rows[name] = {"told": sentence}
        print(f"{name:58} {sentence}", flush=True)

    def latencies(self, name: str, measure: Callable[[], list[float]], base: str = "") -> None:
        """Two rows, p50 and p99 in ms."""
        self.side_by_side({name: measure}, base)

    def side_by_side(self, rows: Mapping[str, Callable[[], list[float]]], base: str = "") -> None:
        """The same of several, a run of each in turn, so that all meet the same other load."""
        runs: dict[str, list[list[float]]] = {name: [] for name in rows}
        for _ in range(self.runs):
            for name, measure in rows.items():
                redis.Redis.from_url(self.url, protocol=2).flushall()
                runs[name].append([wait * 1000 for wait in measure()])
        for name, found in runs.items():
            self.put_latencies(name, found, base if base != name else "")

    def put_latencies(self, name: str, runs: list[list[float]], base: str = "") -> None:
        """Two rows, p50 and p99, of waits in ms; each value is that of one run."""
        for label, share in (("p50", 0.5), ("p99", 0.99)):
            values = [percentile(waits, share) for waits in runs]
            self.put(f"{name} {label}", "ms", values, f"{base} {label}" if base else None)


def main() -> int:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--part", choices=[*PARTS, *ASKED_FOR, "all"], default="all")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    binary = servers.binary_7() or servers.binary_62()
    if binary is None:
        print("no redis-server to measure on", file=sys.stderr)
        return 1
    telemetry.configure_logs(Settings(log_level="WARNING"))
    with servers.redis_server(binary, appendonly=True) as server:
        ours.sync_each_second(server)
        table = Table(server.url, options.runs)
        wanted = (
            PARTS if options.part == "all" else {options.part: (PARTS | ASKED_FOR)[options.part]}
        )
        for part in wanted.values():
            part(table, server.url)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(table.rows, indent=2) + "\n")
    print(*table.faults, sep="\n", end="\n" if table.faults else "", file=sys.stderr)
    return 1 if table.faults else 0


def speed(table: Table, url: str) -> None:
    """The hot path; the floors first, each beside what is compared with it."""
    raw = redis.Redis.from_url(url, protocol=2)
    here = ours.platform(url)
    table.add("raw XADD", "/s", lambda: floor.raw_xadd(raw))
    table.add("submit, in process", "/s", lambda: ours.submit_rate(here), "raw XADD")
    table.add(RAW_LOOP, "/s", lambda: floor.raw_loop(raw))
    table.add("raw loop, two processes", "/s", lambda: together.raw_loop(url), RAW_LOOP)
    for words, count in (("one worker", 1), ("two workers", 2)):
        name = f"claim to finish, gated, {words}"
        rate = partial(together.claim_finish_rate, here, count)
        table.add(name, "/s", rate, RAW_LOOP)
    table.add("plain RQ, empty job, no fork", "/s", lambda: floor.rq_jobs(raw))
    here.clients.close()
    raw.close()


def scaling(table: Table, url: str) -> None:
    """What the number of workspaces and of waiting turns costs."""
    here = ours.platform(url)
    among = {
        f"claim among {count:,} workspaces": partial(scale.claims_among, here, count)
        for count in (100, 10_000, 100_000)
    }
    table.side_by_side(among, "claim among 100 workspaces")
    before = {
        f"claim, {count:,} waiting": partial(scale.claims_before, here, count)
        for count in (1, ours.BACKLOG)
    }
    table.side_by_side(before, "claim, 1 waiting")
    for count in (100, 10_000, 100_000):
        each = partial(scale.idle_workspace_bytes, here, count)
        table.add(f"an idle workspace of {count:,}", "B", each)
    table.add("a queued turn, beside its body", "B", lambda: scale.queued_turn_bytes(here))
    table.latencies(
        "submit to adapter beside a backlog of 10,000",
        lambda: scale.neighbours_wait(here, ours.BACKLOG),
    )
    here.clients.close()


def held(table: Table, url: str) -> None:
    """The incident as a load: the order is checked in each run."""
    here = ours.platform(url)
    for behind in (0, ours.BACKLOG):
        found = []
        for _ in range(table.runs):
            here.clients.data.flushall()
            found.append(incident.run(here, HOLD_S, behind))
        name = f"held, {behind:,} more waiting" if behind else "held"
        released = [one.release_s * 1000 for one in found]
        table.put(f"{name}: release to next start", "ms", released)
        drained = [one.drain_s * 1000 for one in found]
        table.put(f"{name}: release to last of twelve", "ms", drained)
        for label, share in (("p50", 0.5), ("p99", 0.99)):
            waits = [percentile(one.others_s, share) * 1000 for one in found]
            table.put(f"{name}: others, submit to adapter {label}", "ms", waits)
    here.clients.close()


def outward(table: Table, url: str) -> None:
    """What more processes add, who is busy then, and how even three masters are."""
    here = ours.platform(url)
    measures = {
        "claim to finish, workers: 1": (scaleout.workers, 1),
        "claim to finish, workers: 2": (scaleout.workers, 2),
        "claim to finish, workers: 4": (scaleout.workers, 4),
        "accept over HTTP, web processes: 1": (scaleout.web, 1),
        "accept over HTTP, web processes: 2": (scaleout.web, 2),
    }
    for name, (measure, count) in measures.items():
        found = []
        for _ in range(table.runs):
            here.clients.data.flushall()
            found.append(measure(here, count))
        table.put(name, "/s", [one.rate for one in found])
        for who in found[0].shares:
            table.put(f"{name}; {who}", "%", [one.shares[who] for one in found])
    here.clients.close()
    binary = servers.binary_7() or servers.binary_62()
    assert binary is not None
    for name, shares in scaleout.cluster_shares(binary).items():
        table.put(f"three masters: {name} of each", "%", shares)


def accepted(
    table: Table, raw: redis.Redis, port: int, form: str, body: Callable[[int], object]
) -> None:
    """Messages taken: as many as 32 clients get in, then at half of the goal."""
    rates, waits = [], []
    for _ in range(table.runs):
        for rate in (None, HALF_ACCEPT):
            found = ours.http_load(port, "/workspaces/bench-http/a2a", body, HTTP_S, rate=rate)
            if rate:
                waits.append([wait * 1000 for wait in found])
            else:
                rates.append(len(found) / HTTP_S)
            raw.delete("tk:{bench-http}:lanes")
    table.put(f"{form} accepted over HTTP, one web process", "/s", rates, "raw XADD")
    table.put_latencies(f"{form} accepted over HTTP at {HALF_ACCEPT} a second", waits)


def clocks_and_web(table: Table, url: str) -> None:
    """Latencies, schedules, HTTP and the clocks."""
    raw = redis.Redis.from_url(url, protocol=2)
    here = ours.platform(url)
    if "raw XADD" not in table.rows:
        table.add("raw XADD", "/s", lambda: floor.raw_xadd(raw))
    table.latencies("plain RQ, enqueue to start", lambda: floor.rq_start_latencies(raw))
    table.latencies(
        "submit to adapter, idle", lambda: ours.idle_latencies(here), "plain RQ, enqueue to start"
    )
    table.latencies("slot freed by finish to adapter", lambda: clocks.freed_to_delivered(here))
    for count in (2_000, 10_000):
        name = f"last of {count:,} schedules of one minute"
        table.add(name, "s", lambda count=count: fires.last_of_a_minute(here, count))
    table.add("a day of minutely schedules, caught up", "/s", lambda: fires.catch_up_rate(here))
    table.add("last of 500 due now behind that day", "s", lambda: fires.live_behind_a_backlog(here))
    table.latencies("tick, nothing due of 100,000", lambda: fires.idle_tick(here))
    raw.flushall()
    with ours.web(url) as (port, _):
        ours.workspaces.create(here, "bench-http", {})
        ours.pretend_to_dispatch(here)
        for form, body in (("message/send", ours.message_send), ("short form", ours.short_form)):
            accepted(table, raw, port, form, body)
        ours.make_workspaces(here, 1)
        beat = {"seq": None, "active_tasks": 0}
        beats = [
            len(ours.http_load(port, "/workspaces/bench-0/heartbeat", lambda _: beat, 2)) / 2
            for _ in range(table.runs)
        ]
        table.put("heartbeats over HTTP, one web process", "/s", beats, "raw XADD")
        table.latencies(
            "slot freed to next turn, over HTTP", lambda: clocks.freed_to_handed_over(here, port)
        )
        raw.flushall()
        rss_mb, gap = clocks.runtime_under_a_lock(url, port)
        table.put("supervisor, resident", "MB", [rss_mb])
        table.put("longest beat gap of its interval, lock held", "%", [gap * 100])
    raw.flushall()
    overshoots = clocks.ceiling_overshoots(url)
    for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        value = percentile(overshoots, share) * 1000
        table.put(f"ceiling overshoot, 100 sessions, {label}", "ms", [value])
    here.clients.close()
    raw.close()


PARTS = {"speed": speed, "scale": scaling, "held": held, "out": outward, "rest": clocks_and_web}
ASKED_FOR = {"peers": peers.beside_others}  # installs other systems: not among "all"


if __name__ == "__main__":
    sys.exit(main())
