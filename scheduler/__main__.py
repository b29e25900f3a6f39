"""``python -m scheduler``: rq-scheduler as the ticker.

It enqueues three periodic jobs and nothing else: one rq-scheduler job per cron schedule lost
schedules for ever when it was killed in a busy pass, and two schedulers doubled fires. The jobs
are registered again, idempotently, at every boot; any number of tickers may run.
"""

import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import structlog
from redis.exceptions import RedisError
from rq_scheduler import Scheduler

from app.core import doorbell, schema, telemetry
from app.core.errors import SettingsFault
from app.core.platform import Platform
from app.core.settings import Settings

log = structlog.get_logger("scheduler")


def ticks(settings: Settings) -> dict[str, int]:
    """The periodic jobs by dotted name, and every how many seconds."""
    return {
        "scheduler.jobs.fire_due": 1,
        "workers.jobs.reap": max(1, int(settings.reap_interval_s)),
        "workers.jobs.sweep": max(1, int(settings.sweep_interval_s)),
    }


def register(platform: Platform, scheduler: Any) -> None:
    """Put the periodic jobs in place; a repeat replaces them."""
    for name, interval_s in ticks(platform.settings).items():
        scheduler.schedule(
            scheduled_time=datetime.now(UTC).replace(tzinfo=None),
            func=name,
            interval=interval_s,
            result_ttl=-1,  # anything else deletes a periodic job after its first run
            id="tick-" + name.rsplit(".", 1)[1].replace("_", "-"),
            queue_name=doorbell.CONTROL,
            timeout=120,
        )


def main(argv: Sequence[str]) -> int:
    """Tick until told to stop; exit 1 on bad settings. Survives a Redis that goes away."""
    if argv:
        print("usage: python -m scheduler", file=sys.stderr)
        return 2
    try:
        settings = Settings.from_env()
    except SettingsFault as fault:
        print(
            "\n".join(f"setting refused: {line}" for line in fault.fields["faults"]),
            file=sys.stderr,
        )
        return 1
    telemetry.configure_logs(settings)
    platform = Platform.start(settings)

    def stop(number: int, frame: FrameType | None) -> None:
        platform.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not platform.stopping.is_set():
        try:
            tick(platform, platform.stopping)
        except RedisError as error:
            log.warning("redis is away; trying again", error=str(error))
            platform.clock.wait(platform.stopping, 1)
    return 0


def tick(platform: Platform, stopping: threading.Event) -> None:
    """Enqueue what is due, once a second, until stopped."""
    schema.ensure(platform.clients.control)
    scheduler = Scheduler(queue_name=doorbell.CONTROL, connection=platform.clients.rq, interval=1)
    register(platform, scheduler)
    log.info("scheduler started")
    while not stopping.is_set():
        if scheduler.acquire_lock():
            try:
                scheduler.enqueue_jobs()
            finally:
                scheduler.remove_lock()
        platform.clock.wait(stopping, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
