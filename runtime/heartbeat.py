"""A heartbeat for Python agents, in a process of its own: ``with Heartbeat(...)``.

A thread would be silent while the agent holds the interpreter lock; a process is not.
"""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from uuid import uuid4

import structlog

from runtime import selfexec
from runtime.beats import beat_until
from runtime.client import Platform, Token
from runtime.linux import hide_memory, set_parent_death_signal
from runtime.log import configure
from runtime.settings import load_settings, process_environ

log = structlog.get_logger(__name__)

STOP_WAIT_S = 5.0


class Heartbeat:
    """Beats for one workspace while the block runs. Directives are not carried out here.

    ``url`` and ``token`` default to TURNKEEPER_URL and TURNKEEPER_TOKEN; ``interval_s`` is
    clamped as TURNKEEPER_HEARTBEAT_INTERVAL_S is. Stopping leaves no process and no thread.
    """

    def __init__(
        self,
        workspace_id: str,
        url: str | None = None,
        token: str | None = None,
        interval_s: float | None = None,
    ) -> None:
        self._workspace_id = workspace_id
        overrides = {
            "TURNKEEPER_URL": url,
            "TURNKEEPER_TOKEN": token,
            "TURNKEEPER_HEARTBEAT_INTERVAL_S": None if interval_s is None else f"{interval_s:g}",
        }
        self._environ = process_environ() | {k: v for k, v in overrides.items() if v is not None}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Heartbeat":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The beating process; None when stopped."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start beating; nothing if it beats already. Raises: OSError."""
        if self._process is not None and self._process.poll() is None:
            return
        argv = [*selfexec.module_command("runtime.heartbeat"), "-w", self._workspace_id]
        self._process = subprocess.Popen(
            [*argv, "--parent", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=selfexec.module_environ(self._environ),
            start_new_session=True,
        )

    def report(self, **fields: Any) -> None:
        """Let later beats carry ``active_tasks``, ``current_task``, ``error_rate`` and the like.

        A beat changes only the fields it carries. Raises: RuntimeError when not beating.
        """
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the heartbeat is not running")
        try:
            self._process.stdin.write(json.dumps(fields).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise RuntimeError("the heartbeat process has ended") from error

    def stop(self) -> None:
        """End the process and wait for it, 5 s at most before it is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        if process.stdin is not None:
            try:
                process.stdin.close()
            except BrokenPipeError:
                log.debug("heartbeat_ended_before_stop", pid=process.pid)
        try:
            process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Inbox:
    """The process's stdin: field updates from the parent, and its end when the parent ends."""

    def __init__(self, descriptor: int) -> None:
        self.fields: dict[str, Any] = {}
        self._descriptor = descriptor
        self._rest = b""

    def wait(self, seconds: float) -> bool:
        """True when the parent closed the pipe; otherwise after ``seconds``."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN | select.POLLHUP)
        until = time.monotonic() + seconds
        while True:
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                return False
            data = os.read(self._descriptor, 65_536)
            if not data:
                return True
            self._take(data)

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.fields |= json.loads(line)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m runtime.heartbeat -w WORKSPACE``; ends with its parent or its stdin."""
    parser = argparse.ArgumentParser(prog="runtime.heartbeat")
    parser.add_argument("-w", "--workspace", required=True)
    parser.add_argument("--parent", type=int, default=0)
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with(options.parent)
    hide_memory()
    configure()
    settings = load_settings()
    inbox = Inbox(sys.stdin.fileno())
    instance = uuid4().hex
    platform = Platform(settings.url, options.workspace, Token(settings.token), instance)
    beat_until(
        platform,
        instance,
        lambda: dict(inbox.fields),
        settings.heartbeat_interval_s,
        inbox.wait,
        lambda reply: log.debug("heartbeat", queue_depth=reply.get("queue_depth")),
    )
    return 0


def _end_with(parent: int) -> None:
    """Exit when the parent is gone: beside the pipe's end, which a fork of it could hold open.

    The death signal also comes when only the *thread* that started us ends, hence the check.
    """

    def check(*_: object) -> None:
        if parent and os.getppid() != parent:
            sys.exit(0)

    signal.signal(signal.SIGUSR1, check)
    set_parent_death_signal(signal.SIGUSR1)
    check()


if __name__ == "__main__":
    sys.exit(main())
