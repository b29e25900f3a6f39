"""The ports a server of ours is given."""

import errno
import random
import socket

import pytest

from app.cli import ports


def test_a_servers_port_is_none_that_connections_are_given() -> None:
    found = {ports.free_port() for _ in range(50)}
    assert len(found) > 1
    assert max(found) < ports.EPHEMERAL_FROM
    assert all(ports.free_port(below=20_000) < 20_000 for _ in range(50))


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken, free = other.getsockname()[1], ports.free_port()
        monkeypatch.setattr(random, "sample", lambda *_: [taken, free])
        assert ports.free_port() == free
        monkeypatch.setattr(random, "sample", lambda *_: [taken])
        with pytest.raises(OSError, match="is free") as refused:
            ports.free_port()
    assert refused.value.errno == errno.EADDRINUSE
