"""The supervisor's end of the pipe to its guard (``runtime.guard_process``)."""

import json
import subprocess
import threading
from pathlib import Path

from runtime import selfexec
from runtime.cgroup import Group
from runtime.children import Children
from runtime.kill import Target
from runtime.settings import process_environ, without_secrets

EXIT_WAIT_S = 5.0


class Guard:
    """Starts the guard; tells it whom to kill if this process dies."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._lock = threading.Lock()
        self._process = children.start(
            selfexec.module_command("runtime.guard_process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=selfexec.module_environ(without_secrets(process_environ())),
        )

    def watch(self, target: Target, directory: Path, group: Group) -> None:
        """Kill this one and remove its files if the supervisor dies.

        Called with pid 0 before the child exists, and again with its pid.
        """
        self._tell(
            {
                "watch": target.mark,
                "pid": target.pid,
                "created": target.created,
                "directory": str(directory),
                "group": str(group.directory or ""),
            }
        )

    def unwatch(self, mark: str) -> None:
        """It is gone."""
        self._tell({"unwatch": mark})

    def close(self) -> None:
        """Close the pipe and wait: the guard ends what is still watched, normally nothing."""
        assert self._process.stdin is not None  # noqa: S101 - started with PIPE
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            self._process.poll()
        try:
            self._process.wait(EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._children.forget(self._process)

    def _tell(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None  # noqa: S101
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(message).encode() + b"\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                self._process.poll()  # somebody killed the guard; the work goes on without it
