"""Redis refuses, stands still, comes back: the web process says so quickly and goes on."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.integration.api.conftest import over
from tests.support import servers
from tests.unit.api.web import ADMIN, Web

TIMEOUT_S = 4.0

# One of each kind: what reads, writes, runs a script, waits, streams, shows a page.
DATA_ROUTES = [
    ("GET", "/readyz", None),
    ("GET", "/metrics", None),
    ("GET", "/workspaces", None),
    ("GET", "/workspaces/w1", None),
    ("GET", "/workspaces/w1/why", None),
    ("GET", "/workspaces/w1/events", None),
    ("GET", "/workspaces/w1/events/stream", None),
    ("GET", "/events/stream", None),
    ("GET", "/workspaces/w1/turns/next?wait_s=5", None),
    ("GET", "/workspaces/w1/schedules", None),
    ("GET", "/admin/tokens", None),
    ("GET", "/admin/liveness", None),
    ("GET", "/login?code=x", None),
    ("POST", "/workspaces", {"id": "w2"}),
    ("POST", "/workspaces/w1/heartbeat", {}),
    ("POST", "/workspaces/w1/notify", {"message": "x"}),
    ("POST", "/registry/register", {"id": "w3"}),
    ("POST", "/workspaces/w1/a2a", {"params": {"message": {"parts": [{"text": "x"}]}}}),
    ("POST", "/workspaces/w1/sessions/ses_x/start", {"fence": 1}),
    ("POST", "/admin/login-links", None),
]


@contextmanager
def away(server: servers.RedisServer, how: str) -> Iterator[None]:
    if how == "refused":
        server.stop()
    else:
        server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        if how == "refused":
            server.start()
        else:
            server.process.send_signal(signal.SIGCONT)


@pytest.fixture
def site(own_redis: servers.RedisServer) -> Iterator[Web]:
    with over(own_redis, redis_timeout_s=TIMEOUT_S) as made:
        made.workspace("w1")
        yield made


@pytest.mark.parametrize("how", ["refused", "stands still"])
def test_every_data_route_is_503_after_one_timeout_at_most(
    own_redis: servers.RedisServer, site: Web, how: str
) -> None:
    stored = site.token("read", "send", "runtime", "operate")
    rpc = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": "x"}}
    with away(own_redis, how), ThreadPoolExecutor(len(DATA_ROUTES) + 2) as pool:
        asked = [pool.submit(timed, site, *route) for route in DATA_ROUTES]
        others = [
            pool.submit(timed, site, "GET", "/workspaces", None, stored),
            pool.submit(timed, site, "POST", "/workspaces/w1/a2a", rpc),
        ]
        for (_, path, _), one in zip(DATA_ROUTES, asked, strict=True):
            response, took_s = one.result()
            assert response.status_code == 503, (path, response.text)
            assert int(response.headers["Retry-After"]) > 0, path
            assert response.get_json()["code"] == "store_unavailable"
            assert took_s < 2 * TIMEOUT_S, (path, took_s)
        assert [one.result()[0].status_code for one in others] == [503, 503]
        response, took_s = timed(site, "GET", "/healthz", None)
        assert response.status_code == 200 and took_s < TIMEOUT_S
    for method, path, body in DATA_ROUTES:
        if "stream" not in path and "wait_s" not in path:
            response = site.ask(method, path, body)
            assert response.status_code < 500, (method, path, response.text)


def timed(
    site: Web, method: str, path: str, body: Any, token: str = ADMIN
) -> tuple[TestResponse, float]:
    began_at = time.monotonic()
    response = site.ask(method, path, body, token)
    return response, time.monotonic() - began_at


@pytest.mark.parametrize("way", ["restart", "crash"])
def test_the_first_request_after_a_restart_succeeds(
    own_redis: servers.RedisServer, site: Web, way: str
) -> None:
    """Every pooled connection is stale then, those of commands that are not retried too."""
    for number in range(3):
        if way == "restart":
            own_redis.restart()
        else:
            own_redis.kill9()
            own_redis.start()
        site.ok("POST", "/workspaces/w1/notify", {"message": f"said {number}"})
        own_redis.restart()
        site.ok("POST", "/workspaces/w1/heartbeat", {})
        own_redis.restart()
        site.send("w1", f"hello {number}")
    rows = site.ok("GET", "/workspaces/w1/turns")["turns"]
    assert len(rows) == 3, "none lost, none doubled"


def test_a_store_with_an_unknown_schema_is_not_ready(
    own_redis: servers.RedisServer, site: Web
) -> None:
    with own_redis.client() as client:
        client.set("tk:schema", "99")
        response = site.ask("GET", "/readyz", token=None)
        assert (response.status_code, response.get_json()["code"]) == (503, "unknown_schema")
        client.delete("tk:schema")


def test_a_replica_that_refuses_writes_is_a_store_away(
    own_redis: servers.RedisServer, site: Web
) -> None:
    """As after a failover, when a connection still leads to the old master."""
    with own_redis.client() as client:
        client.config_set("replica-serve-stale-data", "yes")
        client.replicaof("127.0.0.1", 1)
        response = site.ask("POST", "/workspaces/w1/notify", {"message": "x"})
        assert (response.status_code, response.get_json()["code"]) == (503, "store_unavailable")
        client.replicaof("NO", "ONE")
    site.ok("POST", "/workspaces/w1/notify", {"message": "x"})


def test_a_full_store_says_so(own_redis: servers.RedisServer, site: Web) -> None:
    with own_redis.client() as client:
        client.config_set("maxmemory", "1")
        response = site.ask("POST", "/workspaces/w1/notify", {"message": "x"})
        assert (response.status_code, response.get_json()["code"]) == (503, "store_full")
        assert int(response.headers["Retry-After"]) > 0
        client.config_set("maxmemory", "0")
    site.ok("POST", "/workspaces/w1/notify", {"message": "x"})
