"""One child per turn: started in its own session, drained by its own thread."""

import os
import subprocess
import termios
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from runtime import threads
from runtime.agents.base import Agent, Launch, LaunchError, Progress
from runtime.children import Children
from runtime.drain import Ends, drain
from runtime.kill import Target
from runtime.rings import LineSplitter, TailRing
from runtime.settings import RuntimeSettings

LIVE_TEXT_BYTES = 4096
EVENTS_MAX = 200


class Child:
    """A running child and its bounded output. ``on_change`` is called from the drain thread."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        target: Target,
        agent: Agent,
        settings: RuntimeSettings,
        on_change: Callable[[], None],
    ) -> None:
        self.process = process
        self.target = target
        self.is_done = threading.Event()
        self.stdout = TailRing(settings.output_max_bytes)
        self.stderr = TailRing(settings.output_max_bytes)
        self._agent = agent
        self._lines = LineSplitter(settings.line_max_bytes)
        self._live = TailRing(LIVE_TEXT_BYTES)
        self._events: deque[Progress] = deque(maxlen=EVENTS_MAX)
        self._dropped_events = 0
        self._lock = threading.Lock()
        self._on_change = on_change

    def take(self, data: bytes, stream: str) -> None:
        """Account for output as it comes."""
        with self._lock:
            (self.stdout if stream == "stdout" else self.stderr).write(data)
            if self._agent.reads_lines and stream == "stdout":
                for line in self._lines.feed(data):
                    self._add(self._agent.on_line(line.text))
            else:
                self._live.write(data)
        self._on_change()

    def end(self) -> None:
        """Nothing more will come."""
        with self._lock:
            if self._agent.reads_lines:
                for line in self._lines.close():
                    self._add(self._agent.on_line(line.text))
        self.is_done.set()
        self._on_change()

    def has_news(self) -> bool:
        """Is there something that was not reported yet?"""
        with self._lock:
            return bool(self._live) or bool(self._events)

    def take_news(self) -> list[Progress]:
        """What happened since the last call: parsed events, then the last 4 KB of raw output."""
        with self._lock:
            news = list(self._events)
            self._events.clear()
            if self._live:
                is_cut = self._live.is_cut
                text = self._live.take_text()
                news.append(Progress("output", _from_line_start(text) if is_cut else text))
            return news

    def limits(self) -> list[dict[str, Any]]:
        """Every bound that cut something, with its measured value."""
        hits = []
        for name, ring in (("stdout", self.stdout), ("stderr", self.stderr)):
            if ring.is_cut:
                hits.append(
                    limit(
                        f"{name}_tail",
                        ring.max_bytes,
                        "TURNKEEPER_OUTPUT_MAX_BYTES",
                        ring.total_bytes,
                    )
                )
        if self._lines.longest_bytes > self._lines.max_bytes:
            longest = self._lines.longest_bytes
            setting = "TURNKEEPER_LINE_MAX_BYTES"
            hits.append(limit("line_length", self._lines.max_bytes, setting, longest))
        return hits

    @property
    def dropped_events(self) -> int:
        """Parsed events that were forgotten because reports could not keep up."""
        return self._dropped_events

    def _add(self, events: Any) -> None:
        for event in events:
            self._dropped_events += len(self._events) == EVENTS_MAX
            self._events.append(event)


def limit(mechanism: str, limit_bytes: int, setting: str, measured_bytes: int) -> dict[str, Any]:
    """One entry of finish's ``limits``."""
    return {
        "mechanism": mechanism,
        "limit_bytes": limit_bytes,
        "setting": setting,
        "measured_bytes": measured_bytes,
    }


def start_child(
    launch: Launch,
    environ: Mapping[str, str],
    mark: str,
    agent: Agent,
    children: Children,
    settings: RuntimeSettings,
    on_change: Callable[[], None],
    *,
    uses_pty: bool = False,
) -> Child:
    """Start the child and its drain thread. Raises: LaunchError when it cannot be started."""
    process, ends = _start(launch, environ, children, uses_pty=uses_pty)
    try:
        created = psutil.Process(process.pid).create_time()
    except psutil.Error:
        created = 0.0  # gone already; nothing will match it
    child = Child(process, Target(process.pid, created, mark), agent, settings, on_change)

    def run() -> None:
        try:
            drain(process, ends, lambda stream, data: child.take(data, stream))
        finally:
            if process.poll() is None:
                process.kill()  # nobody drains it any more: only after a bug in the drain
            process.wait()
            children.forget(process)
            child.end()

    threads.start(f"drain-{process.pid}", run, lambda: None)
    return child


def _start(
    launch: Launch, environ: Mapping[str, str], children: Children, *, uses_pty: bool
) -> tuple[subprocess.Popen[bytes], Ends]:
    input_read, input_write = os.pipe() if launch.stdin is not None else (-1, -1)
    out_read, out_write = _terminal() if uses_pty else os.pipe()
    err_read, err_write = (-1, out_write) if uses_pty else os.pipe()
    try:
        process = children.start(
            launch.argv,
            stdin=subprocess.DEVNULL if input_read < 0 else input_read,
            stdout=out_write,
            stderr=err_write,
            env=dict(environ),
        )
    except (OSError, ValueError) as error:
        _close({input_write, out_read, err_read})
        raise LaunchError("launch_failed", f"cannot start {launch.argv[0]!r}: {error}") from error
    finally:
        _close({input_read, out_write, err_write})
    reads = {out_read: "stdout"} | ({} if err_read < 0 else {err_read: "stderr"})
    stdin = None if input_write < 0 else input_write
    return process, Ends(reads, stdin, memoryview(launch.stdin or b""))


def _close(descriptors: set[int]) -> None:
    for fd in descriptors - {-1}:
        os.close(fd)


def _terminal() -> tuple[int, int]:
    """A pseudo-terminal of 120 columns that passes output through unchanged."""
    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    termios.tcsetwinsize(slave, (40, 120))
    return master, slave


def _from_line_start(text: str) -> str:
    """Without the first, cut line, if there is another."""
    _, found, rest = text.partition("\n")
    return rest if found and rest else text
