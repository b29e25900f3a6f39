"""The web process as gunicorn runs it; only gunicorn imports this, and that reads the settings.

``gunicorn -c python:app.gunicorn_config 'app.wsgi:create_app()'``. Workers: gunicorn's own
default, which is ``WEB_CONCURRENCY`` or 1. Every lower-case name below that gunicorn knows is
one of its settings.
"""

import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import gevent

from app.core.errors import BodyTooSlow, SettingsFault
from app.core.settings import Settings, env_name


def _read() -> Settings:
    try:
        return Settings.from_env()
    except SettingsFault as fault:
        sys.exit("\n".join(f"setting refused: {line}" for line in fault.fields["faults"]))


_settings = _read()
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host

bind = f"{_host}:{_settings.port}"
# Measured: with threads, open streams starve other requests; with gevent they answer in 1 ms.
worker_class = "gevent"
# Each long poll and each stream holds a connection; the rest is for everyone else.
worker_connections = _settings.waiters_max + _settings.streams_max + 1_000
FILES_BESIDE = 512  # connections to Redis, the listening socket, modules being read
# A platform's drain window may be 10 s; what is still open after this is cut.
graceful_timeout = 8
# Idle connections hold a stopping worker, so shorter than graceful_timeout. It is also how long
# the head of a request may take, first to last byte; of the body: pre_request.
keepalive = 5
timeout = 30
limit_request_line = 8_190
limit_request_fields = 100
limit_request_field_size = 8_190
# Since 25.1 gunicorn opens a socket under $HOME through which it takes orders.
control_socket_disable = True
# The workers' liveness files: on a disk a slow fsync looks like a dead worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
errorlog = "-"
accesslog = None
loglevel = _settings.log_level.lower()
proc_name = "turnkeeper-web"


def _allow_files(wanted: int) -> None:
    """Raise the soft limit of open files, 1,024 in many shells, as far as the hard one allows.

    Each connection is a file: beyond the limit a web process answers 500, or nothing.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        names = f"{env_name('waiters_max')} and {env_name('streams_max')}"
        told = f"open files: at most {most} where {wanted} are wanted; raise the hard limit"
        sys.stderr.write(f"{told} (ulimit -Hn, LimitNOFILE), or lower {names}\n")


_allow_files(worker_connections + FILES_BESIDE)


def post_worker_init(worker: Any) -> None:
    """Tell the application at SIGTERM, not after: gunicorn has no hook for it.

    Without this, open streams hold the worker for all of graceful_timeout (measured: 8.1 s
    against 0.4 s), because gunicorn's own handler only marks the worker as stopping.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        worker.handle_exit(number, frame)
        # Not here: the signal may have interrupted gevent's hub, where nothing may wait.
        gevent.spawn(_stop, worker)

    signal.signal(signal.SIGTERM, stop)


def pre_request(worker: Any, request: Any) -> None:
    """The head is here: from now on the body has so long. gunicorn itself waits for ever."""
    unreader, took_at = request.unreader, time.monotonic()
    unreader.chunk = _within(unreader.chunk, took_at, _settings.body_timeout_s)


def post_request(worker: Any, request: Any, *_: Any) -> None:
    """The next request on this connection has a time of its own."""
    request.unreader.__dict__.pop("chunk", None)


def _within(read: Callable[..., bytes], began_at: float, limit_s: float) -> Callable[..., bytes]:
    def chunk(size_hint: int | None = None) -> bytes:
        left_s = began_at + limit_s - time.monotonic()
        with gevent.Timeout(max(0.001, left_s)) as timer:
            try:
                return read(size_hint)
            except gevent.Timeout as late:
                if late is not timer:
                    raise
        raise BodyTooSlow(
            f"the body did not arrive within {limit_s:g} s",
            mechanism="body_timeout",
            limit_s=limit_s,
            measured_s=round(time.monotonic() - began_at, 3),
            setting=env_name("body_timeout_s"),
        )

    return chunk


def worker_int(worker: Any) -> None:
    """SIGINT and SIGQUIT; gunicorn's gevent worker calls this in a greenlet of its own."""
    _stop(worker)


def worker_exit(server: Any, worker: Any) -> None:
    """The last word, for ways out that send no signal; ``stop()`` may be called twice."""
    _stop(worker)


def _stop(worker: Any) -> None:
    """``stop()`` of the application's runtime; a worker that failed to load has none."""
    runtime = getattr(worker.app.callable, "extensions", {}).get("turnkeeper")
    if runtime is not None and hasattr(runtime, "stop"):
        runtime.stop()
