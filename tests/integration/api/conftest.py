"""Web processes over real servers, with the clients that the product makes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from app.core.redis_clients import connect
from app.core.settings import Settings
from tests.support import servers
from tests.unit.api.web import SETTINGS, Web, web

Make = Callable[..., Web]
PATIENT = {"redis_timeout_s": 10}  # a machine at work may stand still for longer than 1.5 s


@pytest.fixture
def own_redis() -> Iterator[servers.RedisServer]:
    """A server of this test alone, to be killed, stopped and started again."""
    binary = servers.binary_62() or servers.binary_7()
    if binary is None:
        pytest.skip("no redis-server")
    with servers.redis_server(binary) as server:
        yield server


@pytest.fixture
def make(redis62: servers.RedisServer) -> Iterator[Make]:
    """Makes web processes over one empty server; stops them at the end."""
    with redis62.client() as client:
        client.flushall()
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(over(redis62, **{**PATIENT, **settings}))


def over(server: servers.RedisServer, **settings: Any) -> Any:
    """A web process over a server, with the product's own timeouts unless told otherwise."""
    whole = {**SETTINGS, "redis_url": server.url, **settings}
    return web(connect(Settings.model_validate(whole)), **whole)


@pytest.fixture
def site(make: Make) -> Web:
    """A web process with one workspace."""
    made = make()
    made.workspace("w1")
    return made
