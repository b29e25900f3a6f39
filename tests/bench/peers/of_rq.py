"""Plain RQ: one queue, a SimpleWorker (no fork) in each process."""

import redis
from rq import Queue, SimpleWorker

from tests.bench.peers import noting

ROLE, TOLD = noting.words()
NOTES = noting.Notes(TOLD.hold_s)


def main() -> None:
    """As told by the arguments."""
    client = redis.Redis.from_url(TOLD.url, protocol=2)
    queue = Queue("bench", connection=client)
    if ROLE == "send":
        job = "tests.bench.peers.of_rq.NOTES.item"
        noting.send(TOLD, lambda key, at: queue.enqueue(job, key, at, result_ttl=0))
        return
    worker = SimpleWorker([queue], connection=client)
    client.ping()
    NOTES.begin()
    worker.work(logging_level="ERROR")


if __name__ == "__main__":
    from tests.bench.peers import of_rq  # the job's module, which is not the one that was started

    of_rq.main()
