"""One RQ worker process on one queue."""

from types import FrameType
from typing import Any

import structlog
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.timeouts import TimerDeathPenalty

from app.core import doorbell, platform, schema
from app.core.errors import UnknownSchema
from app.core.platform import Platform
from app.core.settings import Settings

AWAY_S = 0.5
log = structlog.get_logger(__name__)


def work(settings: Settings, queue_name: str) -> int:
    """Run one RQ worker until it is told to stop; exit 1 where the schema is not ours."""
    here = Platform.start(settings)
    platform.use(here)
    try:
        boot(here, queue_name)
    except UnknownSchema as error:
        log.error("schema refused", detail=error.detail)
        return 1
    worker = make_worker(here, queue_name)
    log.info("worker started", queue=queue_name)
    worker.work(with_scheduler=False, logging_level="WARNING")
    return 0


def boot(here: Platform, queue_name: str) -> None:
    """Wait for Redis; then make up for a dispatch or delivery worker that was killed before.

    Raises:
        UnknownSchema.
    """
    while not here.stopping.is_set():
        try:
            schema.ensure(here.clients)
            if queue_name == doorbell.DISPATCH:
                doorbell.enqueue_dispatch(here)
                doorbell.enqueue_repair(here)
            if queue_name == doorbell.DELIVERY:
                doorbell.enqueue_delivery(here)
            if queue_name == doorbell.AGENTS:
                doorbell.enqueue_agents(here)
        except RedisError as error:
            log.warning("redis is away; trying again", error=str(error))
            here.clock.wait(here.stopping, AWAY_S)
        else:
            return


def make_worker(here: Platform, queue_name: str) -> Any:
    """An RQ worker that ends the running job's wait when the process is told to stop."""

    class Worker(SimpleWorker):
        """No fork; back within two seconds of Redis (RQ's own pause grows to a minute)."""

        death_penalty_class = TimerDeathPenalty
        max_connection_wait_time = 2.0

        def request_stop(self, signum: int, frame: FrameType | None) -> None:
            here.stopping.set()
            super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    return Worker(
        [doorbell.queue(here, queue_name)],
        connection=here.clients.rq,
        worker_ttl=30,
        maintenance_interval=15,
        job_monitoring_interval=5,
    )
