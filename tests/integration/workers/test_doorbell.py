"""The doorbell on a real Redis: rings coalesce, nothing depends on a job or on one ring."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import SimpleWorker
from rq.registry import StartedJobRegistry

from app.core import capacity, doorbell, keys, scripts, sessions, turns
from app.core import platform as platforms
from app.core.platform import Platform
from app.core.sessions import Claim
from scheduler.ticker import Ticker
from tests.support.wait import wait_until
from tests.support.world import new_workspace, open_turns, real_platform, world
from workers import jobs
from workers.adapters.base import Adapter
from workers.adapters.inbox import Inbox
from workers.adapters.scripted import Scripted
from workers.deliver import visit
from workers.sweep import sweep


def url_of(client: redis.Redis) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"


@pytest.fixture
def platform(real_redis: redis.Redis) -> Iterator[Platform]:
    with real_platform(url_of(real_redis), retry_backoff_s=0) as here:
        yield here


@contextmanager
def serving(platform: Platform, adapter: Adapter, slice_s: float = 30) -> Iterator[None]:
    thread = threading.Thread(target=jobs.serve, args=(platform, adapter, slice_s))
    thread.start()
    wait_until(lambda: platform.clients.control.zcard(keys.DISPATCHERS), 10)
    try:
        yield
    finally:
        platform.stopping.set()
        thread.join(20)
        platform.stopping.clear()


def room(platform: Platform, workspace_id: str, slots: int = 1) -> str:
    new_workspace(platform, workspace_id, max_concurrent=slots)
    beat = capacity.Beat(sessions=[], max_concurrent=slots)
    capacity.heartbeat(platform, workspace_id, beat)
    return workspace_id


def send(platform: Platform, workspace_id: str, text: str = "x") -> str:
    return turns.submit(platform, workspace_id, turns.Request(body={"text": text})).turn_id


def ready(platform: Platform) -> list[str]:
    return list(platform.clients.control.zrange(keys.READY, 0, -1))


def dispatch_jobs(platform: Platform) -> int:
    return int(doorbell.queue(platform, doorbell.DISPATCH).count)


def answer_at_once(claim: Claim, bound: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"text": "done"}


def test_rings_coalesce_and_however_many_leave_one_job(platform: Platform) -> None:
    for name in "ab":
        room(platform, name)
    for _ in range(50):
        for name in "ab":
            doorbell.ring(platform, name)
    assert ready(platform) == ["a", "b"], "who rang first is served first"
    assert dispatch_jobs(platform) == 1


def test_a_lost_ring_and_a_lost_job_are_made_up_for_by_one_sweep(platform: Platform) -> None:
    room(platform, "a")
    send(platform, "a")
    platform.clients.control.delete(keys.READY)
    doorbell.queue(platform, doorbell.DISPATCH).empty()
    assert sweep(platform) == 1
    assert (ready(platform), dispatch_jobs(platform)) == (["a"], 1)


def test_the_sweep_rings_nobody_who_has_no_room_or_nothing_to_do(platform: Platform) -> None:
    for name in ("idle", "full", "silent", "foreign"):
        room(platform, name)
    for name in ("full", "silent", "foreign"):
        send(platform, name)
    visit(platform, Inbox(), "full")
    send(platform, "full")
    platform.clients.data.delete(keys.of("silent")["capacity"])
    capacity.heartbeat(platform, "foreign", capacity.Beat(active_tasks=1))
    platform.clients.control.delete(keys.READY)
    assert sweep(platform) == 0


def test_one_slice_serves_many_workspaces(platform: Platform) -> None:
    names = [room(platform, f"w{n}") for n in range(20)]
    with serving(platform, Scripted(answer_at_once)):
        for name in names:
            send(platform, name)
        wait_until(lambda: not any(open_turns(platform, name) for name in names), 20)


@pytest.mark.parametrize(
    "free",
    [
        lambda platform, own: sessions.finish(platform, "a", own.id, own.fence, "completed", {}),
        lambda platform, own: sessions.release(
            platform, "a", own.id, own.fence, "released", "", counts=False
        ),
    ],
    ids=["finish", "release"],
)
def test_a_freed_slot_is_given_at_once(
    platform: Platform, free: Callable[[Platform, Any], str]
) -> None:
    room(platform, "a")
    with serving(platform, Scripted(lambda claim, bound: None)):
        for text in "ab":
            send(platform, "a", text)
        (own,) = wait_until(lambda: sessions.live(platform, "a"), 10)
        wait_until(lambda: sessions.get(platform, "a", own.id).started_at, 10)
        free(platform, own)

        def next_one() -> bool:
            return [s.id for s in sessions.live(platform, "a") if s.id != own.id] != []

        wait_until(next_one, 10)  # no heartbeat comes here, and no sweep


def test_the_first_heartbeat_with_room_drains_at_once(platform: Platform) -> None:
    room(platform, "a")
    capacity.heartbeat(platform, "a", capacity.Beat(active_tasks=1))  # busy with its own
    with serving(platform, Scripted(answer_at_once)):
        for text in "abc":
            send(platform, "a", text)
        capacity.heartbeat(platform, "a", capacity.Beat(active_tasks=1))
        assert len(open_turns(platform, "a")) == 3
        capacity.heartbeat(platform, "a", capacity.Beat(active_tasks=0))
        wait_until(lambda: not open_turns(platform, "a"), 10)  # no other comes, and no sweep


def test_a_backlog_of_ten_thousand_delays_a_neighbour_by_one_visit_at_most(
    platform: Platform,
) -> None:
    for name in ("busy", "other"):
        room(platform, name)
    fill(platform, "busy", 10_000)
    doorbell.ring(platform, "busy")
    order: list[str] = []

    def note(claim: Claim, bound: Mapping[str, Any]) -> Mapping[str, Any]:
        order.append(claim.body["text"])
        if len(order) == 95:
            send(platform, "other", "mine")
        return {}

    while "mine" not in order:
        (rung,) = platform.clients.control.zpopmin(keys.READY)
        visit(platform, Scripted(note), rung[0])
    between = order.index("mine") - 95
    assert 0 <= between <= platform.settings.claims_per_visit
    assert len(open_turns(platform, "busy")) > 9_000


def fill(platform: Platform, workspace_id: str, count: int) -> None:
    """So many turns in a few round trips."""
    args = platform.with_limits(
        "submit",
        {
            "lane": "chat",
            "origin": "chat",
            "body": '{"text": "theirs"}',
            "record": "{}",
            "digest": "",
            "coalesce": False,
            "max_wait_ms": 600_000,
            "expires_in_ms": None,
            "push_id": "",
            "push": "",
        },
    )
    script = scripts.load()["submit"]
    platform.clients.data.script_load(script.source)
    for start in range(0, count, 1000):
        pipe = platform.clients.data.pipeline(transaction=False)
        for number in range(start, start + 1000):
            given = {**args, "turn_id": f"trn_{number}"}
            extra = {"submit_key": keys.idempotency(workspace_id, "none")}
            encoded = scripts.encode(script, workspace_id, extra, given)
            pipe.execute_command("EVALSHA", script.sha, *encoded)
        pipe.execute()


def test_one_workspace_whose_visit_breaks_does_not_end_the_slice(platform: Platform) -> None:
    for name in ("broken", "well"):
        room(platform, name)

    def break_for_one(claim: Claim, bound: Mapping[str, Any]) -> Mapping[str, Any]:
        if claim.body["text"] == "broken":
            raise ValueError("of whatever kind")
        return {}

    with serving(platform, Scripted(break_for_one)):
        for name in ("broken", "well"):
            send(platform, name, name)
        wait_until(lambda: not open_turns(platform, "well"), 10)


def test_each_dotted_name_is_a_job(platform: Platform) -> None:
    names = [doorbell.DISPATCH_JOB, doorbell.REPAIR_JOB, *Ticker(platform).ticks]
    for name in names:
        job = doorbell.queue(platform, doorbell.CONTROL).create_job(name)
        assert callable(job.func), name


def test_a_worker_of_rq_serves_by_the_dotted_name(platform: Platform) -> None:
    """RQ's own worker, in this thread: the job it pops leaves the next one behind."""
    own = Platform(platform.settings.model_copy(update={"dispatch_slice_s": 30}), platform.clients)
    platforms.use(own)
    names = [room(platform, f"w{n}") for n in range(5)]
    for name in names:
        send(platform, name)
    assert dispatch_jobs(platform) == 1
    worker = SimpleWorker(
        [doorbell.queue(platform, doorbell.DISPATCH)], connection=platform.clients.rq
    )

    def end_the_slice() -> None:
        wait_until(lambda: all(sessions.live(platform, name) for name in names), 20)
        own.stopping.set()

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(end_the_slice)
        worker.work(burst=True, max_jobs=1, logging_level="WARNING")
        ending.result()
    assert all(len(sessions.live(platform, name)) == 1 for name in names)
    assert dispatch_jobs(platform) == 1, "the chain goes on"


@pytest.mark.e2e
def test_two_dispatch_workers_both_serve_and_a_killed_one_is_made_up_for(tmp_path: Path) -> None:
    with world(tmp_path, TURNKEEPER_DISPATCH_SLICE_S="1") as here:
        argv = [*here.add_workers().argv, "dispatch"]
        second = here.add("second", argv)
        with real_platform(here.redis.url) as platform:
            alive = keys.DISPATCHERS
            wait_until(lambda: platform.clients.control.zcard(alive) == 2, 60)
            second.kill9()
            first = here.processes["workers"].child("dispatch")
            room(platform, "a")
            first.kill()
            send(platform, "a")
            began = time.monotonic()
            wait_until(lambda: sessions.live(platform, "a"), 30)
            took_s = time.monotonic() - began
            longest_s = jobs.LEASE_S * 0.8  # a slice of one second has used up some of it
            assert took_s < longest_s, f"{took_s:.1f} s, though both leases last {jobs.LEASE_S} s"
            running = StartedJobRegistry(doorbell.DISPATCH, connection=platform.clients.rq)
            assert dispatch_jobs(platform) <= 1
            assert running.count <= 3


@pytest.mark.e2e
def test_a_ring_that_died_with_its_worker_is_made_up_for_at_the_next_start(tmp_path: Path) -> None:
    """No scheduler runs, so no sweep is ever due: the worker's own boot repairs."""
    beats_once = {"TURNKEEPER_HEARTBEAT_TTL_S": "60"}
    with world(tmp_path, **beats_once) as here, real_platform(here.redis.url) as platform:
        workers = here.add_workers()
        wait_until(lambda: platform.clients.control.zcard(keys.DISPATCHERS), 60)
        room(platform, "a")
        dispatch = workers.child("dispatch")
        dispatch.suspend()  # so that it cannot serve the ring that is about to be lost
        send(platform, "a")
        platform.clients.control.delete(keys.READY)
        dispatch.kill()
        wait_until(lambda: sessions.live(platform, "a"), 30)
