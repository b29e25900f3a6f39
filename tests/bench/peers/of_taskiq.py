"""taskiq: one Redis stream with acknowledgement, a receiver as it comes in each process."""

import asyncio

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from tests.bench.peers import noting

ROLE, TOLD = noting.words()
NOTES = noting.Notes(TOLD.hold_s)
BROKER = RedisStreamBroker(TOLD.url)


@BROKER.task(task_name="item")
async def item(key: int, at: int) -> None:
    """One item."""
    await NOTES.item_async(key, at)


async def main() -> None:
    """As told by the arguments."""
    if ROLE == "work":
        BROKER.is_worker_process = True
    await BROKER.startup()
    if ROLE == "send":
        await noting.send_async(TOLD, item.kiq)
        return
    NOTES.begin()
    await run_receiver_task(BROKER)


if __name__ == "__main__":
    asyncio.run(main())
