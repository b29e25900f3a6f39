"""Dramatiq: one queue, its worker with the eight threads it has by itself in each process."""

import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.peers import noting

ROLE, TOLD = noting.words()
NOTES = noting.Notes(TOLD.hold_s)
BROKER = RedisBroker(url=TOLD.url)
dramatiq.set_broker(BROKER)
ITEM = dramatiq.actor(NOTES.item, actor_name="item")


def main() -> None:
    """As told by the arguments."""
    if ROLE == "send":
        noting.send(TOLD, ITEM.send)
        return
    BROKER.client.ping()
    worker = dramatiq.Worker(BROKER)
    NOTES.begin()
    worker.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
