"""The deliveries of one line: deaths, shares, and a webhook that is changed meanwhile."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
import standardwebhooks

from app.core import keys, lines, webhook_post, webhooks
from app.core.platform import Platform
from app.core.webhooks import Webhook
from tests.integration.workers.test_webhooks import (
    Serve,
    behind,
    hook,
    outcomes,
    platform,
    served,
    tell,
    texts,
)
from tests.support import receiver as receivers
from tests.support.receiver import receiver, status
from workers.courier import Courier, Served

__all__ = ["platform", "served"]


class Killed(BaseException):
    """The process is gone: nothing after this runs."""


class Dying(httpx.BaseTransport):
    """Dies once, after the receiver has answered and before anybody knows."""

    def __init__(self, inner: httpx.Client) -> None:
        self._inner, self.has_died = inner, False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.post(request.url, content=request.read(), headers=request.headers)
        if not self.has_died:
            self.has_died = True
            raise Killed
        return httpx.Response(answer.status_code)


def test_a_worker_that_dies_between_the_answer_and_the_settlement_repeats_the_event(
    platform: Platform,
) -> None:
    with receiver() as told, webhook_post.client(platform) as http:
        made = hook(platform, told)
        tell(platform)
        with httpx.Client(transport=Dying(http)) as dying:
            courier = Courier(platform, dying)
            with pytest.raises(Killed):
                courier.deliver("w1", made.id)
            again_s = courier.deliver("w1", made.id).again_s
            assert again_s is not None and 0 < again_s <= courier.lease_s, "its lease still holds"
            own = keys.of("w1")
            record = json.loads(str(platform.clients.data.hget(own["lines"], made.id)))
            record["lease_until"] = 1
            platform.clients.data.hset(own["lines"], made.id, json.dumps(record))
            courier.deliver("w1", made.id)
        assert len(told.ids) == 2
        assert len(set(told.ids)) == 1, "the receiver can tell the repeat by its id"
        assert not behind(platform)


def test_a_slow_receiver_does_not_keep_its_slot_while_others_wait(platform: Platform) -> None:
    with receiver() as told, webhook_post.client(platform) as http:
        made = hook(platform, told)
        for number in range(5):
            tell(platform, text=str(number))
        quick = Courier(platform, http, share_s=0)
        assert quick.deliver("w1", made.id) == Served(0.0, has_failed=False)
        assert texts(told) == ["0"], "one event at least, however slow"
        assert quick.deliver("w1", made.id).again_s == 0.0, "its line was put down"
        Courier(platform, http).deliver("w1", made.id)
        assert texts(told) == ["0", "1", "2", "3", "4"]


def test_a_line_that_another_holds_says_nothing_of_its_receiver(platform: Platform) -> None:
    with receiver() as told, webhook_post.client(platform) as http:
        made = hook(platform, told)
        tell(platform)
        lines.take(platform, "w1", made.id, "another", 5)
        left = Courier(platform, http).deliver("w1", made.id)
        assert (left.again_s or 0) > 0 and left.has_failed is None


def test_a_new_secret_signs_the_next_event_of_a_page(platform: Platform, served: Serve) -> None:
    rotated: list[Webhook] = []

    def rotate_once(handler: receivers.Handler) -> None:
        if not rotated:
            rotated.append(webhooks.rotate(platform, made.id))
        handler.say(200)

    with receiver(rotate_once) as told:
        made = hook(platform, told)
        tell(platform, text="one"), tell(platform, text="two")
        served(lambda: len(told.got) == 2)
        one = told.got[1]
        standardwebhooks.Webhook(rotated[0].secret).verify(one.body, one.headers)


def test_410_of_an_address_that_was_just_replaced_disables_nothing(
    platform: Platform, served: Serve
) -> None:
    def replaced(handler: receivers.Handler) -> None:
        webhooks.change(platform, made.id, {"url": new.url})
        handler.say(410)

    with receiver(replaced) as old, receiver() as new:
        made = hook(platform, old, workspaces=("w1",))
        tell(platform)
        served(lambda: new.got)
        assert webhooks.get(platform, made.id).enabled
        assert outcomes(platform, made)[0] == "retry"


@pytest.mark.parametrize(
    "answer", [status(200, b"x" * 200_000), status(200, b"zip", content_encoding="gzip")]
)
def test_2xx_has_taken_the_event_whatever_else_it_answers(
    platform: Platform, served: Serve, answer: receivers.Answer
) -> None:
    with receiver(answer) as told:
        made = hook(platform, told)
        tell(platform)
        served(lambda: not behind(platform))
        assert outcomes(platform, made) == ["acked"]


class Cut:
    """The data side at the moment of a settlement: the process dies before it."""

    def __getattr__(self, name: str) -> Any:
        raise Killed


def test_a_death_before_the_settlement_of_410_leaves_the_webhook_disabled(
    platform: Platform,
) -> None:
    dying = replace(platform, clients=replace(platform.clients, once=Cut()))
    with receiver(status(410)) as told, webhook_post.client(platform) as http:
        made = hook(platform, told)
        tell(platform)
        with pytest.raises(Killed):
            Courier(dying, http).deliver("w1", made.id)
        assert not webhooks.get(platform, made.id).enabled
        assert not platform.clients.data.exists(keys.of("w1")["owed"])
