"""The whole output of a session in files, by choice; each file has a cap, the draining has none."""

from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import structlog

log = structlog.get_logger(__name__)


class FullLog:
    """``SESSION.stdout.log`` and ``SESSION.stderr.log``. Used by the drain thread only.

    A disk that is full or gone ends the log, not the session.
    """

    def __init__(self, directory: Path, session_id: str, max_bytes: int) -> None:
        self._directory = directory
        self._name = quote(session_id, safe="").replace(".", "%2E")
        self._max_bytes = max_bytes
        self._files: dict[str, BinaryIO] = {}
        self._total_bytes: dict[str, int] = {}
        self._error = ""

    def write(self, stream: str, data: bytes) -> None:
        """Add data up to the cap; past it only count."""
        before = self._total_bytes.get(stream, 0)
        self._total_bytes[stream] = before + len(data)
        room = self._max_bytes - before
        if room <= 0 or self._error:
            return
        try:
            file = self._files.get(stream) or self._open(stream)
            file.write(data[:room])
            if len(data) > room:
                file.write(b"\n[cut: TURNKEEPER_LOG_MAX_BYTES=%d]\n" % self._max_bytes)
            file.flush()
        except OSError as error:
            self._error = str(error)
            log.error("full_log_failed", session=self._name, error=self._error)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            try:
                file.close()
            except OSError as error:
                self._error = self._error or str(error)
        self._files.clear()

    def limits(self) -> list[dict[str, Any]]:
        """Each file that was cut, and a log that could not be written."""
        cap = {"limit_bytes": self._max_bytes, "setting": "TURNKEEPER_LOG_MAX_BYTES"}
        hits: list[dict[str, Any]] = [
            {"mechanism": f"{stream}_log", **cap, "measured_bytes": total}
            for stream, total in self._total_bytes.items()
            if total > self._max_bytes and not self._error
        ]
        if self._error:
            setting = "TURNKEEPER_LOG_DIR"
            hits.append({"mechanism": "full_log", "setting": setting, "error": self._error})
        return hits

    def _open(self, stream: str) -> BinaryIO:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._directory / f"{self._name}.{stream}.log"
        path.touch(mode=0o600)
        file = path.open("ab")
        self._files[stream] = file
        return file
