"""``python -m workers`` and ``python -m scheduler``: stopped, killed, bereft of Redis."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core import keys
from tests.support.processes import Process, are_gone, module
from tests.support.wait import wait_until
from tests.support.world import PRODUCTS_REDIS_TIMEOUT, START_S, World, world

pytestmark = pytest.mark.e2e

WORKERS_STOP_S, SCHEDULER_STOP_S = 7, 5
LOGS = {"TURNKEEPER_LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, **LOGS, **PRODUCTS_REDIS_TIMEOUT) as made:
        yield made


def ticked(here: World, job: str = "reap") -> int:
    """When a control job last ran; 0: not yet."""
    with here.redis.client() as client:
        return int(client.hget(keys.TICKS, job) or 0)


def run_both(here: World) -> tuple[Process, Process]:
    """Workers and scheduler, seen to work."""
    both = here.add_workers(), here.add_scheduler()
    wait_until(lambda: ticked(here, "fire_due") and ticked(here), START_S)
    return both


def be_away(here: World, how: str) -> None:
    if how == "killed":
        here.redis.kill9()
    elif how == "deaf":
        os.kill(here.redis.process.pid, signal.SIGSTOP)


@pytest.mark.parametrize("how", ["there", "killed", "deaf"])
def test_sigterm_ends_workers_and_scheduler_in_time_and_their_children_too(
    here: World, how: str
) -> None:
    workers, scheduler = run_both(here)
    family = workers.family() + scheduler.family()
    assert len(family) == 6, "the keeper, its four, and the scheduler"
    be_away(here, how)
    took_s = scheduler.terminate()
    assert took_s < SCHEDULER_STOP_S
    assert scheduler.process is not None
    assert scheduler.process.returncode == 0
    took_s = workers.terminate()
    assert took_s < WORKERS_STOP_S
    assert are_gone(family)
    if how == "there":
        assert workers.process is not None
        assert workers.process.returncode == 0
        assert "worker killed" not in workers.output()
    if how == "deaf":
        os.kill(here.redis.process.pid, signal.SIGCONT)


def test_kill_9_of_the_keeper_takes_its_workers_along(here: World) -> None:
    workers, _ = run_both(here)
    family = workers.family()
    workers.kill9()
    wait_until(lambda: are_gone(family), 20)


def test_a_killed_worker_is_started_again_and_takes_up_its_work(here: World) -> None:
    workers, _ = run_both(here)
    victim = workers.child("control")
    victim.kill()
    wait_until(lambda: are_gone([victim]), 20)
    before = ticked(here)
    wait_until(lambda: ticked(here) > before, START_S)
    assert workers.child("control").pid != victim.pid


@pytest.mark.parametrize("how", ["killed", "deaf"])
def test_workers_and_scheduler_outlive_a_redis_that_was_away(here: World, how: str) -> None:
    workers, scheduler = run_both(here)
    be_away(here, how)
    gone_for = wait_until(lambda: "trying again" in scheduler.output() or how == "deaf", START_S)
    assert gone_for
    if how == "killed":
        here.redis.start()
    else:
        os.kill(here.redis.process.pid, signal.SIGCONT)
    before = ticked(here)
    wait_until(lambda: ticked(here) > before + 1500, START_S)
    with here.redis.client() as client:
        wait_until(lambda: client.zcard(keys.DISPATCHERS), START_S)
    assert scheduler.process is not None
    assert scheduler.process.poll() is None
    assert workers.process is not None
    assert workers.process.poll() is None


def test_nothing_of_rq_is_in_the_log_at_info(here: World) -> None:
    workers, scheduler = run_both(here)
    for process in (workers, scheduler):
        lines = [json.loads(line) for line in process.output().splitlines()]
        assert lines, "they say that they started"
        assert not [line for line in lines if str(line.get("logger", "")).startswith("rq")]
        assert {line["level"] for line in lines} == {"info"}


def test_an_unknown_queue_is_refused(here: World) -> None:
    process = here.add("wrong", module("workers", "nosuch"))
    assert process.process is not None
    assert process.process.wait(START_S) == 2
    assert "usage" in process.output()
