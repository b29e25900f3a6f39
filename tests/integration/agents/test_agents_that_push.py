"""Agents that push: a turn ends when its agent says so, not at the next look."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from app.core import redis_clients
from tests.integration.agents.conftest import SdkAgent, Site, site_on
from tests.integration.agents.test_ill_agents import rpc
from tests.support.kernel import Altered, Kernel
from tests.support.receiver import Receiver, receiver
from tests.support.served import serving
from tests.unit.api.web import Web, web
from workers.agents import Service

Start = Callable[..., SdkAgent]
POLL_S = 8.0
SLOW = {"agent_poll_s": POLL_S, "agent_poll_max_s": POLL_S}
COUNT = "session.pushes = (session.pushes or 0) + 1"
WAKE = "redis.call('LPUSH', K.agents_wake, A.workspace_id)"
TOKEN = "X-A2A-Notification-Token"  # noqa: S105 - a header's name


@contextmanager
def pushed_to(real_redis: redis.Redis, *altered: str) -> Iterator[tuple[Web, Site]]:
    """A web process that agents reach (one of its scripts altered), and a worker that looks rarely
    by itself."""
    client = Altered(real_redis, *altered) if altered else real_redis
    with (
        web(redis_clients.shared(client)) as made,
        serving(made.app) as port,
        site_on(real_redis, public_url=f"http://127.0.0.1:{port}/", **SLOW) as site,
    ):
        yield made, site


def duration_s(site: Site, kernel: Kernel, words: str) -> float:
    """From before the task is looked at first, so that the next look comes later, to its end."""
    began = time.monotonic()
    turn_id = kernel.submit(words).turn_id
    assert site.ended(kernel, turn_id).state == "completed"
    return time.monotonic() - began


@pytest.mark.parametrize("words", [("push",), ("push", "old")])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_last_push_ends_the_turn_well_before_the_next_look(
    real_redis: redis.Redis, sdk_agent: Start, words: tuple[str, ...], workers: int
) -> None:
    agent = sdk_agent("no-stream", *words)
    with pushed_to(real_redis) as (_, site):
        site.services += [Service(site.platform, lease_s=3) for _ in range(workers - 1)]
        kernel = site.workspace(agent.url)
        assert 1 < duration_s(site, kernel, "please work-1.5") < POLL_S - 0.5


def test_control_without_the_pushs_count_the_end_is_seen_at_the_next_look(
    real_redis: redis.Redis, sdk_agent: Start
) -> None:
    agent = sdk_agent("no-stream", "push")
    with pushed_to(real_redis, "agent_push", COUNT, "session.pushes = 0") as (_, site):
        kernel = site.workspace(agent.url)
        assert duration_s(site, kernel, "please work-1.5") > POLL_S - 0.5


@pytest.mark.parametrize("is_woken", [True, False])
def test_a_push_wakes_the_worker_that_would_renew_its_leases_much_later(
    real_redis: redis.Redis, sdk_agent: Start, is_woken: bool
) -> None:
    """And as a control: without the ring it does not hear of it before the next look."""
    agent = sdk_agent("no-stream", "push")
    altered = () if is_woken else ("agent_watch", WAKE, "")
    with pushed_to(real_redis, *altered) as (_, site):
        site.services[0].close()
        site.services[0] = Service(site.platform, lease_s=60, renew_s=50)
        kernel = site.workspace(agent.url)
        took_s = duration_s(site, kernel, "please work-1.5")
        assert took_s < POLL_S - 0.5 if is_woken else took_s > POLL_S - 0.5


def test_a_question_and_its_answer_are_pushed_too(
    real_redis: redis.Redis, sdk_agent: Start
) -> None:
    agent = sdk_agent("no-stream", "push")
    with pushed_to(real_redis) as (_, site):
        kernel = site.workspace(agent.url)
        turn_id = kernel.submit("ask", context_id="ctx-1").turn_id
        assert site.ended(kernel, turn_id).state == "input_required"
        began = time.monotonic()
        kernel.follow(turn_id, "please work-1.5")
        assert site.until(lambda: kernel.turn(turn_id).state == "completed")
        assert time.monotonic() - began < POLL_S - 0.5
        assert len(agent.told()) == 2


def task(state: str) -> dict[str, Any]:
    shown = {"state": state, "timestamp": "2030-01-01T00:00:00Z"}
    return {"kind": "task", "id": "t-1", "contextId": "c-1", "status": shown}


def calls(told: Receiver, method: str) -> list[dict[str, Any]]:
    with told.lock:
        rows = [json.loads(one.body) for one in told.got if one.body]
    return [row["params"] for row in rows if row["method"] == method]


def old_one(site: Site, told: Receiver, pushes: bool = True) -> Kernel:
    """A workspace of an agent of 0.3 whose card says whether it pushes."""
    able = {"pushNotifications": pushes}
    card = {"name": "x", "url": told.url, "protocolVersion": "0.3", "capabilities": able}
    kernel = site.workspace(told.url, agent_card=card)
    site.beat(kernel)
    return kernel


def invitation(told: Receiver) -> tuple[str, str]:
    """Path and token, as the agent was told."""
    given = calls(told, "message/send")[-1]["configuration"]["pushNotificationConfig"]
    return urlsplit(given["url"]).path, given["token"]


def test_only_what_the_agent_answers_counts_and_not_what_is_pushed(
    real_redis: redis.Redis,
) -> None:
    working, done = rpc(task("working")), rpc(task("completed"))
    with receiver(rpc(task("submitted")), working) as told, pushed_to(real_redis) as (made, site):
        kernel = old_one(site, told)
        turn_id = kernel.submit().turn_id
        site.until(lambda: calls(told, "tasks/get"))
        path, token = invitation(told)

        def push(given: str) -> int:
            body = task("completed")
            return made.ask("POST", path, body, token=None, headers={TOKEN: given}).status_code

        assert push("forged") == 401
        assert push(token) == 204
        site.until(lambda: len(calls(told, "tasks/get")) == 2, POLL_S - 1)
        assert kernel.turn(turn_id).state == "running"
        told.then(done)
        assert push(token) == 204
        assert site.ended(kernel, turn_id, POLL_S - 1).state == "completed"
        assert push(token) == 410


def test_an_agent_that_pushes_each_word_is_not_asked_for_each(real_redis: redis.Redis) -> None:
    with (
        receiver(rpc(task("submitted")), rpc(task("working"))) as told,
        pushed_to(real_redis) as (made, site),
    ):
        kernel = old_one(site, told)
        kernel.submit()
        site.until(lambda: calls(told, "tasks/get"))
        path, token = invitation(told)
        began = time.monotonic()
        for _ in range(40):
            assert made.ask("POST", path, token=None, headers={TOKEN: token}).status_code == 204
            site.step()
        looks = len(calls(told, "tasks/get"))
        assert 1 < looks <= 2 + (time.monotonic() - began) / 0.25


@pytest.mark.parametrize("pushes", [True, False])
def test_an_agent_that_takes_no_pushes_gets_its_message_all_the_same(
    real_redis: redis.Redis, pushes: bool
) -> None:
    unsupported = rpc(error={"code": -32003, "message": "Push Notification is not supported"})
    answers = [unsupported] if pushes else []
    with receiver(*answers, rpc(task("completed"))) as told, pushed_to(real_redis) as (_, site):
        kernel = old_one(site, told, pushes)
        assert site.ended(kernel, kernel.submit().turn_id).state == "completed"
        asked = [one["configuration"] for one in calls(told, "message/send")]
        assert ["pushNotificationConfig" in one for one in asked] == [True, False][not pushes :]


def test_where_nobody_said_how_to_reach_us_nothing_is_asked_for(site: Site) -> None:
    with receiver(rpc(task("completed"))) as told:
        kernel = old_one(site, told)
        turn_id = kernel.submit().turn_id
        assert site.ended(kernel, turn_id).state == "completed"
        assert "pushNotificationConfig" not in calls(told, "message/send")[0]["configuration"]
        assert kernel.session(str(kernel.turn(turn_id).session_id)).push_digest is None
