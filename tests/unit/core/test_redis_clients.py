"""How commands are packed."""

import pytest
from redis.connection import HiredisRespSerializer
from redis.exceptions import DataError

from app.core.redis_clients import Packer, connect
from app.core.settings import Settings


@pytest.mark.parametrize(
    "words",
    [
        ("EVALSHA", "abc", 2, "k", "ü", "", 1.5, b"\x00"),
        ("CONFIG GET", "x"),
        (b"GET", "x"),
        ("SET", "x", memoryview(b"y")),
    ],
)
def test_a_command_is_packed_as_the_client_itself_packs_it(words: tuple[object, ...]) -> None:
    assert Packer().pack(*words) == HiredisRespSerializer().pack(*words)


def test_what_cannot_be_packed_is_refused_as_before() -> None:
    with pytest.raises(DataError):
        Packer().pack("SET", "x", None)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis+sentinel://127.0.0.1:1/main/0"])
def test_every_client_of_one_server_packs_so(url: str) -> None:
    clients = connect(Settings(redis_url=url))
    for client in (clients.data, clients.once, clients.control, clients.blocking, clients.reader):
        known = client.connection_pool.connection_kwargs
        assert isinstance(known["command_packer"], Packer)
    clients.close()
