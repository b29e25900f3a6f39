"""``python -m scheduler``: rq-scheduler as the ticker.

It enqueues three periodic jobs and nothing else: one rq-scheduler job per cron schedule lost
schedules for ever when it was killed in a busy pass, and two schedulers doubled fires. The jobs
are registered again, idempotently, at every boot; any number of tickers may run.
"""

import signal
import sys
from collections.abc import Sequence
from types import FrameType

import structlog
from redis.exceptions import RedisError

from app.core import schema, telemetry
from app.core.errors import SettingsFault, UnknownSchema
from app.core.platform import Platform
from app.core.settings import Settings
from scheduler.ticker import INTERVAL_S, Ticker

log = structlog.get_logger("scheduler")


def main(argv: Sequence[str]) -> int:
    """Tick until told to stop; exit 1 on bad settings or schema. Survives a Redis that goes."""
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
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    platform = Platform.start(settings)
    while True:
        try:
            run(platform)
        except RedisError as error:
            log.warning("redis is away; trying again", error=str(error))
            platform.clock.wait(platform.stopping, INTERVAL_S)
        except UnknownSchema as error:
            log.error("schema refused", detail=error.detail)
            return 1


def _stop(number: int, frame: FrameType | None) -> None:
    """End here and now, also in the middle of a read that a deaf Redis never answers: whatever is
    half done is what a kill would leave, and the next pass mends it."""
    raise SystemExit(0)


def run(platform: Platform) -> None:
    """Enqueue what is due, once a second, for ever.

    Raises:
        RedisError, UnknownSchema.
    """
    schema.ensure(platform.clients)
    ticker = Ticker(platform)
    ticker.register()
    log.info("scheduler started")
    while True:
        ticker.tick()
        platform.clock.wait(platform.stopping, INTERVAL_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
