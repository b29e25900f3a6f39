"""The Redis of ``turnkeeper up``: a real server with its append-only file on, and its PING.

It listens on a unix socket inside the data directory (nobody else's user may enter that), and
where the path is too long for one, on loopback with a password made at each start.
"""

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from app.cli.child import ChildSpec
from app.cli.ports import free_port
from app.cli.redis_binary import RedisBinary, check_can_read

SOCKET_PATH_MAX_BYTES = 100  # the kernel takes 107; some tools less
PING_TIMEOUT_S = 0.5
PING_DEADLINE_S = 15.0
STOP_AFTER_S = 3.0


@dataclass(frozen=True)
class RedisAddress:
    """Where an embedded server listens; ``socket_path`` empty means loopback TCP."""

    socket_path: str = ""
    port: int = 0
    password: str = ""

    @property
    def url(self) -> str:
        """As redis-py and RQ read it."""
        if self.socket_path:
            return f"unix://{self.socket_path}?db=0"
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


def choose_address(folder: Path, port: int = 0) -> RedisAddress:
    """A socket in the folder; TCP on ``port`` (0: a free one) if the path is too long or odd."""
    path = str(folder / "redis.sock")
    is_plain = all(character.isalnum() or character in "/._-+" for character in path)
    if not port and is_plain and path.isascii() and len(path) < SOCKET_PATH_MAX_BYTES:
        return RedisAddress(socket_path=path)
    return RedisAddress(port=port or free_port(), password=secrets.token_hex(24))


def redis_spec(
    binary: RedisBinary,
    folder: Path,
    address: RedisAddress,
    keep_fds: tuple[int, ...] = (),
    fsync: str = "everysec",
) -> ChildSpec:
    """Write the configuration and say how to start the server.

    A file and not arguments, because the password must not be seen in the process list.
    ``keep_fds``: the lock of the data directory, held as long as this server lives.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_can_read(binary, folder)
    config = folder / "redis.conf"
    config.unlink(missing_ok=True)
    with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(configuration(folder, address, fsync))
    return ChildSpec(
        name="redis",
        argv=(str(binary.path), str(config)),
        env={"PATH": os.defpath},
        cwd=folder,
        stop_after_s=STOP_AFTER_S,
        keep_fds=keep_fds,
        is_answering=lambda: ping(address),
        answer_within_s=PING_DEADLINE_S,
    )


def configuration(folder: Path, address: RedisAddress, fsync: str) -> str:
    """The whole configuration file."""
    lines = [
        "daemonize no",
        "supervised no",
        f"dir {_quoted(str(folder))}",
        "appendonly yes",
        f"appendfsync {fsync}",
        "aof-load-truncated yes",
        'save ""',
        "maxmemory-policy noeviction",
        'logfile ""',
    ]
    if address.socket_path:
        lines += ["port 0", f"unixsocket {_quoted(address.socket_path)}", "unixsocketperm 700"]
    else:
        lines += [
            "bind 127.0.0.1",
            "protected-mode yes",
            f"port {address.port}",
            f"requirepass {address.password}",
        ]
    return "\n".join(lines) + "\n"


def ping(address: RedisAddress, timeout_s: float = PING_TIMEOUT_S) -> bool:
    """Whether the server answers; one that loads its file is alive too (``-LOADING``)."""
    return _ask(address, timeout_s).startswith((b"+PONG", b"-LOADING"))


def is_ready(address: RedisAddress, timeout_s: float = PING_TIMEOUT_S) -> bool:
    """Whether the server answers and has loaded its file."""
    return _ask(address, timeout_s).startswith(b"+PONG")


def _ask(address: RedisAddress, timeout_s: float) -> bytes:
    """The first bytes of the answer to PING; empty when there is none in time."""
    family = socket.AF_UNIX if address.socket_path else socket.AF_INET
    target = address.socket_path or ("127.0.0.1", address.port)
    try:
        with socket.socket(family) as line:
            line.settimeout(timeout_s)
            line.connect(target)
            if address.password:
                line.sendall(f"AUTH {address.password}\r\n".encode())
                if not (answer := line.recv(64)).startswith(b"+OK"):
                    return answer
            line.sendall(b"PING\r\n")
            return line.recv(64)
    except OSError:
        return b""


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
