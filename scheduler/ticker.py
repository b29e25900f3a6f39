"""rq-scheduler as the ticker of three periodic jobs, mended where it lost or piled up ticks.

Measured: killed between its ZREM and ZADD it loses a job for ever; its lock outlives a killed
holder by 11 s; with no worker for an hour 3,600 copies of each tick wait; its times are of the
local clock, so one set back an hour stops the ticks for that hour. All of it is mended below,
and every tick may be late, doubled or lost without harm.
"""

from datetime import UTC, datetime
from typing import Any

from rq_scheduler import Scheduler

from app.core import doorbell
from app.core.platform import Platform
from app.core.settings import Settings

INTERVAL_S = 1
SWEEP = "workers.jobs.sweep"
LOCK_MS = 3000
# How long a job may take before it is ended. A sweep goes through all workspaces several times:
# 180 µs each, three minutes for a million.
TIMEOUT_S, SWEEP_TIMEOUT_S = 120, 900


def ticks(settings: Settings) -> dict[str, int]:
    """The periodic jobs by dotted name, and every how many seconds."""
    return {
        "scheduler.jobs.fire_due": INTERVAL_S,
        "workers.jobs.reap": max(1, int(settings.reap_interval_s)),
        SWEEP: max(1, int(settings.sweep_interval_s)),
    }


def job_id(name: str) -> str:
    """The id of a periodic job: always the same, so that a repeat replaces it."""
    return "tick-" + name.rsplit(".", 1)[1].replace("_", "-")


class Ticker(Scheduler):  # type: ignore[misc]
    """Enqueues what is due; keys of its own, so another application's jobs are not its concern."""

    scheduler_key = "tk:ticker"
    scheduler_lock_key = "tk:ticker:lock"
    scheduled_jobs_key = "tk:ticker:jobs"

    def __init__(self, platform: Platform) -> None:
        super().__init__(
            queue_name=doorbell.CONTROL, connection=platform.clients.rq, interval=INTERVAL_S
        )
        self.ticks = ticks(platform.settings)

    def acquire_lock(self) -> bool:
        """Only spares double work; a holder that was killed holds it for three seconds."""
        self._lock_acquired = bool(
            self.connection.set(self.scheduler_lock_key, self.name, px=LOCK_MS, nx=True)
        )
        return self._lock_acquired

    def register(self) -> None:
        """Put every periodic job in place, due now; a repeat replaces them."""
        for name in self.ticks:
            self._register(name)

    def _register(self, name: str) -> None:
        self.schedule(
            scheduled_time=datetime.now(UTC).replace(tzinfo=None),
            func=name,
            interval=self.ticks[name],
            result_ttl=-1,  # anything else deletes a periodic job after its first run
            id=job_id(name),
            queue_name=doorbell.CONTROL,
            timeout=SWEEP_TIMEOUT_S if name == SWEEP else TIMEOUT_S,
        )

    def mend(self) -> None:
        """Register again what is gone (Redis lost it) or stands too far off (a clock was set)."""
        now = datetime.now(UTC).timestamp()
        for name, interval_s in self.ticks.items():
            at = self.connection.zscore(self.scheduled_jobs_key, job_id(name))
            if at is None or at > now + interval_s + INTERVAL_S:
                self._register(name)

    def get_jobs_to_queue(self, with_times: bool = False) -> Any:
        """What is due, to the fraction: rq-scheduler compares whole seconds with the fractional
        times below, so that every second pass found nothing and ticks came each two seconds."""
        return self.get_jobs(datetime.now(UTC).timestamp(), with_times=with_times)

    def enqueue_job(self, job: Any) -> None:
        """Due again first, then into the queue, unless it waits there already.

        At a whole second: what is due is asked for by the second below now, so a job due at 11.3
        was passed over at 11.3 and each tick of a second came every two (measured).
        """
        now = int(datetime.now(UTC).timestamp())
        self.connection.zadd(self.scheduled_jobs_key, {job.id: now + job.meta["interval"]})
        queue = self.get_queue_for_job(job)
        if self.connection.lpos(queue.key, job.id) is None:
            queue.enqueue_job(job)

    def tick(self) -> bool:
        """One pass; False when another ticker was at it."""
        self.mend()
        if not self.acquire_lock():
            return False
        self.enqueue_jobs()
        self.remove_lock()  # not in a finally: with Redis gone it ends by itself
        return True
