"""Loopback ports."""

import errno
import random
import socket

FIRST = 10_000
# From here on Linux hands out ports to connections (others from 49,152). A server's own port is
# chosen below it: nothing takes it while the server is down, and no client that tries meanwhile
# is connected to itself.
EPHEMERAL_FROM = 32_768
TRIES = 100


def free_port(below: int = EPHEMERAL_FROM) -> int:
    """A port under ``below`` that nobody listens on now, and that is given to no connection.

    Raises:
        OSError: ``EADDRINUSE`` when none of a hundred, picked at random, is free.
    """
    for port in random.sample(range(FIRST, below), TRIES):
        if is_free("127.0.0.1", port):
            return port
    raise OSError(errno.EADDRINUSE, f"none of {TRIES} ports from {FIRST} to {below - 1} is free")


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen here (a port in TIME_WAIT counts as free, as for gunicorn)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            line.bind((host, port))
        except OSError:
            return False
        return True
