"""Delivers the spool: at start, when rung, and again and again while the platform is down."""

import threading

import structlog

from runtime import backoff
from runtime.client import Platform, Refused, StaleFence, Unreachable
from runtime.settings import RuntimeSettings
from runtime.spool import Spool, Spooled

log = structlog.get_logger(__name__)


def deliver_all(platform: Platform, spool: Spool) -> bool:
    """One pass, oldest first; False when something has to be tried again.

    A report is dropped, with a log line, when the platform refuses it for good: its fence is
    stale, or the request is wrong. A refused *token* keeps it: tokens can be put right.
    """
    for spooled in spool.waiting():
        try:
            platform.spool(spooled.session_id, spooled.fence, spooled.reports)
        except Unreachable as error:
            log.info("spool_waits", session_id=spooled.session_id, error=str(error))
            return False
        except Refused as error:
            if error.is_about_the_token:
                log.error("spool_waits", session_id=spooled.session_id, error=str(error))
                return False
            _log_drop(spooled, error)
        else:
            log.info("spool_delivered", session_id=spooled.session_id, count=len(spooled.reports))
        spool.remove(spooled)
    return True


def run(
    platform: Platform, spool: Spool, settings: RuntimeSettings, stopping: threading.Event
) -> None:
    """Deliver until ``stopping`` is set; set ``spool.rung`` too, to wake it."""
    failures = 0
    while not stopping.is_set():
        is_idle = failures == 0 and spool.is_empty()
        spool.rung.wait(None if is_idle else _delay_s(failures, settings))
        spool.rung.clear()
        if stopping.is_set():
            return
        failures = 0 if deliver_all(platform, spool) else failures + 1


def _delay_s(failures: int, settings: RuntimeSettings) -> float:
    return backoff.delay_s(failures, settings.retry_min_s, settings.retry_max_s)


def _log_drop(spooled: Spooled, error: Refused) -> None:
    level = log.warning if isinstance(error, StaleFence) else log.error
    level(
        "spool_dropped",
        session_id=spooled.session_id,
        fence=spooled.fence,
        count=len(spooled.reports),
        error=str(error),
    )
