"""How many dispatch workers there should be."""

from app.core import keys, workspaces
from app.core.platform import Platform

PAGE = 1000


def desired_workers(runnable: int, per_worker: int, workers_max: int) -> int:
    """One for each ``per_worker`` workspaces that wait for a visit; never none, for the first turn
    after a quiet time must not wait for a process to start."""
    return max(1, min(workers_max, -(-runnable // per_worker)))


def running(platform: Platform) -> int:
    """Sessions that hold a slot, in all workspaces."""
    total, every = 0, list(workspaces.all_ids(platform))
    for page in workspaces.in_pages(every, PAGE):
        pipe = platform.clients.data.pipeline(transaction=False)
        for workspace_id in page:
            pipe.zcard(keys.of(workspace_id)["live"])
        total += sum(pipe.execute())
    return total
