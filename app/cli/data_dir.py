"""The data directory of ``turnkeeper up``: its lock, and the admin token kept in it."""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.cli.faults import REFUSED, Fault

WAIT_FOR_LOCK_S = 3.0


@contextmanager
def locked(folder: Path, wait_s: float = WAIT_FOR_LOCK_S) -> Iterator[int]:
    """Hold the directory for this process and the Redis it starts; the lock's file descriptor.

    The Redis child inherits the descriptor, so the lock lives as long as either of them: two
    servers never append to the same file, even when ``up`` alone was killed.

    Raises:
        Fault: when another ``up`` holds it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(handle, folder, wait_s)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield handle
    finally:
        os.close(handle)


def _take(handle: int, folder: Path, wait_s: float) -> None:
    """Wait only for the Redis of an ``up`` that is already dead; it ends within moments."""
    deadline, clock = time.monotonic() + wait_s, threading.Event()
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
            if _is_alive(holder) or time.monotonic() >= deadline:
                raise Fault(
                    f"{folder} is in use by another turnkeeper up (process {holder or '?'})",
                    "two servers must not write the same data",
                    "stop that one, or give this one its own directory with --data DIR",
                    REFUSED,
                ) from None
        clock.wait(0.05)


def _is_alive(holder: str) -> bool:
    if not holder.isdigit():
        return False
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def admin_token(folder: Path, given: str) -> tuple[str, bool]:
    """The given token, the kept one or a new one; and whether it was made just now."""
    if given:
        return given, False
    path = folder / "admin_token"
    kept = path.read_text().strip() if path.exists() else ""
    if kept:
        path.chmod(0o600)
        return kept, False
    token = f"tk_admin_{secrets.token_urlsafe(32)}"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    return token, True
