"""What ``turnkeeper up`` shows, and the log files that keep everything."""

import json
import logging
import re
from collections import deque
from contextlib import suppress
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import click

from app.cli.plain_text import plain, shorten

LOG_MAX_BYTES = 8 * 1024 * 1024
LOGS_KEPT_COUNT = 3
LAST_LINES_COUNT = 15
TAIL = "tail"
# Redis warns of kernel settings at every start; its exits are reported by the supervisor.
QUIET = frozenset({"redis"})
WARNING_LEVELS = frozenset({"warning", "error", "critical", "fatal"})
WARNING_WORDS = re.compile(r"\b(WARN|WARNING|ERROR|CRITICAL|FATAL)\b|^Traceback ")


class Screen:
    """The terminal and the log files of one ``up``; closed at its end."""

    def __init__(self, folder: Path, is_verbose: bool = False) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._is_verbose = is_verbose
        self._files: dict[str, RotatingFileHandler] = {}
        self._last: dict[str, deque[str]] = {}

    def child_line(self, name: str, line: str) -> None:
        """Keep a child's line; show it if it is the tail's, a warning, or all are wanted."""
        self.keep_line(name, line)
        if name == TAIL:
            _show(line)
        elif self._is_verbose:
            _show(f"{name:<9} | {plain(line)}")
        elif name not in QUIET and is_warning(line):
            _show(f"{name:<9} | {shorten(plain(readable(line)), 200)}")

    def keep_line(self, name: str, line: str) -> None:
        """Keep a child's line and show nothing."""
        self._keep(name, line)
        self._last.setdefault(name, deque(maxlen=LAST_LINES_COUNT)).append(line)

    def say(self, line: str) -> None:
        """A line of ``up`` itself."""
        self._keep("up", f"{datetime.now().astimezone().isoformat(timespec='seconds')} {line}")
        _show(f"{'up':<9} | {plain(line)}")

    def print(self, text: str = "") -> None:
        """Text for the person in front of it; not kept (it may carry the token)."""
        _show(text)

    def last_lines(self, name: str) -> str:
        """The end of what a child said, for an error."""
        return "\n".join(self._last.get(name, ()))

    def log_path(self, name: str) -> Path:
        """Where a child's whole output is."""
        return self._folder / f"{name}.log"

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _keep(self, name: str, line: str) -> None:
        file = self._files.get(name)
        if file is None:
            path = self.log_path(name)
            is_old = path.exists() and path.stat().st_size > 0
            file = RotatingFileHandler(
                path, maxBytes=LOG_MAX_BYTES, backupCount=LOGS_KEPT_COUNT, encoding="utf-8"
            )
            if is_old:
                file.doRollover()
            self._files[name] = file
        file.handle(logging.makeLogRecord({"msg": line}))


def is_warning(line: str) -> bool:
    """Whether a log line (JSON or text) is a warning or worse."""
    fields = _json_fields(line)
    if fields is not None:
        level = str(fields.get("level") or fields.get("levelname") or "").lower()
        return level in WARNING_LEVELS
    return bool(WARNING_WORDS.search(line))


def readable(line: str) -> str:
    """A JSON log line as ``level event key=value``; any other line as it is."""
    fields = _json_fields(line)
    if fields is None:
        return line
    hidden = {"event", "level", "timestamp", "logger"}
    rest = " ".join(f"{key}={value}" for key, value in fields.items() if key not in hidden)
    return f"{fields.get('level', '')} {fields.get('event', '')} {rest}".strip()


def _json_fields(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _show(text: str) -> None:
    # The terminal may be gone; the processes must be stopped in order all the same.
    with suppress(OSError):
        click.echo(text)
