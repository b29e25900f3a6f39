"""The whole platform as processes on a Sentinel set and on a Cluster, while a master is killed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from redis.exceptions import RedisError

from app.core import keys
from app.core.platform import Platform
from tests.support import servers, topologies
from tests.support.servers import RedisServer
from tests.support.wait import wait_until
from tests.support.world import World, endings, open_turns, settings_of, turns_of, world

pytestmark = pytest.mark.e2e

NAMES = ("one", "two", "three")
BACK_S = 60.0
FULL_S = 8.0  # several ticks and sweeps long


@contextmanager
def processes(folder: Path, **env: str) -> Iterator[tuple[World, Platform]]:
    """Web, workers, scheduler, and a runtime for each workspace."""
    waits = {"TURNKEEPER_MESSAGE_WAIT_S": "0", "TURNKEEPER_MAX_ATTEMPTS": "20"}
    with world(folder, **waits, **env) as here:
        here.add_workers()
        here.add_scheduler()
        here.add_web()
        platform = Platform.start(settings_of(here))
        try:
            for name in NAMES:
                here.ask("POST", "/workspaces", {"id": name})
                here.add_runtime(name, "sh", "-c", "echo ok")
            yield here, platform
        finally:
            platform.clients.close()


def answered_s(here: World, said: str) -> float:
    """How long until a turn of every workspace has been accepted and answered."""
    began, accepted = time.monotonic(), {}

    def all_answered() -> bool:
        with suppress(httpx.TransportError, AssertionError):
            for name in NAMES:
                accepted.setdefault(name, here.send(name, said, said))
            return all(here.turn(name, accepted[name])["state"] == "completed" for name in NAMES)
        return False

    wait_until(all_answered, BACK_S, 0.1)
    return time.monotonic() - began


def check(platform: Platform) -> None:
    """Everything has ended, once."""

    def is_quiet() -> bool:
        with suppress(RedisError):
            return not any(open_turns(platform, name) for name in NAMES)
        return False

    wait_until(is_quiet, BACK_S, 0.1)
    for name in NAMES:
        states = {turn.id: turn.state for turn in turns_of(platform, name)}
        assert set(states.values()) == {"completed"}
        assert endings(platform, name) == dict.fromkeys(states, 1)


def tell(what: str, first_s: float, back_s: float) -> None:
    print(json.dumps({"topology": what, "first_s": round(first_s, 2), "back_s": round(back_s, 2)}))


@pytest.fixture
def binary() -> str:
    path = servers.binary_7() or servers.binary_62()
    if path is None:
        pytest.skip("no redis-server")
    return path


def test_the_master_of_a_sentinel_set_is_killed(tmp_path: Path, binary: str) -> None:
    """One address for everything, RQ and rq-scheduler too."""
    with (
        topologies.sentinel_set(binary) as redis,
        processes(tmp_path, REDIS_URL=redis.url) as (here, platform),
    ):
        first_s = answered_s(here, "before")
        with redis.losing_its_master():
            redis.master().kill9()
            back_s = answered_s(here, "after")
        tell("sentinel", first_s, back_s)
        check(platform)


def test_a_master_of_a_cluster_is_killed(tmp_path: Path, binary: str) -> None:
    with (
        topologies.cluster(binary, replicas=True) as redis,
        servers.redis_server(binary) as control,
        processes(tmp_path, REDIS_URL=redis.url, TURNKEEPER_CONTROL_URL=control.url) as (here, own),
    ):
        first_s = answered_s(here, "before")
        owner: RedisServer = redis.owner(keys.of(NAMES[0])["workspace"])
        with redis.losing_a_master():
            owner.kill9()
            back_s = answered_s(here, "after")
        tell("cluster", first_s, back_s)
        check(own)


def test_a_full_server_has_room_again(tmp_path: Path) -> None:
    """RQ cannot enqueue meanwhile, and its workers may die of it: work flows again by itself."""
    with processes(tmp_path) as (here, platform), here.redis.client() as client:
        first_s = answered_s(here, "before")
        client.config_set("maxmemory", "1")
        refused = here.call("POST", "/workspaces", {"id": "four"})
        assert (refused.status_code, refused.json()["code"]) == (503, "store_full")
        stands_until = time.monotonic() + FULL_S
        wait_until(lambda: time.monotonic() > stands_until, FULL_S + 5)
        assert here.call("GET", "/readyz").is_success
        client.config_set("maxmemory", "0")
        tell("full, and room again", first_s, answered_s(here, "after"))
        check(platform)
