"""A waiting request looks when something came that may concern it, and at nothing else."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.core import keys
from tests.integration.api.conftest import Make
from tests.support.wait import let_pass, wait_until
from tests.unit.api.web import Web

COUNT, PAUSE_S = 30, 0.02
A_POLL, A_SENDER = "cmdstat_evalsha", "cmdstat_hget"  # what one look of either is to the server


def looks_of(site: Web, kind: str) -> Callable[[], int]:
    """How often the server was asked what a look asks."""

    def count() -> int:
        told: Any = site.platform.clients.data.info("commandstats")
        return int(told.get(kind, {"calls": 0})["calls"])

    return count


def publish(site: Web, message: str) -> None:
    site.platform.clients.data.publish(keys.of("w1")["wake"], message)


def check_wakes(site: Web, looks: Callable[[], int], wanted: str, unwanted: str) -> None:
    wait_until(lambda: site.app.extensions["turnkeeper"].hub.waiting_count == 1, 10)
    before = looks()
    for _ in range(COUNT):
        publish(site, unwanted)
        let_pass(PAUSE_S)
    assert looks() - before < COUNT / 3, "each look that nothing called for is work for the server"
    for _ in range(3):
        before = looks()
        publish(site, wanted)
        wait_until(lambda: looks() > before, 10)  # noqa: B023


@pytest.mark.parametrize("wanted", ["1-0 TURN_DELIVERED other", "inbox"])
def test_an_open_poll(site: Web, wanted: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(site.ok, "GET", "/workspaces/w1/turns/next?wait_s=6")
        check_wakes(site, looks_of(site, A_POLL), wanted, "1-0 TURN_PROGRESS other")
        assert answer.result(20)["turn"] is None


def test_a_sender_that_waits_for_the_answer(make: Make) -> None:
    site = make(message_wait_s=30)
    site.workspace("w1")
    part = {"kind": "text", "text": "hello"}
    message = {"kind": "message", "messageId": "m", "role": "user", "parts": [part]}
    params = {"message": message, "configuration": {"blocking": True}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": params}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(site.ok, "POST", "/workspaces/w1/a2a", call)
        turns = keys.of("w1")["turns"]
        (turn_id,) = wait_until(lambda: site.platform.clients.data.hkeys(turns), 10)
        own, other = (f"1-0 TURN_PROGRESS {one}" for one in (turn_id, "other"))
        check_wakes(site, looks_of(site, A_SENDER), own, other)
        turn = f"/workspaces/w1/turns/{turn_id}"
        site.ok("POST", f"{turn}/cancel", {})
        assert answer.result(20)["result"]["status"]["state"] == "canceled"
