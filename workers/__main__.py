"""``python -m workers``: one RQ worker process per queue; ``… dispatch``: only that one.

One queue per process: with two, RQ takes jobs by BLPOP, and a death between the pop and the
start loses the job for ever. No fork per job: our jobs are short and ours.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import structlog
from rq import SimpleWorker
from rq.timeouts import TimerDeathPenalty

from app.core import doorbell, schema, telemetry
from app.core import platform as platforms
from app.core.errors import SettingsFault
from app.core.settings import Settings

log = structlog.get_logger("workers")


def main(argv: Sequence[str]) -> int:
    """Exit 0 after an orderly stop, 1 on bad settings, 2 on an unknown queue."""
    unknown = [name for name in argv if name not in doorbell.QUEUES]
    if unknown or len(argv) > 1:
        print(f"usage: python -m workers [{'|'.join(doorbell.QUEUES)}]", file=sys.stderr)
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
    return work(settings, argv[0]) if argv else supervise(settings)


def work(settings: Settings, queue_name: str) -> int:
    """Run one RQ worker until it is told to stop."""
    platform = platforms.Platform.start(settings)
    platforms.use(platform)
    schema.ensure(platform.clients.control)

    class Worker(SimpleWorker):
        """Ends the running job's wait when the process is told to stop."""

        death_penalty_class = TimerDeathPenalty

        def request_stop(self, signum: int, frame: FrameType | None) -> None:
            platform.stopping.set()
            super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    if queue_name == doorbell.DISPATCH:
        doorbell.enqueue_dispatch(platform)
    worker: Any = Worker(
        [doorbell.queue(platform, queue_name)],
        connection=platform.clients.rq,
        worker_ttl=30,
        maintenance_interval=15,
        job_monitoring_interval=5,
    )
    log.info("worker started", queue=queue_name)
    worker.work(with_scheduler=False, logging_level="WARNING")
    return 0


def supervise(settings: Settings) -> int:
    """Run one process per queue; start again what ends by itself, with a growing pause."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    keepers = [
        threading.Thread(target=_keep, args=(name, stopping, settings.drain_s), name=f"keep-{name}")
        for name in doorbell.QUEUES
    ]
    for keeper in keepers:
        keeper.start()
    for keeper in keepers:
        keeper.join()
    return 0


def _keep(queue_name: str, stopping: threading.Event, drain_s: float) -> None:
    pause_s = 0.5
    while not stopping.is_set():
        child = subprocess.Popen([sys.executable, "-m", "workers", queue_name])
        while child.poll() is None and not stopping.wait(0.2):
            pass
        if stopping.is_set():
            child.terminate()
            try:
                child.wait(drain_s)
            except subprocess.TimeoutExpired:
                log.warning("worker killed", queue=queue_name, mechanism="drain", limit_s=drain_s)
                child.kill()
                child.wait()
            return
        log.warning(
            "worker ended; starting it again", queue=queue_name, exit_status=child.returncode
        )
        stopping.wait(pause_s)
        pause_s = min(pause_s * 2, 10)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
