"""TURNKEEPER_ACK_REPLICAS: who is answered 2xx has it on a replica, or is told that not."""

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.core import confirming, keys, scripts, turns
from app.core.errors import NotReplicated
from app.core.platform import Platform
from app.core.records import Turn
from tests.integration.api.conftest import over
from tests.integration.topologies.flow import NAMES, main_flow, platform_of
from tests.support import servers, topologies
from tests.support.kernel import Kernel
from tests.support.servers import RedisServer
from tests.support.wait import wait_until
from tests.unit.api.web import Web

# Where a replica stands still, and where it only has to be waited for on a busy machine.
CONFIRMING = {"ack_replicas": 1, "ack_timeout_s": 0.3, "redis_timeout_s": 10}
SURE = {**CONFIRMING, "ack_timeout_s": 5}
PARTS = [{"kind": "text", "text": "hello"}]
SAID = {"message": {"kind": "message", "messageId": "m-1", "role": "user", "parts": PARTS}}
NEW = {"message": {"messageId": "m-2", "role": "ROLE_USER", "parts": [{"text": "hello"}]}}
SHORT = {"method": "message/send", "params": SAID}
RPC = {**SHORT, "jsonrpc": "2.0", "id": 1}


@pytest.fixture
def pair(binary: str) -> Iterator[list[RedisServer]]:
    with topologies.replicated(binary) as both:
        yield both


@contextmanager
def standing_still(server: RedisServer) -> Iterator[None]:
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@contextmanager
def confirming_site(master: RedisServer) -> Iterator[Web]:
    """A web process that waits for a replica, with a workspace made before."""
    with over(master, redis_timeout_s=10) as plain:
        plain.workspace("w1")
    with over(master, **CONFIRMING) as site:
        yield site


def test_every_script_is_confirmed_or_there_is_a_reason_why_not() -> None:
    assert not confirming.CONFIRMED & confirming.UNCONFIRMED
    assert scripts.load().keys() == confirming.CONFIRMED | confirming.UNCONFIRMED


def test_what_is_answered_2xx_is_on_the_replica(pair: list[RedisServer]) -> None:
    master, replica = pair
    with over(master, **SURE) as site:
        site.workspace("w1")
        accepted = {site.send("w1", f"hello {number}") for number in range(50)}
        master.kill9()
    with replica.client() as client:
        client.replicaof("NO", "ONE")
        kept = client.hgetall(keys.of("w1")["turns"])
    assert set(kept) == accepted
    assert {Turn.parse(text).state for text in kept.values()} == {"queued"}


def test_without_confirmation_a_2xx_may_be_on_no_replica(pair: list[RedisServer]) -> None:
    """The control of the test above."""
    master, replica = pair
    with over(master, redis_timeout_s=10) as site:
        site.workspace("w1")
        with standing_still(replica):
            assert site.send("w1", "hello")
            master.kill9()
            replica.kill9()  # what lies in its socket unread is as good as not sent
    replica.start()
    with replica.client() as client:
        client.replicaof("NO", "ONE")
        assert client.hlen(keys.of("w1")["turns"]) == 0


def test_a_silent_replica_is_told_and_the_same_request_again_is_answered_once_it_is_back(
    pair: list[RedisServer],
) -> None:
    master, replica = pair
    with confirming_site(master) as site:
        with standing_still(replica):
            for _ in range(2):  # a repeat writes nothing of its own, and is told the same
                began = time.monotonic()
                answer = site.ask("POST", "/workspaces/w1/a2a", SHORT)
                took_s = time.monotonic() - began
                told = answer.get_json()
                assert (answer.status_code, told["code"]) == (503, "not_replicated")
                assert int(answer.headers["Retry-After"]) > 0
                assert (told["mechanism"], told["limit_count"], told["measured_count"]) == (
                    "ack_replicas",
                    1,
                    0,
                )
                assert told["setting"] == "TURNKEEPER_ACK_REPLICAS"
                assert 0.25 < took_s < 5
            answer = site.ask("POST", "/workspaces/w1/a2a", RPC)
            assert answer.status_code == 503, answer.text
            assert "too few replicas" in answer.get_json()["error"]["message"]
            answer = site.ask("POST", "/workspaces/w1/a2a/message:send", NEW)
            assert answer.status_code == 503, answer.text
            assert site.ok("GET", "/workspaces/w1/turns")["turns"], "reading goes on"
        post = ("POST", "/workspaces/w1/a2a", SHORT)
        wait_until(lambda: site.ask(*post).status_code in (200, 202), 15)
        ids = [turn["id"] for turn in site.ok("GET", "/workspaces/w1/turns")["turns"]]
        assert len(ids) == len(set(ids))


def test_who_asked_for_a_change_is_told_though_it_is_not_confirmed(
    pair: list[RedisServer],
) -> None:
    master, replica = pair
    with confirming_site(master) as site:
        with standing_still(replica):
            answer = site.ask("POST", "/workspaces/w1/pause", {"reason": "maintenance"})
            assert (answer.status_code, answer.get_json()["code"]) == (503, "not_replicated")
        assert "paused_at" in site.platform.clients.data.hgetall(keys.of("w1")["workspace"])
        rows = site.ok("GET", "/workspaces/w1/events")["events"]
        (told,) = [row["payload"] for row in rows if row["event"] == "OPERATOR_ACTED"]
        assert told["operation"] == "pause_workspace"


def test_what_hangs_on_a_change_is_done_though_it_is_not_confirmed(
    pair: list[RedisServer],
) -> None:
    """The doorbell is rung: nobody waits for the sweep because a replica is away."""
    master, replica = pair
    with platform_of(master.url, **CONFIRMING) as platform:
        kernel = Kernel(platform).create()
        kernel.beat()
        confirming.begin()
        with standing_still(replica):
            kernel.submit()
            assert platform.clients.control.zscore(keys.READY, kernel.id) is not None
        with pytest.raises(NotReplicated):
            confirming.check()
        confirming.check()  # told once


def test_where_nobody_was_promised_anything_it_is_logged_and_work_goes_on(
    pair: list[RedisServer], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    master, replica = pair
    with platform_of(master.url, **CONFIRMING) as platform:
        kernel = Kernel(platform).create()
        kernel.beat()
        kernel.submit()
        with standing_still(replica), caplog.at_level(logging.WARNING):
            claim = kernel.claimed()
            kernel.bind(claim.session)
        assert kernel.taken().session.id == claim.session.id
        assert "ack_replicas" in capsys.readouterr().out + caplog.text


def test_a_cluster_confirms_on_the_server_that_holds_the_workspace(
    one_binary: str,
) -> None:
    with (
        topologies.cluster(one_binary, replicas=True) as here,
        servers.redis_server(one_binary) as control,
        platform_of(here.url, control_url=control.url, **SURE) as platform,
        platform_of(here.url, control_url=control.url, **CONFIRMING) as hasty,
    ):
        confirming.begin()
        main_flow(platform)
        confirming.check()
        owner = here.owner(keys.of(NAMES[0])["workspace"])
        with standing_still(here.replicas[here.masters.index(owner)]):
            submit(hasty, NAMES[0])
            with pytest.raises(NotReplicated):
                confirming.check()
        move_away(here, owner)
        submit(platform, NAMES[0])  # led to another server, and confirmed there
        confirming.check()


def submit(platform: Platform, workspace_id: str) -> turns.Accepted:
    return turns.submit(platform, workspace_id, turns.Request(body={"text": "do it"}))


def move_away(here: topologies.ClusterOfThree, owner: RedisServer) -> None:
    """An orderly failover: the replica becomes the master, the old one its replica."""
    replica = here.replicas[here.masters.index(owner)]
    topologies.fail_over_to(replica)
