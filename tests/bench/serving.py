"""``python -m tests.bench.serving URL KIND``: one process of a measurement.

``dispatch``: a dispatch worker with an agent that answers at once, until it is ended. ``raw``: the
raw loop over the streams given, once.
"""

import signal
import sys
from typing import Any

import redis

from app.core import scripts, telemetry
from app.core.platform import Platform
from app.core.settings import Settings
from tests.bench import floor
from workers import jobs
from workers.adapters.scripted import Scripted

LONG_S = 600


def dispatch(url: str) -> None:
    """Serve the ready set until SIGTERM."""
    here = Platform.start(Settings(redis_url=url))
    signal.signal(signal.SIGTERM, lambda *_: here.stopping.set())
    here.clients.data.ping()
    scripts.load()  # what a process does once is no turn's cost
    print("ready", flush=True)
    sys.stdin.readline()
    jobs.serve(here, Scripted(lambda claim, bound: {"text": ""}), LONG_S)


def raw(url: str, first: int) -> None:
    """Half of the streams, once."""
    client: Any = redis.Redis.from_url(url, protocol=2)
    client.ping()
    print("ready", flush=True)
    sys.stdin.readline()
    floor.loop_over(client, range(first, floor.KEYS, 2))
    print("done", flush=True)
    sys.stdin.readline()


def main() -> int:
    """As told by the arguments."""
    telemetry.configure_logs(Settings(log_level="ERROR"))
    url, kind, *more = sys.argv[1:]
    if kind == "dispatch":
        dispatch(url)
    else:
        raw(url, int(more[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
