"""Alerts sent out: looked for beside the deliveries, told once, over when it is over."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from app.core import events, fleet, keys, webhooks
from app.core.platform import Platform
from tests.integration.workers.test_webhooks import SOON, Serve, run_until, service
from tests.support.receiver import Receiver, receiver
from tests.support.world import new_workspace, real_platform
from workers import alerts

NAMES = ("ALERT_OPENED", "ALERT_RECOVERED")
QUICK = {"alert_interval_s": 0.05, "alert_hold_s": 0.1, "alert_repeat_s": 60}


@pytest.fixture
def platform(real_redis: redis.Redis) -> Iterator[Platform]:
    port = real_redis.connection_pool.connection_kwargs["port"]
    with real_platform(f"redis://127.0.0.1:{port}/0", **SOON, **QUICK) as here:
        new_workspace(here, "w1")
        tick(here)
        yield here


@pytest.fixture
def served(platform: Platform) -> Iterator[Serve]:
    with service(platform) as made:
        yield lambda is_so: run_until(made, is_so)


def tick(platform: Platform) -> None:
    now = platform.now_ms()
    platform.clients.control.hset(keys.TICKS, mapping={"fire_due": now, "reap": now})


def hook(platform: Platform, told: Receiver, **fields: Any) -> None:
    webhooks.create(platform, {"url": told.url, "events": NAMES, **fields})


def bodies(told: Receiver) -> list[dict[str, Any]]:
    with told.lock:
        return [json.loads(one.body) for one in told.got]


def test_a_scheduler_that_falls_silent_is_told_by_who_does_not_depend_on_it(
    platform: Platform, served: Serve
) -> None:
    with receiver() as told:
        hook(platform, told)
        platform.clients.control.hdel(keys.TICKS, "fire_due")
        served(lambda: told.got)
        opened = bodies(told)[0]
        assert (opened["event"], opened["workspace_id"]) == ("ALERT_OPENED", None)
        assert opened["payload"]["condition"] == "scheduler_silent"
        assert "no schedule fires" in opened["payload"]["sentence"]
        tick(platform)
        served(lambda: len(told.got) == 2)
        over = bodies(told)[1]
        assert (over["event"], over["payload"]["condition"]) == (
            "ALERT_RECOVERED",
            "scheduler_silent",
        )


def test_a_workspace_is_told_of_in_its_own_stream_and_to_slack_in_a_sentence(
    platform: Platform, served: Serve
) -> None:
    with receiver() as told:
        hook(platform, told, format="slack", workspaces=("w1",))
        platform.clients.data.zadd(keys.of("w1")["dead"], {"trn_x": 1})
        served(lambda: told.got)
        assert bodies(told) == [
            {"text": "[warning] w1: 1 dead letter; nothing runs them again until you say so."}
        ]
        (opened,) = [one for one in events.latest(platform, "w1", 50) if one.event in NAMES]
        assert opened.payload["measured_count"] == 1


def test_it_is_over_in_a_workspace_where_nothing_stirs_any_more(
    platform: Platform, served: Serve
) -> None:
    """A look passes by those in which nothing stirs, but not those of which something is told."""
    with receiver() as told:
        hook(platform, told)
        platform.clients.data.zadd(keys.of("w1")["dead"], {"trn_x": 1})
        served(lambda: told.got)
        platform.clients.data.zrem(keys.of("w1")["dead"], "trn_x")
        assert fleet.stirring(platform, ["w1"]) == []
        served(lambda: len(told.got) == 2)
        assert [one["event"] for one in bodies(told)] == list(NAMES)


def test_a_look_reads_the_rows_only_where_something_stirs(platform: Platform) -> None:
    for at in range(100):
        new_workspace(platform, f"quiet-{at}")
    data: Any = platform.clients.data

    def commands_of_a_look() -> int:
        platform.clients.control.delete(alerts.HOLD)
        before = data.info("stats")["total_commands_processed"]
        alerts.look(platform)
        return int(data.info("stats")["total_commands_processed"] - before)

    commands_of_a_look()
    quiet = commands_of_a_look()
    for at in range(100):
        data.zadd(keys.of(f"quiet-{at}")["dead"], {"trn_x": 1})
    commands_of_a_look()
    assert commands_of_a_look() > 2 * quiet
    assert quiet < 100 * 5


def test_two_workers_that_look_at_once_tell_it_once(platform: Platform) -> None:
    platform.clients.control.hdel(keys.TICKS, "fire_due")
    with receiver() as told, service(platform) as one, service(platform) as other:
        hook(platform, told)
        stop = threading.Event()

        def look_on() -> None:
            while not stop.is_set():
                platform.clients.control.delete(alerts.HOLD)
                alerts.look(platform)

        lookers = [threading.Thread(target=look_on) for _ in range(3)]
        for looker in lookers:
            looker.start()

        def both() -> bool:
            other.step(0.01)
            return bool(told.got)

        run_until(one, both)
        stop.set()
        for looker in lookers:
            looker.join()
        assert len(events.latest(platform, keys.PLATFORM_PLACE, 50)) == 1


def test_a_look_that_breaks_is_tried_again_and_holds_no_delivery(
    platform: Platform, served: Serve
) -> None:
    """A workspace whose record cannot be read must not silence the alerts for good."""
    with receiver() as told:
        hook(platform, told)
        platform.clients.control.hset(keys.TICKS, "fire_due", "not a number")
        payload = {"severity": "warning", "sentence": "by hand"}
        events.append(platform, "w1", "ALERT_OPENED", payload)
        served(lambda: told.got)
        platform.clients.control.hdel(keys.TICKS, "fire_due")
        served(lambda: len(told.got) == 2)


def test_control_with_the_setting_at_0_nobody_looks(platform: Platform) -> None:
    platform.clients.control.hdel(keys.TICKS, "fire_due")
    quiet = {**platform.settings.model_dump(), "alert_interval_s": 0}
    here = Platform(type(platform.settings).model_validate(quiet), platform.clients)
    with service(here) as made:
        for _ in range(20):
            made.step(0.02)
    assert platform.clients.control.hget(keys.TICKS, "alerts") is None
