"""What a chaos run does to a world: kills, stops, restarts, cuts and delays, chosen by a seed."""

import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median

import psutil

from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.world import World

PARTS = ("web", "workers", "scheduler", "one", "two", "redis", "dispatch", "control")
TARGETS = {
    "kill": PARTS,
    "stop": PARTS,
    "restart": ("web", "workers", "scheduler", "one"),
    "cut": ("store", "front"),
    "delay": ("store", "front"),
}
STOP_S, DELAY_S = (0.3, 2.5), (0.02, 0.25)


@dataclass
class Faults:
    """A world's faults; ``recovered``: kind and target -> seconds until work flowed again."""

    here: World
    store: Proxy
    front: Proxy
    random: random.Random
    wait: Callable[[float], object]
    left: list[tuple[str, str]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    recovered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def one(self) -> str:
        """The next fault, over when this returns; its name. All come before one comes again."""
        if not self.left:
            self.left = [(kind, target) for kind in TARGETS for target in TARGETS[kind]]
            self.random.shuffle(self.left)
        kind, target = self.left.pop()
        name = f"{kind} {target}"
        self.done.append(name)
        getattr(self, f"_{kind}")(target)
        return name

    def _kill(self, target: str) -> None:
        if target in ("dispatch", "control"):
            with suppress(psutil.Error):
                self.here.processes["workers"].child(target).kill()  # its keeper starts it again
        elif target == "redis":
            self.here.redis.kill9()
            self.wait(self.random.uniform(0, 1.0))
            start_store(self.here)
        else:
            process = self.here.processes[target]
            process.kill9()
            self.wait(self.random.uniform(0, 0.5))
            start(process)

    def _stop(self, target: str) -> None:
        stopped = self._family(target)
        for process in stopped:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGSTOP)
        self.wait(self.random.uniform(*STOP_S))
        for process in stopped:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)

    def _family(self, target: str) -> list[psutil.Process]:
        if target == "redis":
            return [psutil.Process(self.here.redis.process.pid)]
        if target in ("dispatch", "control"):
            return [self.here.processes["workers"].child(target)]
        return self.here.processes[target].family()

    def _restart(self, target: str) -> None:
        process = self.here.processes[target]
        process.terminate(30)
        start(process)

    def _cut(self, target: str) -> None:
        (self.store if target == "store" else self.front).cut()

    def _delay(self, target: str) -> None:
        proxy = self.store if target == "store" else self.front
        proxy.delay_s = self.random.uniform(*DELAY_S)
        self.wait(self.random.uniform(*STOP_S))
        proxy.delay_s = 0.0

    def figures(self) -> str:
        """A line for each fault: how often, and the seconds after it until work flowed again."""
        rows = []
        for name in sorted(set(self.done)):
            took = self.recovered.get(name, [])
            told = f"median {median(took):.2f} s, worst {max(took):.2f} s" if took else "-"
            rows.append(f"{name:18} {self.done.count(name):3} times, {told}")
        return "\n".join(rows)


def start(process: Process) -> None:
    """Start again what was killed; nothing of its group is left to hold its port."""
    process.end()
    process.start()


def start_store(here: World) -> None:
    """Redis again, as the world sets it up: each write on disk before its answer."""
    here.redis.start()
    with here.redis.client() as client:
        client.config_set("appendfsync", "always")


def elapsed(began: float) -> float:
    return time.monotonic() - began
