"""A web process over a fake server and over a real one."""

from collections.abc import Iterator

import pytest

from tests.support import servers
from tests.unit.api.web import Web, fake_clients, real_clients, web


@pytest.fixture
def fake() -> Iterator[Web]:
    """A web process over an empty fake server."""
    with web(fake_clients()) as made:
        yield made


@pytest.fixture(params=["fake", "real"])
def site(request: pytest.FixtureRequest) -> Iterator[Web]:
    """A web process over an empty store, once of each kind."""
    if request.param == "fake":
        clients = fake_clients()
    else:
        server: servers.RedisServer = request.getfixturevalue("redis62")
        text = server.client()
        text.flushall()
        clients = real_clients(text)
    with web(clients) as made:
        yield made
