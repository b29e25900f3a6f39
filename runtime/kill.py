"""The kill ladder: end a child and all it started, then look whether anything is left.

The group alone is not enough: tools of agents run in sessions of their own, so descendants,
the child's session and an environment marker are searched as well, and its control group where
there is one.
"""

import enum
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK_NAME = "TURNKEEPER_MARK"
CANCEL_RUNGS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LEFTOVER_RUNGS = (signal.SIGTERM, signal.SIGKILL)
KILL_RUNGS = (signal.SIGKILL,)
LAST_WAIT_S = 5.0
POLL_MIN_S = 0.02
POLL_MAX_S = 0.25


class Step(enum.Enum):
    """What the ladder does now."""

    DONE = "done"
    SEND = "send"
    WAIT = "wait"
    GIVE_UP = "give_up"


START_RESOLUTION_S = 0.02  # of a process's start time on Linux


@dataclass(frozen=True)
class Target:
    """Which processes belong to one session: the leader's pid and start time (seconds since the
    epoch), and the marker. pid 0: only the marker is known."""

    pid: int
    created: float
    mark: str


@dataclass(frozen=True)
class Signaled:
    """One signal that was sent."""

    pid: int
    name: str
    signal: str


@dataclass(frozen=True)
class KillReport:
    """What was signaled, and what would not die."""

    signaled: tuple[Signaled, ...]
    left: tuple[str, ...]


def next_step(
    sent: int, count: int, since_s: float, grace_s: float, alive: int, *, is_hurried: bool
) -> Step:
    """Decide from the number of rungs already sent and the seconds since the last one."""
    if alive == 0:
        return Step.DONE
    if sent >= count:
        return Step.GIVE_UP if since_s >= LAST_WAIT_S else Step.WAIT
    if sent == 0 or is_hurried or since_s >= grace_s:
        return Step.SEND
    return Step.WAIT


def climb(
    find: Callable[[], list[psutil.Process]],
    rungs: tuple[signal.Signals, ...],
    grace_s: float,
    hurry: threading.Event,
    kill_all: Callable[[], None] = lambda: None,
) -> KillReport:
    """Signal what ``find`` gives, rung by rung, until it gives nothing. Blocks.

    Each process gets each signal once (two SIGINTs mean "force" to many programs), SIGKILL on
    every look, which ``kill_all`` follows. Setting ``hurry`` jumps to the last rung. Where
    something was signaled, two looks
    in a row must find nothing: one reads process after process, and a process that forks and
    exits meanwhile leaves a child that it has not seen.
    """
    sent, sent_at, poll_s = 0, time.monotonic(), POLL_MIN_S
    told: dict[tuple[psutil.Process, signal.Signals], Signaled] = {}
    pause = threading.Event()
    while True:
        alive = find()
        if not alive and told:
            pause.wait(POLL_MIN_S)
            alive = find()
        since_s = time.monotonic() - sent_at
        is_hurried = hurry.is_set()
        step = next_step(sent, len(rungs), since_s, grace_s, len(alive), is_hurried=is_hurried)
        if step in (Step.DONE, Step.GIVE_UP):
            return KillReport(tuple(told.values()), tuple(describe(one) for one in alive))
        if step is Step.SEND:
            sent = len(rungs) if is_hurried else sent + 1
            sent_at, poll_s = time.monotonic(), POLL_MIN_S
        _signal_all(alive, rungs[sent - 1], told)
        if rungs[sent - 1] == signal.SIGKILL:
            kill_all()
        pause.wait(poll_s)
        poll_s = min(poll_s * 1.5, POLL_MAX_S)


def find_alive(target: Target, strays: Iterable[int] = ()) -> list[psutil.Process]:
    """Every living process of the target: its tree, group, session, marker, and ``strays``.

    A pid that was reused since (another start time) counts for nothing, nor does its group; a
    stray older than the target is no orphan of it.
    """
    processes = {one.pid: one for one in psutil.process_iter(["ppid", "status", "create_time"])}
    leader = processes.get(target.pid)
    is_reused = leader is not None and abs(leader.info["create_time"] - target.created) > 1.0
    has_group = target.pid > 1 and not is_reused
    wanted = {target.pid} if has_group else set()
    wanted |= {pid for pid in strays if pid in processes and _is_younger(processes[pid], target)}
    wanted |= {pid for pid in processes if _is_of(pid, target, has_group=has_group)}
    _add_descendants(wanted, {pid: one.info["ppid"] for pid, one in processes.items()})
    return [
        processes[pid]
        for pid in sorted(wanted - {0, 1, os.getpid()})
        if pid in processes and processes[pid].info["status"] != psutil.STATUS_ZOMBIE
    ]


def _is_younger(process: psutil.Process, target: Target) -> bool:
    return bool(process.info["create_time"] >= target.created - START_RESOLUTION_S)


def read_mark(pid: int) -> str | None:
    """The marker in a process's environment; None if it has none or cannot be read."""
    try:
        if sys.platform.startswith("linux"):
            raw = Path(f"/proc/{pid}/environ").read_bytes()
            prefix = MARK_NAME.encode() + b"="
            found = [item for item in raw.split(b"\0") if item.startswith(prefix)]
            return found[0][len(prefix) :].decode("utf-8", "replace") if found else None
        return psutil.Process(pid).environ().get(MARK_NAME)
    except (OSError, psutil.Error):
        return None


def describe(process: psutil.Process) -> str:
    """``pid name`` for logs; no arguments, they may hold the prompt."""
    return f"{process.pid} {_name(process)}"


def _is_of(pid: int, target: Target, *, has_group: bool) -> bool:
    try:
        if has_group and target.pid in (os.getpgid(pid), os.getsid(pid)):
            return True
    except OSError:
        return False
    return read_mark(pid) == target.mark


def _add_descendants(wanted: set[int], parents: dict[int, int]) -> None:
    grew = True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in wanted and pid not in wanted}
        wanted |= more
        grew = bool(more)


def _signal_all(
    alive: list[psutil.Process],
    rung: signal.Signals,
    told: dict[tuple[psutil.Process, signal.Signals], Signaled],
) -> None:
    for process in alive:
        if (process, rung) in told and rung != signal.SIGKILL:
            continue
        name = _name(process)
        try:
            process.send_signal(rung)
        except psutil.Error:
            continue  # gone since the look, or not ours: the next look tells which
        told[(process, rung)] = Signaled(process.pid, name, rung.name)
        with suppress(psutil.Error):  # it may have ended of the signal already
            if process.status() == psutil.STATUS_STOPPED and rung != signal.SIGKILL:
                process.send_signal(signal.SIGCONT)  # a stopped process does not see the signal


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return "?"
