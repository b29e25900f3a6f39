"""Celery: one queue, a solo worker (no fork) in each process, acknowledged late."""

from celery import Celery

from tests.bench.peers import noting

ROLE, TOLD = noting.words()
NOTES = noting.Notes(TOLD.hold_s)
APP = Celery("bench", broker=TOLD.url)
APP.conf.update(task_ignore_result=True, task_acks_late=True, worker_hijack_root_logger=False)
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR")


@APP.task(name="item")
def item(key: int, at: int) -> None:
    """One item."""
    NOTES.item(key, at)


def main() -> None:
    """As told by the arguments."""
    if ROLE == "send":
        noting.send(TOLD, lambda key, at: item.apply_async((key, at)))
        return
    APP.connection().ensure_connection()
    NOTES.begin()
    APP.worker_main(["worker", "--pool=solo", *QUIET])


if __name__ == "__main__":
    main()
