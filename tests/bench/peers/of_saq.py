"""saq: one queue, a worker with the ten jobs at once that it has by itself in each process."""

import asyncio
from typing import Any

from saq import Queue, Worker

from tests.bench.peers import noting

ROLE, TOLD = noting.words()
NOTES = noting.Notes(TOLD.hold_s)


async def item(context: Any, *, place: int, at: int) -> None:
    """One item; ``key`` is a name of saq's own."""
    await NOTES.item_async(place, at)


async def main() -> None:
    """As told by the arguments."""
    queue = Queue.from_url(TOLD.url)
    await queue.connect()
    if ROLE == "send":
        await noting.send_async(
            TOLD, lambda key, at: queue.enqueue("item", place=key, at=at, ttl=-1, timeout=0)
        )
        await queue.disconnect()
        return
    worker = Worker(queue, functions=[item])
    NOTES.begin()
    await worker.start()


if __name__ == "__main__":
    asyncio.run(main())
