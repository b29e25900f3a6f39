"""The two prctl calls the runtime wants; both say False where there is no prctl."""

import ctypes
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Make orphans of our children our own children instead of init's."""
    return _prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(signal_number: int) -> bool:
    """Ask for a signal when the parent *thread* that forked us ends (prctl(2))."""
    return _prctl(PR_SET_PDEATHSIG, signal_number)


def _prctl(option: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)) == 0
