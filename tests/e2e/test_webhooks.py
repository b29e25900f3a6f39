"""Webhooks with every process real: killed in the middle of a delivery, Redis restarted."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import standardwebhooks

from tests.support import receiver as receivers
from tests.support.receiver import Receiver, receiver, status
from tests.support.wait import wait_until
from tests.support.world import World, world

pytestmark = pytest.mark.e2e

TEXTS = [f"text-{number}" for number in range(8)]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    settings = {
        "TURNKEEPER_EGRESS_ALLOW": "127.0.0.0/8",
        "TURNKEEPER_WEBHOOK_TIMEOUT_S": "10",
        "TURNKEEPER_WEBHOOK_RETRY_S": "0.2",
        "TURNKEEPER_WEBHOOK_RETRY_MAX_S": "1",
        "TURNKEEPER_DISPATCH_SLICE_S": "3",
    }
    with world(tmp_path, **settings) as made:
        made.add_workers()
        made.add_scheduler()
        made.add_web()
        made.ask("POST", "/workspaces", {"id": "w1"})
        yield made


def hook(here: World, told: Receiver) -> dict[str, str]:
    body = {"url": told.url, "events": ["ACTIVITY_LOGGED"]}
    made: dict[str, str] = here.ask("POST", "/admin/webhooks", body)
    return made


def tell(here: World, text: str) -> None:
    here.ask("POST", "/workspaces/w1/activity", {"type": "agent_log", "summary": text})


def texts(told: Receiver) -> list[str]:
    with told.lock:
        return [json.loads(one.body)["payload"]["summary"] for one in told.got]


def test_a_worker_killed_between_the_request_and_the_answer_repeats_it_under_its_id(
    here: World,
) -> None:
    workers = here.processes["workers"]

    def kill(handler: receivers.Handler) -> None:
        workers.child("delivery").kill()  # it has sent; it will never hear the answer
        handler.say(200)

    with receiver(kill, status(200)) as told:
        made = hook(here, told)
        for text in TEXTS:
            tell(here, text)
        wait_until(lambda: len(told.got) == len(TEXTS) + 1, 60)
        assert texts(told) == [TEXTS[0], *TEXTS], "in order, the first one twice"
        assert told.ids[0] == told.ids[1]
        assert len(set(told.ids)) == len(TEXTS)
        for one in told.got:
            standardwebhooks.Webhook(made["secret"]).verify(one.body, one.headers)


def test_what_is_owed_outlives_a_restart_of_redis(here: World) -> None:
    with receiver(status(503)) as told:
        hook(here, told)
        for text in TEXTS:
            tell(here, text)
        wait_until(lambda: told.got, 40)
        here.redis.kill9()
        here.redis.start()
        told.then(status(200))
        wait_until(lambda: TEXTS[-1] in texts(told), 60)
        assert list(dict.fromkeys(texts(told))) == TEXTS


def test_a_webhook_hears_within_a_second_across_slices(here: World) -> None:
    """Slices of three seconds: an event between two of them waits for no other wake-up."""
    with receiver() as told:
        hook(here, told)
        tell(here, "first")
        wait_until(lambda: told.got, 40)
        for number in range(40):
            tell(here, str(number))
            wait_until(lambda count=number + 2: len(told.got) == count, 10, 0.005)
