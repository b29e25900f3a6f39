"""The supervisor's will: a small process that kills its children if it is itself killed.

It waits on a pipe from the supervisor. At the pipe's end everything is ended that is still
watched: nothing after a clean stop, every running session after a SIGKILL.
"""

import json
import shutil
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import psutil

from runtime.cgroup import Group
from runtime.kill import LEFTOVER_RUNGS, Target, climb, find_alive

GRACE_S = 2.0


def main() -> int:
    """``python -m runtime.guard_process``; reads one JSON object a line."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched: dict[str, tuple[Target, str, Group]] = {}
    for line in sys.stdin:
        message = json.loads(line)
        if "watch" in message:
            mark = message["watch"]
            target = Target(message["pid"], message["created"], mark)
            group = Group(Path(message["group"]) if message["group"] else None)
            watched[mark] = (target, message["directory"], group)
        else:
            watched.pop(message["unwatch"], None)
    for target, directory, group in watched.values():
        find = partial(_find, target, group)
        climb(find, LEFTOVER_RUNGS, GRACE_S, threading.Event(), group.kill)
        group.remove()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def _find(target: Target, group: Group) -> list[psutil.Process]:
    return find_alive(target, group.pids())


if __name__ == "__main__":
    sys.exit(main())
