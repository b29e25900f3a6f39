"""The prctl calls the runtime wants; each says False where there is no prctl."""

import ctypes
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Make orphans of our children our own children instead of init's."""
    return _prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(signal_number: int) -> bool:
    """Ask for a signal when the parent *thread* that forked us ends (prctl(2))."""
    return _prctl(PR_SET_PDEATHSIG, signal_number)


def hide_memory() -> bool:
    """Keep processes of the same user from reading this one's memory and environment.

    Its environment holds the token. Undone by exec, so children are not affected; nothing helps
    against root (prctl(2), ptrace(2)).
    """
    return _prctl(PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)) == 0
