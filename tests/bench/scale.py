"""Whether a claim, and Redis, notice how many workspaces there are or how many turns wait."""

import random
import time
from contextlib import suppress

from app.core import capacity, keys, sessions, turns, workspaces
from app.core.errors import AlreadyExists
from app.core.platform import Platform
from tests.bench.clocks import dispatcher
from tests.bench.ours import make_workspaces
from tests.support.wait import wait_until
from workers.adapters.scripted import Scripted

TEMPLATE = "template"
CLAIMS, PAGE = 2_000, 500
SLOTS = 100_000


def populate(here: Platform, count: int, first: int = 0) -> list[str]:
    """So many idle workspaces, numbered from ``first``: copies of one that was created and has
    beaten."""
    data, control = here.clients.rq, here.clients.control
    with suppress(AlreadyExists):
        workspaces.create(here, TEMPLATE, {"max_concurrent": SLOTS})
    capacity.heartbeat(here, TEMPLATE, capacity.Beat(seq=1, active_tasks=0))
    prefix = f"tk:{{{TEMPLATE}}}:"
    found = [key.decode() for key in data.scan_iter(match=f"tk:{{{TEMPLATE}}}:*", count=1000)]
    dumps = {key.removeprefix(prefix): (data.dump(key), max(0, data.pttl(key))) for key in found}
    ids = [f"ws-{at:06}" for at in range(first, first + count)]
    now_ms = here.now_ms()
    for start in range(0, count, PAGE):
        page = ids[start : start + PAGE]
        pipe = data.pipeline(transaction=False)
        for workspace_id in page:
            for name, (dump, ttl_ms) in dumps.items():
                pipe.restore(f"tk:{{{workspace_id}}}:{name}", ttl_ms, dump)
        pipe.execute()
        control.zadd(keys.WORKSPACES, dict.fromkeys(page, now_ms))
        control.zadd(keys.DEADLINES, dict.fromkeys(page, now_ms + 90_000))
    return ids


def memory_bytes(here: Platform) -> int:
    """What Redis has allocated."""
    return int(here.clients.data.info("memory")["used_memory"])


def idle_workspace_bytes(here: Platform, count: int) -> float:
    """Bytes of Redis for one idle workspace, with its share of the hints."""
    make_workspaces(here, 1)
    before = memory_bytes(here)
    populate(here, count)
    return (memory_bytes(here) - before) / count


def queued_turn_bytes(here: Platform, count: int = 10_000) -> float:
    """Bytes of Redis for one waiting turn with a short body."""
    (workspace_id,) = make_workspaces(here, 1)
    turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
    before = memory_bytes(here)
    for _ in range(count):
        turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
    return (memory_bytes(here) - before) / count


def claims_among(here: Platform, count: int) -> list[float]:
    """Seconds of each claim, in workspaces drawn from so many."""
    ids = populate(here, count)
    chosen = random.Random(7).choices(ids, k=CLAIMS)
    for workspace_id in chosen:
        turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
    return [_claim_s(here, workspace_id) for workspace_id in chosen]


def claims_before(here: Platform, waiting: int) -> list[float]:
    """Seconds of each claim in one workspace, with so many turns left waiting behind it."""
    (workspace_id,) = make_workspaces(here, 1, SLOTS)
    for _ in range(waiting - 1):
        turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
    took = []
    for _ in range(CLAIMS):
        turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
        took.append(_claim_s(here, workspace_id))
    return took


def neighbours_wait(here: Platform, waiting: int, count: int = 200) -> list[float]:
    """Seconds from submit to adapter, while another workspace's backlog is served."""
    busy, other = make_workspaces(here, 2)
    had: list[float] = []

    def answer(claim: sessions.Claim, bound: object) -> dict[str, str]:
        if claim.body["text"] == "mine":
            had.append(time.perf_counter())
        return {"text": ""}

    for _ in range(waiting):
        turns.submit(here, busy, turns.Request(body={"text": "theirs"}))
    waits = []
    with dispatcher(here, Scripted(answer)):
        for at in range(count):
            sent = time.perf_counter()
            turns.submit(here, other, turns.Request(body={"text": "mine"}))
            wait_until(lambda at=at: len(had) > at, 5, 0.0002)
            waits.append(had[at] - sent)
        assert here.clients.data.zcard(keys.of(busy)["open"]), "the backlog was gone before"
    return waits


def _claim_s(here: Platform, workspace_id: str) -> float:
    start = time.perf_counter()
    found = sessions.claim(here, workspace_id)
    took_s = time.perf_counter() - start
    assert isinstance(found, sessions.Claim), found
    return took_s
