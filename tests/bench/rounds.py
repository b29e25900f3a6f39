"""What goes through all workspaces again and again, and what one workspace costs it."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.core import history, invariant_reports, workspaces
from app.core.platform import Platform
from app.core.settings import Settings
from workers import alerts, sweep, trimming
from workers.invariants import PASS_SHARE
from workers.jobs import TRIM_EVERY_MS

CHECKED = 200


@dataclass(frozen=True)
class Round:
    """One round: µs of processor for each workspace, in the worker and in Redis, and how often.

    ``share_most``: of one core, that the round takes in the worker; it then takes longer.
    """

    worker_us: float
    redis_us: float
    every_s: float
    share_most: float = math.inf

    def cores(self, workspaces: int) -> tuple[float, float]:
        """Of so many workspaces, in the worker and in Redis."""
        wanted = workspaces * self.worker_us / self.every_s / 1e6
        worker = min(wanted, self.share_most)
        return worker, worker * self.redis_us / self.worker_us


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
    most, found = {"invariants": PASS_SHARE}, {}
    for name, (run, count, every_s) in rounds.items():
        run()  # the first one meets what the last round never saw
        redis_s, worker_s = redis_spent(here), time.process_time()
        run()
        spent = time.process_time() - worker_s, redis_spent(here) - redis_s
        worker_us, redis_us = (one / count * 1e6 for one in spent)
        found[name] = Round(worker_us, redis_us, every_s, most.get(name, math.inf))
    return found


def redis_spent(here: Platform) -> float:
    """Seconds of processor of the thread that serves."""
    info = here.clients.data.info("everything")
    return float(info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"])
