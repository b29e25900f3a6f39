"""A2A push notifications through the same engine."""

import base64
import json
from typing import Any

import pytest
import standardwebhooks

from app.core import keys, lines
from app.core.platform import Platform
from tests.integration.workers.test_webhooks import Serve, platform, run_until, served, service
from tests.support.kernel import Kernel
from tests.support.receiver import Receiver, receiver, status
from tests.support.wait import wait_until

__all__ = ["platform", "served"]


def turn(platform: Platform) -> tuple[Kernel, str]:
    kernel = Kernel(platform, "w1")
    kernel.beat(seq=1, instance="i", sessions=[])
    return kernel, kernel.submit().turn_id


def push(platform: Platform, turn_id: str, told: Receiver, **fields: Any) -> str:
    """As the routes of push configurations do it: put, then a hint."""
    key = f"{turn_id}:c1"
    config = {"id": "c1", "task_id": turn_id, "url": told.url, "protocol": "1.0", **fields}
    platform.clients.data.hset(keys.of("w1")["push"], key, json.dumps(config))
    lines.hint_push(platform, "w1")
    return f"push|{key}"


def run(kernel: Kernel) -> None:
    session = kernel.claimed().session
    kernel.bind(session)
    kernel.start(session)
    kernel.finish(session, text="the answer")


def states(told: Receiver) -> list[str]:
    bodies = [json.loads(one.body) for one in told.got]
    return [(body.get("task") or body)["status"]["state"] for body in bodies]


@pytest.mark.parametrize("protocol", ["0.3", "1.0"])
def test_the_states_of_a_turn_are_pushed_and_then_the_line_is_done(
    platform: Platform, served: Serve, protocol: str
) -> None:
    kernel, turn_id = turn(platform)
    with receiver() as told:
        login = {"scheme": "Bearer", "credentials": "s3cret"}
        line = push(platform, turn_id, told, token="tok", authentication=login, protocol=protocol)
        session = kernel.claimed().session
        kernel.bind(session)
        kernel.start(session)
        served(lambda: told.got)
        kernel.finish(session, text="the answer")
        served(lambda: len(told.got) == 2)
        wanted = ["working", "completed"]
        if protocol == "1.0":
            wanted = [f"TASK_STATE_{word.upper()}" for word in wanted]
        assert states(told) == wanted
        one = told.got[0]
        assert one.headers["authorization"] == "Bearer s3cret"
        assert one.headers["x-a2a-notification-token"] == "tok"
        key = base64.b64encode(b"tok").decode()
        standardwebhooks.Webhook(key).verify(one.body, one.headers)
        [found] = lines.standing(platform, ["w1"])
        assert found.lines[line].done_at is not None
        kernel.submit()
        served(lambda: True)
        assert len(told.got) == 2


def test_a_receiver_that_fails_gets_the_end_all_the_same(platform: Platform, served: Serve) -> None:
    kernel, turn_id = turn(platform)
    with receiver(status(500), status(500), status(200)) as told:
        push(platform, turn_id, told)
        run(kernel)
        served(lambda: len(told.got) == 3)
        assert states(told)[-1] == "TASK_STATE_COMPLETED"
        rows = lines.attempts(platform, ["w1"], "push", "", 10)
        assert "tok" not in json.dumps(rows)


def test_a_dead_receiver_is_given_up_with_its_turn(platform: Platform, served: Serve) -> None:
    kernel, turn_id = turn(platform)
    with receiver(status(410)) as told:
        line = push(platform, turn_id, told)
        run(kernel)

        def is_done() -> bool:
            [found] = lines.standing(platform, ["w1"])
            return line in found.lines and not found.lines[line].is_open

        served(is_done)
        assert len(told.got) == 1


def test_a_configuration_that_is_taken_back_ends_its_line(
    platform: Platform, served: Serve
) -> None:
    _, turn_id = turn(platform)
    with receiver() as told:
        line = push(platform, turn_id, told)
        own = keys.of("w1")
        served(lambda: platform.clients.data.hexists(own["lines"], line))
        platform.clients.data.hdel(own["push"], line.removeprefix("push|"))
        lines.hint_push(platform, "w1")
        served(lambda: not platform.clients.data.hexists(own["lines"], line))
        assert not platform.clients.data.exists(own["owed"])


def test_a_turn_that_ended_before_anybody_looked_is_pushed(platform: Platform) -> None:
    kernel, turn_id = turn(platform)
    with receiver() as told:
        push(platform, turn_id, told)
        run(kernel)
        with service(platform) as made:
            run_until(made, lambda: told.got)
        wait_until(lambda: states(told)[-1] == "TASK_STATE_COMPLETED", 10)


def test_an_end_that_comes_between_the_look_and_the_closing_is_pushed(platform: Platform) -> None:
    kernel, turn_id = turn(platform)
    with receiver() as told, service(platform) as made:
        line = push(platform, turn_id, told)
        session = kernel.claimed().session
        kernel.bind(session)
        kernel.start(session)

        def is_idle() -> bool:
            [found] = lines.standing(platform, ["w1"])
            return line in found.lines and not found.lines[line].owes(found.last_event_id)

        run_until(made, is_idle)
        [found] = lines.standing(platform, ["w1"])
        kernel.finish(session, text="the answer")
        made._act(found)
        run_until(made, lambda: len(told.got) == 2)
        assert states(told)[-1] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_hint_that_is_lost_or_of_a_clock_gone_back_costs_a_slice_at_most(
    platform: Platform, is_lost: bool
) -> None:
    control = platform.clients.control
    lines.hint_push(platform, "w1")
    control.zadd(keys.PUSHES, {"w2": platform.now_ms() + 1_000_000})
    with receiver() as told, service(platform) as made:
        made.run(0.1)
        before = control.zscore(keys.PUSHES, "w1")
        kernel, turn_id = turn(platform)
        push(platform, turn_id, told)
        if is_lost:
            control.zadd(keys.PUSHES, {"w1": before})
        run(kernel)
        made.run(0.1)
        run_until(made, lambda: told.got, 10)
