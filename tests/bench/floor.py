"""What the same work costs without us: raw Redis streams, and an empty RQ job."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import redis
from rq import Queue, SimpleWorker
from rq.timeouts import TimerDeathPenalty

KEYS, ITEMS = 100, 50
RAW_LOOP = "raw XADD, XREADGROUP, XACK"


def raw_xadd(client: redis.Redis) -> float:
    """XADDs per second, one after another."""
    count = KEYS * ITEMS
    start = time.perf_counter()
    for at in range(count):
        client.xadd(f"raw:{at % KEYS}", {"body": "x"})
    return count / (time.perf_counter() - start)


def raw_loop(client: redis.Redis) -> float:
    """XADD, XREADGROUP, XACK: items per second through 100 streams of 50, ungated."""
    start = time.perf_counter()
    loop_over(client, range(KEYS))
    return KEYS * ITEMS / (time.perf_counter() - start)


def loop_over(client: redis.Redis, places: Sequence[int]) -> None:
    """The loop over some of the streams."""
    for key in places:
        client.xgroup_create(f"loop:{key}", "g", "0", mkstream=True)
    for at in range(len(places) * ITEMS):
        key = f"loop:{places[at % len(places)]}"
        client.xadd(key, {"body": "x"})
        reply: Any = client.xreadgroup("g", "c", {key: ">"}, count=1)
        client.xack(key, "g", reply[0][1][0][0])


def nothing() -> None:
    """An empty job."""


class Worker(SimpleWorker):
    """One that runs beside others in a thread."""

    death_penalty_class = TimerDeathPenalty

    def _install_signal_handlers(self) -> None:
        """Signals belong to the main thread."""


def rq_jobs(client: redis.Redis, count: int = 500) -> float:
    """Empty RQ jobs per second, enqueued before, run in this process without fork."""
    queue = Queue("bench", connection=client)
    for _ in range(count):
        queue.enqueue(nothing, result_ttl=0)
    worker: Any = Worker([queue], connection=client)
    start = time.perf_counter()
    worker.work(burst=True, logging_level="ERROR")
    return count / (time.perf_counter() - start)


STARTED: list[float] = []


def note_start() -> None:
    """A job that says when it started."""
    STARTED.append(time.perf_counter())


def rq_start_latencies(client: redis.Redis, count: int = 100) -> list[float]:
    """Seconds from enqueue to the job's start, on an idle RQ worker."""
    STARTED.clear()
    queue = Queue("bench-latency", connection=client)
    worker: Any = Worker([queue], connection=client)
    thread = threading.Thread(
        target=worker.work, kwargs={"max_jobs": count, "logging_level": "ERROR"}
    )
    thread.start()
    waits = []
    for at in range(count):
        sent = time.perf_counter()
        queue.enqueue(note_start, result_ttl=0)
        while len(STARTED) <= at:
            threading.Event().wait(0.0005)
        waits.append(STARTED[at] - sent)
    thread.join()
    return waits
