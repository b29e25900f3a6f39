"""The processes of ``turnkeeper up``: started in order, restarted when they die, stopped in order.

Why not honcho's Manager: it sends SIGTERM to all at once (Redis would go while the workers still
put their work down), it ends everything when one process exits (ours are restarted), and it starts
every process through ``multiprocessing``, so that a parent-death signal would name the wrong
parent. What is left of it after that is the loop below.

One thread: it forks, and the parent-death signal is tied to the thread that forked.
"""

import selectors
import time
from collections.abc import Callable
from typing import Protocol

from app.cli.child import HEALTHY_AFTER_S, Child, ChildSpec, backoff_s

STEP_S = 0.1
ASK_EVERY_S = 2.0
STOP_WITHIN_S = 18.0
HURRIED_S = 0.5


class Console(Protocol):
    """Where lines go."""

    def child_line(self, name: str, line: str) -> None:
        """A line that a child printed."""

    def say(self, line: str) -> None:
        """A line of the supervisor itself, about a child that needed help."""


class Supervisor:
    """The group; children are stopped in the reverse of the order in which they were added."""

    def __init__(self, console: Console, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._now = monotonic
        self._selector = selectors.DefaultSelector()
        self._children: list[Child] = []
        self.stop_requests = 0

    def request_stop(self) -> None:
        """For signal handlers: the first asks for an ordered stop, a second one hurries it."""
        self.stop_requests += 1

    def add(self, spec: ChildSpec) -> Child:
        """Start a child and look after it."""
        child = Child(spec)
        self._children.append(child)
        self._start(child)
        return child

    def run_until(self, is_done: Callable[[], bool], within_s: float | None = None) -> bool:
        """Work until ``is_done``; False on a stop request or when the time is over."""
        deadline = None if within_s is None else self._now() + within_s
        while not self.stop_requests:
            if is_done():
                return True
            if deadline is not None and self._now() >= deadline:
                return False
            self.step()
        return False

    def most_crashed(self) -> Child | None:
        """The child that has exited most often, if any has."""
        worst = max(self._children, key=lambda child: child.exits, default=None)
        return worst if worst is not None and worst.exits else None

    def step(self, timeout_s: float = STEP_S) -> None:
        """Wait for output at most so long, pass it on, then see to exits, restarts and silence."""
        self._read(timeout_s)
        now = self._now()
        for child in self._children:
            if child.process is None:
                if now >= child.restart_at:
                    self._start(child)
            elif child.process.poll() is not None:
                self._bury(child, now)
            elif child.spec.is_answering is not None:
                self._ask(child, now)

    def stop(self) -> list[str]:
        """Stop the last added first; the names of those that had to be killed."""
        killed = []
        deadline, requests = self._now() + STOP_WITHIN_S, self.stop_requests
        while self._children:
            child = self._children[-1]
            if not self._stop_one(child, deadline, requests):
                killed.append(child.spec.name)
            self._children.pop()
        self._selector.close()
        return killed

    def _stop_one(self, child: Child, deadline: float, requests: int) -> bool:
        """True when it went by itself in its time; requests beyond ``requests`` hurry it."""
        child.ask_to_stop()
        started_at, went = self._now(), True
        while child.process is not None and child.process.poll() is None:
            grace_s = child.spec.stop_after_s
            if self.stop_requests > requests:
                grace_s = min(grace_s, HURRIED_S)
            if self._now() >= min(started_at + grace_s, deadline):
                went = False
                child.kill()
                child.process.wait()
            self._read(STEP_S / 4)
        self._close(child)
        return went

    def _start(self, child: Child) -> None:
        try:
            child.start(self._now())
        except OSError as error:
            child.exits += 1
            child.restart_at = self._now() + backoff_s(child.exits)
            self._console.say(f"{child.spec.name} cannot be started: {error}")
            return
        if child.process is not None and child.process.stdout is not None:
            self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _read(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            child: Child = key.data
            for line in child.read_lines():
                self._console.child_line(child.spec.name, line)
            if child.has_closed_output:
                self._selector.unregister(key.fileobj)  # it would be readable for ever

    def _bury(self, child: Child, now: float) -> None:
        code = child.process.returncode if child.process else None
        lived_s = now - child.started_at
        child.exits = 1 if lived_s >= HEALTHY_AFTER_S else child.exits + 1
        pause_s = backoff_s(child.exits)
        child.restart_at = now + pause_s
        self._close(child)
        self._console.say(
            f"{child.spec.name} {_how_it_ended(code)} after {lived_s:.1f} s; "
            f"starting it again in {pause_s:g} s"
        )

    def _close(self, child: Child) -> None:
        stream = child.process.stdout if child.process else None
        if stream is not None and stream.fileno() in self._selector.get_map():
            self._selector.unregister(stream)
        for line in child.close():
            self._console.child_line(child.spec.name, line)

    def _ask(self, child: Child, now: float) -> None:
        """A process can be alive and deaf: only an answer counts, not its pid."""
        if now < child.asked_at + ASK_EVERY_S or child.spec.is_answering is None:
            return
        child.asked_at = now
        if child.spec.is_answering():
            child.answered_at = now
        elif now - child.answered_at > child.spec.answer_within_s:
            self._console.say(
                f"{child.spec.name} has not answered for {now - child.answered_at:.0f} s "
                f"(limit {child.spec.answer_within_s:g} s): killed"
            )
            child.kill()


def _how_it_ended(code: int | None) -> str:
    return (
        f"was ended by signal {-code}"
        if code is not None and code < 0
        else f"exited with code {code}"
    )
