"""The main flow on every topology, then the loss of a node and the way back."""

import json
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.core import keys
from app.core.errors import SettingsFault, TurnkeeperError
from app.core.platform import Platform
from app.core.redis_clients import connect
from app.core.settings import Settings
from tests.integration.api.conftest import over
from tests.integration.topologies.flow import NAMES, main_flow, platform_of
from tests.support import servers, topologies
from tests.support.kernel import Kernel
from tests.support.wait import wait_until

# Silence, the vote, and a busy machine; Sentinels that stood still rest for 30 s before they vote.
RECOVER_S = 60.0


def tell(what: str, **facts: object) -> None:
    """For the record of a run (``-rP``)."""
    print(json.dumps({"topology": what, **facts}))


def test_the_flow_on_one_server(binary: str) -> None:
    with servers.redis_server(binary) as server, platform_of(server.url) as platform:
        main_flow(platform)


def test_a_sentinel_set_fails_over_and_what_was_replicated_goes_on(binary: str) -> None:
    with topologies.sentinel_set(binary) as here, platform_of(here.url) as platform:
        flow = main_flow(platform)
        flow.submit("before the crash")
        settle(here.servers)
        with here.losing_its_master():
            here.master().kill9()
            took_s = flow.recover(RECOVER_S)
        tell("sentinel, master killed", server=Path(binary).name, recovered_s=round(took_s, 2))
        flow.submit("after the crash")
        flow.serve()
        flow.check()


def test_an_old_master_that_lives_on_as_a_replica_is_left(binary: str) -> None:
    """No connection breaks by itself there: what is refused as read-only must lead away."""
    with topologies.sentinel_set(binary) as here, platform_of(here.url) as platform:
        flow = main_flow(platform)
        old = here.master()
        settle(here.servers)
        here.fail_over()
        wait_until(lambda: here.master() is not old, RECOVER_S)
        took_s = flow.recover(RECOVER_S)
        tell("sentinel, told to fail over", server=Path(binary).name, recovered_s=round(took_s, 2))
        flow.submit("after")
        flow.serve()
        flow.check()
        wait_until(lambda: is_replica(old), RECOVER_S)


def is_replica(server: servers.RedisServer) -> bool:
    """Asked anew each time: a Sentinel that makes a server one closes its clients' connections."""
    with suppress(RedisConnectionError), server.client() as client:
        return bool(client.info("replication")["role"] == "slave")
    return False


def test_a_cluster_of_three_masters_with_a_control_side_of_its_own(binary: str) -> None:
    with (
        topologies.cluster(binary) as here,
        servers.redis_server(binary) as control,
        platform_of(here.url, control_url=control.url) as platform,
    ):
        main_flow(platform)
        for master in here.masters:
            with master.client() as client:
                assert client.dbsize() > 0, "each owns some of the workspaces"
        with control.client() as client:
            assert not list(client.scan_iter(match="tk:{*")), "no workspace is kept there"


def test_a_master_of_a_cluster_dies_and_its_replica_takes_over(binary: str) -> None:
    with (
        topologies.cluster(binary, replicas=True) as here,
        servers.redis_server(binary) as control,
        platform_of(here.url, control_url=control.url) as platform,
    ):
        flow = main_flow(platform)
        flow.submit("before the crash")
        settle([*here.masters, *here.replicas])
        with here.losing_a_master():
            here.owner(keys.of(NAMES[0])["workspace"]).kill9()
            took_s = flow.recover(RECOVER_S)
        tell("cluster, a master killed", server=Path(binary).name, recovered_s=round(took_s, 2))
        flow.submit("after the crash")
        flow.serve()
        flow.check()


def test_a_master_of_a_cluster_without_a_replica_comes_back(one_binary: str) -> None:
    """Its workspaces wait, the Cluster answers for none meanwhile, and nothing is lost."""
    with (
        topologies.cluster(one_binary) as here,
        servers.redis_server(one_binary) as control,
        platform_of(here.url, control_url=control.url) as platform,
    ):
        flow = main_flow(platform)
        flow.submit("before the crash")
        lost = here.owner(keys.of(NAMES[0])["workspace"])
        with here.losing_a_master():
            lost.kill9()
            with pytest.raises(RedisConnectionError):
                flow.submit("during")
            lost.start()
            took_s = flow.recover(RECOVER_S)
        tell("cluster, a master restarted", recovered_s=round(took_s, 2))
        flow.submit("during")
        flow.serve()
        flow.check()


def test_the_control_side_is_lost_and_written_again(one_binary: str) -> None:
    with (
        topologies.cluster(one_binary) as here,
        servers.redis_server(one_binary) as control,
        platform_of(here.url, control_url=control.url) as platform,
    ):
        flow = main_flow(platform)
        flow.submit("waiting")
        with control.client() as client:
            client.flushall()
        flow.serve()
        flow.check()
        assert platform.clients.control.zcard(keys.WORKSPACES) == len(NAMES)


def test_rediss_checks_the_certificate(tmp_path: Path) -> None:
    binary = speaking_tls()
    names = topologies.certificates(tmp_path)
    with topologies.tls_server(binary, names) as (_, url):
        with platform_of(url, redis_ca_cert=str(names.authority)) as platform:
            main_flow(platform)
        with platform_of(url, redis_tls_verify=False) as platform:
            platform.clients.data.ping()
            platform.clients.rq.ping()
        with platform_of(url) as platform:
            for client in (platform.clients.data, platform.clients.rq, platform.clients.reader):
                with pytest.raises(RedisConnectionError, match="certificate verify failed"):
                    client.ping()
        other = url.replace("127.0.0.1", "127.0.0.2")
        with (
            platform_of(other, redis_ca_cert=str(names.authority)) as platform,
            pytest.raises(RedisConnectionError),
        ):
            platform.clients.data.ping()


def speaking_tls() -> str:
    for binary in (servers.binary_7(), servers.binary_62()):
        if binary and topologies.speaks_tls(binary):
            return binary
    pytest.skip("no redis-server here was built with TLS")


def accepted_until_killed(server: servers.RedisServer) -> set[str]:
    """The turns that three callers were told are accepted, when the server is killed meanwhile."""
    accepted: set[str] = set()

    def send(platform: Platform, name: str) -> None:
        with suppress(RedisError, TurnkeeperError):
            while True:
                accepted.add(Kernel(platform, name).submit().turn_id)

    with platform_of(server.url, queue_depth_max=1_000_000) as platform:
        for name in NAMES[:3]:
            Kernel(platform, name).create()
        threads = [threading.Thread(target=send, args=(platform, name)) for name in NAMES[:3]]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(accepted) > 300, 60)
        server.kill9()
        for thread in threads:
            thread.join()
    return accepted


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_server_killed_and_restarted_has_all_that_was_acknowledged(
    binary: str, is_kept: bool
) -> None:
    """With its log written before each answer; the control has no log, and loses all."""
    options = ("--appendfsync", "always")
    with topologies.started(binary, *options, appendonly=is_kept) as server:
        accepted = accepted_until_killed(server)
        server.start()
        with server.client() as client:
            kept = {
                turn_id for name in NAMES[:3] for turn_id in client.hkeys(keys.of(name)["turns"])
            }
        assert accepted <= kept if is_kept else not kept


def test_a_master_that_became_a_replica_is_told_as_a_store_away(binary: str) -> None:
    with servers.redis_server(binary) as server, over(server) as site:
        site.workspace("w1")
        with server.client() as client:
            client.replicaof("127.0.0.1", "1")
            answer = site.ask("POST", "/workspaces/w1/notify", {"message": "x"})
            assert (answer.status_code, answer.get_json()["code"]) == (503, "store_unavailable")


def test_the_control_side_cannot_be_a_cluster() -> None:
    settings = Settings.model_validate({"redis_url": "redis+cluster://127.0.0.1:1"})
    with pytest.raises(SettingsFault, match="RQ does not speak Cluster"):
        connect(settings)


def test_a_cluster_out_of_reach_is_a_lost_connection() -> None:
    port = servers.free_port()
    settings = Settings.model_validate(
        {"redis_url": f"redis+cluster://127.0.0.1:{port}", "control_url": "redis://127.0.0.1:1"}
    )
    with pytest.raises(RedisConnectionError):
        connect(settings)


def settle(several: list[servers.RedisServer]) -> None:
    """Until each replica has all that its master had: a failover loses what was on the way."""

    def offset(server: servers.RedisServer) -> tuple[str, int]:
        with server.client() as client:
            found = client.info("replication")
        is_master = found["role"] == "master"
        return found["role"], found["master_repl_offset" if is_master else "slave_repl_offset"]

    def in_step() -> bool:
        found = [offset(server) for server in several]
        if len(found) > 2:  # a Cluster: each replica's offset is one of a master's
            masters = {at for role, at in found if role == "master"}
            return all(at in masters for role, at in found if role != "master")
        return len({at for _, at in found}) == 1

    wait_until(in_step, 30)
