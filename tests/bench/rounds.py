"""What goes through all workspaces again and again, and what one workspace costs it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.core import history, invariant_reports, workspaces
from app.core.platform import Platform
from app.core.settings import Settings
from workers import alerts, sweep, trimming
from workers.jobs import TRIM_EVERY_MS

CHECKED = 200


@dataclass(frozen=True)
class Round:
    """One round: µs of processor for each workspace, in the worker and in Redis, and how often."""

    worker_us: float
    redis_us: float
    every_s: float

    @property
    def worker_us_a_second(self) -> float:
        return self.worker_us / self.every_s

    @property
    def redis_us_a_second(self) -> float:
        return self.redis_us / self.every_s


def measure(here: Platform, settings: Settings) -> dict[str, Round]:
    """Each round, in this process, over the workspaces that there are; the intervals as set."""
    every = list(workspaces.all_ids(here))

    def check() -> None:
        for workspace_id in every[:CHECKED]:
            invariant_reports.run(here, workspace_id)

    def look() -> None:
        here.clients.control.delete(alerts.HOLD)
        alerts.look(here)

    rounds: Mapping[str, tuple[Callable[[], Any], int, float]] = {
        "sweep": (lambda: sweep.sweep(here), len(every), settings.sweep_interval_s),
        "alerts": (look, len(every), settings.alert_interval_s),
        "trim": (lambda: trimming.trim(here), len(every), TRIM_EVERY_MS / 1000),
        "history": (lambda: history.take(here), len(every), history.EVERY_MS / 1000),
        "invariants": (check, CHECKED, settings.invariants_interval_s),
    }
    found = {}
    for name, (run, count, every_s) in rounds.items():
        run()  # the first one meets what the last round never saw
        redis_s, worker_s = redis_spent(here), time.process_time()
        run()
        spent = time.process_time() - worker_s, redis_spent(here) - redis_s
        found[name] = Round(spent[0] / count * 1e6, spent[1] / count * 1e6, every_s)
    return found


def redis_spent(here: Platform) -> float:
    """Seconds of processor of the thread that serves."""
    info = here.clients.data.info("everything")
    return float(info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"])
