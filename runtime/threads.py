"""Threads that do not die in silence."""

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


def start(name: str, target: Callable[[], None], on_crash: Callable[[], None]) -> threading.Thread:
    """Run ``target`` in a daemon thread; if it raises, log it, call ``on_crash``, raise on."""

    def guarded() -> None:
        try:
            target()
        except BaseException:
            log.exception("thread_crashed", thread=name)
            on_crash()
            raise

    thread = threading.Thread(target=guarded, name=name, daemon=True)
    thread.start()
    return thread
