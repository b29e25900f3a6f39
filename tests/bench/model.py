"""``python -m tests.bench.model [--json FILE]``: what a load needs, and whether that is true.

Real processes are loaded with one thing at a time: heartbeats, polls, turns. What each costs, in
microseconds of processor by process and in Redis commands, and what goes through all workspaces
again and again (``rounds``), make the model: a sum. Then two points with everything at once are
foretold and measured. Processor time is told, not wall: other work on the machine counts little.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import gevent

from app.core import telemetry
from app.core.platform import Platform
from app.core.schema import ensure
from app.core.settings import Settings
from tests.bench import rounds, scale
from tests.bench.busy import REDIS, Busy
from tests.bench.keepalive import Connection
from tests.bench.load import SENDERS, Load, all_processes
from tests.bench.ours import sync_each_second
from tests.bench.rounds import Round
from tests.support import servers
from tests.support.wait import let_pass
from tests.support.world import ADMIN, World, real_platform

DRIVEN, BEAT_EVERY_S, POLL_S, DAY_S = 40, 30.0, 25.0, 86_400
SETTLE_S, POINT_S, UNIT_S, BASE_S, LIGHT = 15.0, 60.0, 20.0, 15.0, 40.0
POINTS = ((1_000, 20.0), (3_000, 40.0))  # workspaces, turns a second
UNITS = ("second", "beat", "poll", "turn")
ONE_TOKEN = {"TURNKEEPER_WAITERS_PER_TOKEN_MAX": "5000"}  # it stands for many here
PAPER = ((1_000, 100), (10_000, 50), (100_000, 20), (1_000_000, 5))  # workspaces, turns a day each


@dataclass(frozen=True)
class Cost:
    """Microseconds of processor by process, and Redis commands."""

    us: Mapping[str, float]
    commands: float

    def less(self, other: "Cost", count: float) -> "Cost":
        """Without so many of another; below zero there is only noise."""
        us = {who: max(0.0, us - other.us[who] * count) for who, us in self.us.items()}
        return Cost(us, max(0.0, self.commands - other.commands * count))

    def over(self, count: float) -> "Cost":
        """The part of one of so many."""
        return Cost({who: us / count for who, us in self.us.items()}, self.commands / count)


@dataclass(frozen=True)
class Rates:
    """A load: workspaces that beat and poll, and turns sent over HTTP, a second.

    A beat's cost has a tenth of a poll in it, by which it is measured that somebody hears it.
    """

    workspaces: int
    turns: float

    @property
    def beats(self) -> float:
        return self.workspaces / BEAT_EVERY_S

    @property
    def polls(self) -> float:
        return self.workspaces / POLL_S


@dataclass(frozen=True)
class Model:
    """What one of each costs. ``second``: what a second costs when nothing happens."""

    second: Cost
    beat: Cost
    poll: Cost
    turn: Cost
    rounds: Mapping[str, Round]

    def cores(self, rates: Rates) -> dict[str, float]:
        """Cores by process. Redis' is one thread: more than one means more than one server."""
        units = ((1.0, self.second), (rates.beats, self.beat), (rates.polls, self.poll))
        found = dict.fromkeys(self.second.us, 0.0)
        for count, cost in (*units, (rates.turns, self.turn)):
            for who, us in cost.us.items():
                found[who] += count * us / 1e6
        for one in self.rounds.values():
            worker, in_redis = one.cores(rates.workspaces)
            found["workers"] += worker
            found[REDIS] += in_redis
        return found


class Rig:
    """The processes under load, and what they used."""

    def __init__(self, here: World, platform: Platform) -> None:
        self.here, self.platform = here, platform
        self.busy = Busy(here.redis.url)

    def spent(self, run: Callable[[], object]) -> tuple[Cost, float]:
        """What everything used while this ran, and for how many seconds it did."""
        groups = {
            name: [one.pid for one in process.family()]
            for name, process in self.here.processes.items()
        }
        before = self._commands()
        with self.busy.over(groups):
            run()
        us = {who: spent_s * 1e6 for who, spent_s in self.busy.spent_s.items()}
        return Cost(us, self._commands() - before), self.busy.took_s

    def unit(self, base: Cost, run: Callable[[], float]) -> Cost:
        """What one of those costs of which ``run`` returns the number."""
        counts: list[float] = []
        cost, took_s = self.spent(lambda: counts.append(run()))
        return cost.less(base, took_s).over(counts[0])

    def _commands(self) -> int:
        return int(self.platform.clients.data.info("stats")["total_commands_processed"])


def learn(rig: Rig, ids: list[str]) -> Model:
    """One kind of load after the other, each light: what one costs when it comes alone."""
    let_pass(SETTLE_S)  # a process that starts works
    base, took_s = rig.spent(lambda: let_pass(BASE_S))
    second = base.over(took_s)

    def beats() -> float:
        load = Load(rig.here.port, 1, poll_s=UNIT_S / 2)  # a heartbeat is heard where a poll waits
        spawned = [gevent.spawn(load.agent, one) for one in ids]
        alone(load, UNIT_S, [*spawned, gevent.spawn(beating, load, ids, LIGHT)])
        return load.beaten

    def polls() -> float:
        load = Load(rig.here.port, 1, poll_s=1)
        alone(load, UNIT_S, [gevent.spawn(load.agent, one) for one in ids])
        return load.polled

    def turns() -> float:
        load = Load(rig.here.port, len(ids), poll_s=UNIT_S / 2)
        spawned = [gevent.spawn(load.agent, one) for one in ids]
        rate = LIGHT / 2
        alone(
            load,
            UNIT_S,
            [*spawned, *(gevent.spawn(load.open_loop, rate, at) for at in range(SENDERS))],
        )
        return len(load.waits)

    return Model(second, *(rig.unit(second, one) for one in (beats, polls, turns)), of_rounds())


def alone(load: Load, seconds: float, spawned: list[gevent.Greenlet]) -> None:
    """Let them run so long, then end in order: a turn left begun would hold its workspace."""
    let_pass(seconds)
    load.is_over = True
    gevent.joinall(spawned, timeout=POLL_S + 10, raise_error=True)


def of_rounds() -> dict[str, Round]:
    """Over workspaces of a server of their own: they fall silent."""
    binary = servers.binary_7() or servers.binary_62()
    assert binary is not None
    with servers.redis_server(binary) as server, real_platform(server.url) as platform:
        sync_each_second(server)
        ensure(platform.clients)
        scale.populate(platform, 5_000)
        return rounds.measure(platform, platform.settings)


def beating(load: Load, ids: list[str], rate: float) -> None:
    """A heartbeat to each in turn, so many a second."""
    began = time.perf_counter()
    with closing(Connection(load.port, ADMIN)) as line:
        while not load.is_over:
            load.pause(began + load.beaten / rate)
            place = ids[load.beaten % len(ids)]
            line.ask("POST", f"/workspaces/{place}/heartbeat", {"seq": None, "active_tasks": 0})
            load.beaten += 1


def point(rig: Rig, ids: list[str], rates: Rates) -> tuple[dict[str, float], float]:
    """Cores by process under a load, and turns a second that were answered meanwhile.

    ``ids``: the workspaces that there are; so many more are added. The first are sent to.
    """
    ids += scale.populate(rig.platform, rates.workspaces - len(ids), len(ids))
    load = Load(rig.here.port, DRIVEN, poll_s=POLL_S)
    spread_s = SETTLE_S / 2 / len(ids)
    spawned = [gevent.spawn_later(at * spread_s, load.agent, one) for at, one in enumerate(ids)]
    spawned += [gevent.spawn(beating, load, ids, rates.beats)]
    spawned += [gevent.spawn(load.open_loop, rates.turns, at) for at in range(SENDERS)]
    let_pass(SETTLE_S)
    before = len(load.waits)
    cost, took_s = rig.spent(lambda: let_pass(POINT_S))
    answered = (len(load.waits) - before) / took_s
    alone(load, 0, spawned)
    assert not load.unanswered, f"{load.unanswered} turns were not answered in time"
    return {who: us / took_s / 1e6 for who, us in cost.us.items()}, answered


def run(here: World, platform: Platform, ids: list[str]) -> dict[str, object]:
    """Learn, foretell, measure; prints as it goes."""
    rig = Rig(here, platform)
    model = learn(rig, ids)
    tell_costs(model)
    points = []
    for workspaces, turns in POINTS:
        rates = Rates(workspaces, turns)
        told = model.cores(rates)
        measured, answered = point(rig, ids, rates)
        points.append({"rates": vars(rates), "told": told, "measured": measured})
        print(f"\n{workspaces:,} workspaces, {turns:g} turns a second ({answered:.1f} answered)")
        for who, cores in told.items():
            print(f"  {who:20} foretold {cores:.3f} cores, measured {measured[who]:.3f}")
    print()
    for workspaces, each in PAPER:
        told = model.cores(Rates(workspaces, workspaces * each / DAY_S))
        row = ", ".join(f"{who} {cores:.2f}" for who, cores in told.items())
        print(f"{workspaces:>9,} workspaces, {each} turns a day each: cores: {row}")
    costs = {name: vars(getattr(model, name)) for name in UNITS}
    rounds_of = {name: vars(one) for name, one in model.rounds.items()}
    return {"points": points, "costs": costs, "rounds": rounds_of}


def tell_costs(model: Model) -> None:
    """The unit costs, a line each."""
    for name in UNITS:
        cost: Cost = getattr(model, name)
        row = ", ".join(f"{who} {us:,.0f}" for who, us in cost.us.items())
        print(f"{name:8} us: {row}; {cost.commands:.1f} commands", flush=True)
    for name, one in model.rounds.items():
        spent = f"worker {one.worker_us:.0f}, Redis {one.redis_us:.0f}"
        print(f"{name:10} us a workspace, every {one.every_s:g} s: {spent}", flush=True)


def main() -> int:
    """Print what was learned, the two points, and what is on paper."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.model")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    telemetry.configure_logs(Settings(log_level="ERROR"))
    with all_processes(DRIVEN, **ONE_TOKEN) as started:
        told = run(*started)
    if options.json:
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
