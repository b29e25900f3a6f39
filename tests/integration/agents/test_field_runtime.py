"""The field platform's runtime as client and as agent, against real processes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core import keys
from tests.support.field_agent import FieldAgent, field_agent
from tests.support.wait import wait_until
from tests.support.world import ADMIN, World, world

pytestmark = pytest.mark.e2e


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, TURNKEEPER_EGRESS_ALLOW="127.0.0.0/8") as made:
        made.add_web()
        made.add_workers()
        made.add_scheduler()
        with made.redis.client() as client:
            wait_until(lambda: client.hget(keys.TICKS, "reap"), 60)
        yield made


@contextmanager
def beating(here: World) -> Iterator[FieldAgent]:
    """A registered runtime that beats as a live one does."""
    with field_agent(here.url, "w1", ADMIN) as runtime:
        runtime.register()
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(0.4):
                with suppress(httpx.HTTPError):  # the next one counts
                    runtime.heartbeat()

        thread = threading.Thread(target=beat)
        runtime.heartbeat()
        thread.start()
        try:
            yield runtime
        finally:
            stop.set()
            thread.join()


def send(here: World, text: str = "hello", **message: Any) -> str:
    """In the field platform's form; returns the queue id."""
    parts = [{"kind": "text", "text": text}]
    body = {"method": "message/send", "params": {"message": {"role": "user", "parts": parts}}}
    body["params"]["message"].update(message)
    told = here.ask("POST", "/workspaces/w1/a2a", body)
    assert told["queued"] is True
    return str(told["queue_id"])


def turn(here: World, turn_id: str) -> Any:
    return here.ask("GET", f"/workspaces/w1/turns/{turn_id}")


def state(here: World, turn_id: str) -> str:
    return str(turn(here, turn_id)["state"])


def test_its_held_answer_completes_the_turn_and_its_reports_are_taken(here: World) -> None:
    with beating(here) as runtime:
        one = send(here, messageId="m-1")
        two = send(here, "and this")
        wait_until(lambda: runtime.got, 30)
        wait_until(lambda: state(here, one) == "running", 30)
        assert state(here, two) == "queued", "counted once: not as foreign work beside our own"
        runtime.log_activity("agent_log", "x")
        runtime.send_message_to_user("half way")
        runtime.commit_memory("it is so", "LOCAL")
        assert runtime.delegations() == []
        runtime.go.set()
        wait_until(lambda: state(here, two) == "completed", 30)
        assert turn(here, one)["result"]["text"] == "field done"
        assert [one["messageId"] for one in runtime.got][0] == "m-1"
        assert len(runtime.got) == 2


def test_a_message_drained_into_a_busy_agent_is_not_lost(here: World) -> None:
    with beating(here) as runtime:
        runtime.go.set()
        runtime.is_busy = True
        turn_id = send(here, messageId="m-busy")
        wait_until(lambda: turn(here, turn_id)["mechanism"] == "busy", 30)
        assert state(here, turn_id) == "queued" and not runtime.got
        runtime.is_busy = False
        wait_until(lambda: state(here, turn_id) == "completed", 30)
        assert [one["messageId"] for one in runtime.got] == ["m-busy"]


def test_a_killed_worker_returns_the_turn_only_when_the_agent_counts_it_no_more(
    here: World,
) -> None:
    with beating(here) as runtime:
        turn_id = send(here, messageId="m-killed")
        wait_until(lambda: state(here, turn_id) == "running", 30)
        here.processes["workers"].child("agents").kill()
        stays = threading.Event()
        assert not stays.wait(14), "the lease has run out, another worker has looked"
        assert state(here, turn_id) == "running", "the agent still counts it"
        assert len(runtime.got) == 1
        runtime.go.set()
        wait_until(lambda: state(here, turn_id) == "completed", 40)
        assert [one["messageId"] for one in runtime.got] == ["m-killed", "m-killed"]
        assert turn(here, turn_id)["attempt"] == 2
