"""Reports that could not be delivered, on disk, until they can be: one file per session."""

import fcntl
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import structlog

from runtime.files import write_atomically

log = structlog.get_logger(__name__)

REPORTS_MAX = 200


@dataclass(frozen=True)
class Spooled:
    """Everything that waits for one session; ``last`` is the number of its newest report."""

    session_id: str
    fence: int
    reports: list[dict[str, Any]]
    last: int


class Spool:
    """A directory per workspace. Safe between threads and between processes (flock)."""

    def __init__(self, root: Path, workspace_id: str, max_bytes: int) -> None:
        self._directory = root / quote(workspace_id, safe="").replace(".", "%2E")
        self._max_bytes = max_bytes
        self.rung = threading.Event()

    def has(self, session_id: str) -> bool:
        """Does anything of this session wait? Then later reports queue behind it."""
        return self._path(session_id).exists()

    def session_ids(self) -> list[str]:
        """Of which sessions something waits."""
        return [unquote(path.stem) for path in self._paths()]

    def is_empty(self) -> bool:
        """Does nothing wait?"""
        return not self._paths()

    def append(self, session_id: str, fence: int, report: dict[str, Any]) -> None:
        """Keep a report, on disk when this returns. Rings the courier. Raises: OSError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(session_id)
        with self._locked():
            entry = self._load(path) or {"session_id": session_id, "fence": fence, "next": 1}
            reports = [*entry.get("reports", []), {"number": entry["next"], "report": report}]
            entry |= {"reports": _bounded(session_id, reports), "next": entry["next"] + 1}
            write_atomically(path, entry)
            self._make_room(path)
        self.rung.set()

    def waiting(self) -> list[Spooled]:
        """All that waits, oldest file first. A file that cannot be read is set aside."""
        found = []
        for path in self._paths():
            with self._locked():
                entry = self._load(path)
            if entry is not None:
                rows = entry["reports"]
                reports = [row["report"] for row in rows]
                last = rows[-1]["number"] if rows else 0
                found.append(Spooled(entry["session_id"], entry["fence"], reports, last))
        return found

    def remove(self, spooled: Spooled) -> None:
        """Forget what was delivered; what came in meanwhile stays."""
        path = self._path(spooled.session_id)
        with self._locked():
            entry = self._load(path)
            if entry is None:
                return
            entry["reports"] = [row for row in entry["reports"] if row["number"] > spooled.last]
            if entry["reports"]:
                write_atomically(path, entry)
            else:
                path.unlink(missing_ok=True)

    def _path(self, session_id: str) -> Path:
        return self._directory / f"{quote(session_id, safe='').replace('.', '%2E')}.json"

    def _paths(self) -> list[Path]:
        ages = []
        for path in self._directory.glob("*.json"):
            try:
                ages.append((path.stat().st_mtime_ns, path))
            except FileNotFoundError:
                continue  # delivered by another supervisor of this workspace
        return [path for _, path in sorted(ages)]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._directory / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _load(self, path: Path) -> dict[str, Any] | None:
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(entry["reports"], list) or not isinstance(entry["fence"], int):
                raise ValueError("wrong shape")
            return dict(entry)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.error("spool_file_unreadable", file=path.name, error=str(error))
            path.replace(path.with_suffix(".unreadable"))
            return None

    def _make_room(self, keep: Path) -> None:
        """Drop the oldest files past the bound, never the one just written."""
        sizes = [(path, path.stat().st_size) for path in self._paths()]
        total = sum(size for _, size in sizes)
        for path, size in sizes:
            if total <= self._max_bytes or path == keep:
                return
            log.error(
                "limit_hit",
                mechanism="spool_size",
                limit_bytes=self._max_bytes,
                setting="TURNKEEPER_SPOOL_MAX_BYTES",
                measured_bytes=total,
                dropped=path.name,
            )
            path.unlink(missing_ok=True)
            total -= size


def _bounded(session_id: str, reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest reports; a finish is the newest by nature, so it always stays."""
    if len(reports) > REPORTS_MAX:
        log.warning(
            "limit_hit",
            mechanism="spool_reports",
            limit=REPORTS_MAX,
            setting="REPORTS_MAX",
            measured=len(reports),
            session_id=session_id,
        )
    return reports[-REPORTS_MAX:]
