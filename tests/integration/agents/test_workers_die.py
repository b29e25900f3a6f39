"""Workers killed while agents work; agents stopped; agents asked to stop; agents that go away."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from app.core import sessions
from tests.integration.agents.conftest import SdkAgent, Site, site_on
from tests.support.kernel import Kernel
from tests.support.wait import wait_until
from tests.support.world import real_platform, settings_of, world
from workers.agents import Service

Start = Callable[..., SdkAgent]


@pytest.mark.e2e
@pytest.mark.parametrize("words", [(), ("no-stream",)])
def test_a_turn_goes_on_after_kill_9_of_its_worker(
    sdk_agent: Start, tmp_path: Path, words: tuple[str, ...]
) -> None:
    agent = sdk_agent(*words)
    with world(tmp_path, TURNKEEPER_EGRESS_ALLOW="127.0.0.0/8") as here:
        here.add_workers()
        with real_platform(here.redis.url, **settings_of(here).model_dump()) as platform:
            kernel = Kernel(platform, "w1").create(agent_url=agent.url)
            turn_id = kernel.submit("please work-9").turn_id
            wait_until(lambda: kernel.turn(turn_id).state == "running", 20)
            here.processes["workers"].child("agents").kill()
            wait_until(lambda: kernel.turn(turn_id).ended_at, 30)
            turn = kernel.turn(turn_id)
            assert (turn.state, turn.attempt) == ("completed", 1)
            assert len(agent.told()) == 1


def test_two_workers_do_not_follow_one_session(site: Site, sdk_agent: Start) -> None:
    agent = sdk_agent()
    site.services.append(Service(site.platform, lease_s=3))
    kernel = site.workspace(agent.url, max_concurrent=5)
    turn_ids = [kernel.submit("please work-1").turn_id for _ in range(5)]
    for turn_id in turn_ids:
        assert site.ended(kernel, turn_id).state == "completed"
    assert len(agent.told()) == 5


def test_a_worker_that_stops_in_order_hands_over_to_the_next(site: Site, sdk_agent: Start) -> None:
    agent = sdk_agent("no-stream")
    kernel = site.workspace(agent.url)
    turn_id = kernel.submit("please work-3").turn_id
    site.until(lambda: kernel.turn(turn_id).state == "running")
    site.services.pop().close()
    session = kernel.session(str(kernel.turn(turn_id).session_id))
    assert session.remote and session.held_until is None, "put down, not left to run out"
    site.services.append(Service(site.platform, lease_s=3))
    assert site.ended(kernel, turn_id).state == "completed"
    assert len(agent.told()) == 1


def test_a_stopped_agent_is_ended_by_the_ceiling_and_the_next_turn_waits_for_it(
    real_redis: redis.Redis, sdk_agent: Start
) -> None:
    settings = {"ceiling_s": 4, "checkpoint_grace_s": 1, "cancel_grace_s": 0.5}
    agent = sdk_agent()
    with site_on(real_redis, **settings, agent_timeout_s=1) as site:
        kernel = site.workspace(agent.url)
        turn_id = kernel.submit("please work-60").turn_id
        site.until(lambda: kernel.turn(turn_id).state == "running")
        os.kill(agent.process.pid, signal.SIGSTOP)
        try:
            assert site.ended(kernel, turn_id).state == "force_idled"
        finally:
            os.kill(agent.process.pid, signal.SIGCONT)
        site.until(lambda: agent.told("cancel"))


def test_a_late_answer_is_fenced(site: Site, sdk_agent: Start) -> None:
    agent = sdk_agent("no-stream")
    kernel = site.workspace(agent.url)
    turn_id = kernel.submit("please deaf-2").turn_id
    site.until(lambda: kernel.turn(turn_id).state == "running")
    session = kernel.session(str(kernel.turn(turn_id).session_id))
    assert sessions.reap(site.platform, "w1", session, "operator", 0, "", "as told")
    assert site.ended(kernel, turn_id).state == "force_idled"
    site.until(lambda: agent.told("cancel") or agent.told("canceled"))


def test_an_agent_without_heartbeats_is_probed_and_offline_when_it_goes(
    real_redis: redis.Redis, sdk_agent: Start
) -> None:
    times = {"heartbeat_interval_s": 0.3, "heartbeat_ttl_s": 1.5, "heartbeat_late_s": 0.9}
    agent = sdk_agent()
    with site_on(real_redis, **times, agent_probe_s=0.3) as site:
        kernel = site.workspace(agent.url)
        site.until(lambda: kernel.field("status") == "online")
        os.kill(agent.process.pid, signal.SIGSTOP)
        site.until(lambda: kernel.field("status") == "offline")
        os.kill(agent.process.pid, signal.SIGCONT)
        site.until(lambda: kernel.field("status") == "online")


def test_control_an_agent_that_beats_by_itself_is_not_probed(
    real_redis: redis.Redis, sdk_agent: Start
) -> None:
    times = {"heartbeat_interval_s": 0.3, "heartbeat_ttl_s": 1.5, "heartbeat_late_s": 0.9}
    agent = sdk_agent()
    with site_on(real_redis, **times, agent_probe_s=0.3) as site:
        kernel = site.workspace(agent.url)
        site.beat(kernel)
        site.until(lambda: kernel.field("status") == "offline")
