"""The doorbell: who may have something to claim, and an RQ job that goes to look.

An RQ job costs milliseconds, so it never carries a turn: rings go into the ready set, and one
dispatch job serves that set for a time slice. Losing every job and every ring loses no turn;
the sweep rings again.
"""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError
from rq import Queue

from app.core import keys, scripts
from app.core.platform import Platform
from app.core.redis_clients import BLOCK_S

DISPATCH = "dispatch"
CONTROL = "control"
DELIVERY = "delivery"
AGENTS = "agents"
QUEUES = (DISPATCH, CONTROL, DELIVERY, AGENTS)
DISPATCH_JOB = "workers.jobs.dispatch"
DELIVERY_JOB = "workers.jobs.deliver_owed"
AGENTS_JOB = "workers.jobs.serve_agents"
REPAIR_JOB = "workers.jobs.repair"
REPAIR_JOB_ID = "repair-hints"

log = logging.getLogger(__name__)


def ring(platform: Platform, workspace_id: str) -> None:
    """Say that a workspace may have something to claim; rings coalesce.

    What the ring is for has happened already, so a ring that fails is logged and no error: the
    sweep rings again.
    """
    try:
        alive = platform.run_control("ring", workspace_id=workspace_id)[1]
        if not alive:
            enqueue_dispatch(platform)
    except RedisError as error:
        log.warning("ring of %s lost, the sweep rings again: %s", workspace_id, error)


def ring_many(platform: Platform, workspace_ids: Collection[str]) -> None:
    """Ring for many workspaces in one round trip."""
    calls = [("", {"workspace_id": workspace_id}) for workspace_id in workspace_ids]
    if not calls:
        return
    try:
        replies = scripts.call_many(platform.clients.control, "ring", calls)
        if not all(isinstance(reply, list) and reply[1] for reply in replies):
            enqueue_dispatch(platform)
    except RedisError as error:
        log.warning("%d rings lost, the sweep rings again: %s", len(calls), error)


def to_the_back(platform: Platform, workspace_ids: Sequence[str]) -> None:
    """Ring for workspaces that have had their visit: they stand behind all that wait by now.

    An ordinary ring would leave one where its own turns, ending meanwhile, have rung it already:
    before a neighbour who came during the visit (measured: 25 claims of a backlog, not 20).
    """
    platform.run_control("to_the_back", workspace_ids=json.dumps(workspace_ids))


def enqueue_dispatch(platform: Platform) -> bool:
    """Enqueue a dispatch job unless one waits already. Returns whether it did.

    A job calls this before it serves, so while any dispatch worker lives one more job waits: a
    second worker takes it at once, and a killed one is followed as soon as it is started again.
    """
    jobs = queue(platform, DISPATCH)
    if jobs.count:
        return False
    jobs.enqueue(
        DISPATCH_JOB,
        job_timeout=int(platform.settings.dispatch_slice_s + 60),
        result_ttl=0,
        failure_ttl=60,
    )
    return True


def enqueue_delivery(platform: Platform) -> bool:
    """Enqueue a delivery job unless one waits already; as with dispatch, each calls for the next.

    Returns whether it did.
    """
    jobs = queue(platform, DELIVERY)
    if jobs.count:
        return False
    jobs.enqueue(
        DELIVERY_JOB,
        job_timeout=int(
            platform.settings.dispatch_slice_s + platform.settings.webhook_timeout_s + 60
        ),
        result_ttl=0,
        failure_ttl=60,
    )
    return True


def enqueue_agents(platform: Platform) -> bool:
    """Enqueue a job that talks to agents behind URLs, unless one waits already; each calls for the
    next.

    Returns whether it did.
    """
    jobs = queue(platform, AGENTS)
    if jobs.count:
        return False
    timeout_s = platform.settings.dispatch_slice_s + platform.settings.agent_timeout_s + 60
    jobs.enqueue(AGENTS_JOB, job_timeout=int(timeout_s), result_ttl=0, failure_ttl=60)
    return True


def enqueue_repair(platform: Platform) -> bool:
    """Have the hints repaired at once and not at the next sweep, unless that waits already."""
    jobs = queue(platform, CONTROL)
    if platform.clients.control.lpos(jobs.key, REPAIR_JOB_ID) is not None:
        return False
    jobs.enqueue(
        REPAIR_JOB, job_id=REPAIR_JOB_ID, job_timeout=120, ttl=60, result_ttl=0, failure_ttl=60
    )
    return True


def queue(platform: Platform, name: str) -> Any:
    """An RQ queue by name."""
    return Queue(name, connection=platform.clients.rq)


def next_ready(platform: Platform, wait_s: float) -> str | None:
    """Take the workspace that was rung first; waits up to ``wait_s`` (at most 5 s) for one."""
    found = platform.clients.blocking.bzpopmin(keys.READY, timeout=min(wait_s, BLOCK_S))
    return str(found[1]) if found else None


def next_ready_many(platform: Platform, wait_s: float, most: int) -> list[str]:
    """Take the workspaces that were rung first, at most so many; waits for the first of them.

    Their rings are gone with a process that dies now: the sweep rings again.
    """
    found = platform.clients.control.zpopmin(keys.READY, most)
    if found:
        return [str(workspace_id) for workspace_id, _ in found]
    first = next_ready(platform, wait_s)
    return [] if first is None else [first]


def watch_call(workspace_ids: Sequence[str], within_s: float) -> scripts.Call:
    """Has the reaper look at these workspaces within so long; of the control side."""
    args = {"workspace_ids": json.dumps(workspace_ids), "within_ms": _ms(within_s)}
    return scripts.Call("watch_all", "", args)


def watch_all(platform: Platform, workspace_ids: Sequence[str], within_s: float) -> None:
    """Have the reaper look at these workspaces within so long."""
    call = watch_call(workspace_ids, within_s)
    platform.run_control(call.name, **call.args)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def watch(platform: Platform, workspace_id: str, within_s: float) -> None:
    """Have the reaper look at a workspace within so long."""
    platform.run_control("watch", workspace_id=workspace_id, within_ms=_ms(within_s))


def watch_many(platform: Platform, within_s: Mapping[str, float]) -> None:
    """Have the reaper look at many workspaces, each within so long, in one round trip."""
    calls = [
        ("", {"workspace_id": workspace_id, "within_ms": _ms(seconds)})
        for workspace_id, seconds in within_s.items()
    ]
    if calls:
        scripts.call_many(platform.clients.control, "watch", calls)
