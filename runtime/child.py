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
from runtime.feed import Feed
from runtime.full_log import FullLog
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
        feed: Feed | None,
        settings: RuntimeSettings,
        on_change: Callable[[], None],
        full_log: FullLog | None = None,
    ) -> None:
        self.process = process
        self.target = target
        self.is_done = threading.Event()
        self.stdout = TailRing(settings.output_max_bytes)
        self.stderr = TailRing(settings.output_max_bytes)
        self._agent = agent
        self._feed = feed
        self._full_log = full_log
        self._lines = LineSplitter(settings.line_max_bytes)
        self._live = TailRing(LIVE_TEXT_BYTES)
        self._events: deque[Progress] = deque(maxlen=EVENTS_MAX)
        self._dropped_events = 0
        self._lock = threading.Lock()
        self._on_change = on_change

    def take(self, data: bytes, stream: str) -> None:
        """Account for output as it comes."""
        if self._full_log is not None:
            self._full_log.write(stream, data)
        with self._lock:
            (self.stdout if stream == "stdout" else self.stderr).write(data)
            if self._agent.reads_lines and stream == "stdout":
                for line in self._lines.feed(data):
                    self._add(self._agent.on_line(line))
                if self._agent.is_over:
                    self.end_stdin()  # an agent that reads it goes when that ends
            else:
                self._live.write(data)
        self._on_change()

    def end(self) -> None:
        """Nothing more will come."""
        if self._full_log is not None:
            self._full_log.close()
        with self._lock:
            if self._agent.reads_lines:
                for line in self._lines.close():
                    self._add(self._agent.on_line(line))
        self.is_done.set()
        self._on_change()

    def wrap_up(self, wish: Mapping[str, Any]) -> None:
        """Tell the agent that a checkpoint is asked for; by its stdin, where that is its way."""
        with self._lock:
            words = self._agent.wrap_up(wish)
        if words is not None:
            self.tell(words)

    def tell(self, data: bytes) -> bool:
        """Write to its open stdin, without waiting; False when that is at its end."""
        return self._feed is not None and self._feed.write(data)

    def end_stdin(self) -> None:
        """Close its stdin once everything said is written."""
        if self._feed is not None:
            self._feed.finish()

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
        if self._lines.cut_count:
            cut = self._lines.max_bytes, "TURNKEEPER_LINE_MAX_BYTES", self._lines.longest_bytes
            hits.append(limit("line_length", *cut) | {"count": self._lines.cut_count})
        if self._dropped_events:
            hits.append(
                {"mechanism": "event_backlog", "limit": EVENTS_MAX}
                | {"setting": "EVENTS_MAX", "count": self._dropped_events}
            )
        return hits + ([] if self._full_log is None else self._full_log.limits())

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
    target = Target(process.pid, created, mark)
    logs_to = settings.log_dir
    full_log = None if logs_to is None else FullLog(logs_to, mark, settings.log_max_bytes)
    child = Child(process, target, agent, ends.feed, settings, on_change, full_log)

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
    if launch.stdin is None:
        return process, Ends(reads)
    return process, Ends(reads, Feed(input_write, launch.stdin, is_kept_open=launch.keeps_stdin))


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
