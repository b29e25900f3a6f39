"""The files of one session: prompt, turn, control, checkpoint. One private directory each."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from runtime.agents.base import LaunchError
from runtime.wire import Turn

log = structlog.get_logger(__name__)

CHECKPOINT_MAX_BYTES = 262_144


@dataclass(frozen=True)
class SessionFiles:
    """Paths inside the session's directory (mode 0700)."""

    directory: Path

    @property
    def prompt(self) -> Path:
        """The prompt as text."""
        return self.directory / "prompt.txt"

    @property
    def turn(self) -> Path:
        """The whole turn as JSON: memories, last checkpoint, message."""
        return self.directory / "turn.json"

    @property
    def control(self) -> Path:
        """Appears when the platform wants something of the child."""
        return self.directory / "control.json"

    @property
    def checkpoint(self) -> Path:
        """Where the child may leave its note."""
        return self.directory / "checkpoint.json"


@contextmanager
def session_files(turn: Turn) -> Iterator[SessionFiles]:
    """Make the directory with prompt and turn in it; remove it afterwards.

    Raises: LaunchError when the disk does not take them.
    """
    try:
        files = SessionFiles(Path(tempfile.mkdtemp(prefix="turnkeeper-")))
    except OSError as error:
        raise LaunchError("launch_failed", f"no directory for the session: {error}") from error
    try:
        _fill(files, turn)
        yield files
    finally:
        shutil.rmtree(files.directory, ignore_errors=True)


def _fill(files: SessionFiles, turn: Turn) -> None:
    try:
        files.prompt.write_bytes(turn.prompt.encode("utf-8", "replace"))
        files.turn.write_text(json.dumps(dict(turn.raw)), encoding="utf-8")
    except OSError as error:
        raise LaunchError("launch_failed", f"cannot write the prompt: {error}") from error


def write_atomically(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, also after a power cut."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """The child's note; None if it left none. One that cannot be read is logged and dropped."""
    try:
        size_bytes = path.stat().st_size
        if size_bytes > CHECKPOINT_MAX_BYTES:
            log.warning(
                "limit_hit",
                mechanism="checkpoint_size",
                limit_bytes=CHECKPOINT_MAX_BYTES,
                setting="CHECKPOINT_MAX_BYTES",
                measured_bytes=size_bytes,
            )
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("checkpoint_unreadable", error=str(error))
        return None
    if not isinstance(value, dict):
        log.warning("checkpoint_unreadable", error="not a JSON object")
        return None
    return value
