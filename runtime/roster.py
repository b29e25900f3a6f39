"""The sessions that work in this runtime right now, and how many more may."""

import threading
from collections import OrderedDict
from typing import Protocol

from runtime.wire import Directive

REMEMBERED_MAX = 512


class Member(Protocol):
    """What the roster holds."""

    def direct(self, directive: Directive) -> None:
        """Carry out a directive; quick, never blocks on the network."""


class Roster:
    """Thread-safe. A session is *working* while it has a slot."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._changed = threading.Condition()
        self._working: dict[str, Member] = {}
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()

    def admit(self, session_id: str, fence: int, member: Member) -> bool:
        """Take a session in; False when this one was taken before."""
        with self._changed:
            if session_id in self._working or (session_id, fence) in self._seen:
                return False
            self._working[session_id] = member
            self._seen[(session_id, fence)] = None
            while len(self._seen) > REMEMBERED_MAX:
                self._seen.popitem(last=False)
            return True

    def free(self, session_id: str) -> None:
        """The work is over; the outcome was delivered, or waits in the spool."""
        with self._changed:
            self._working.pop(session_id, None)
            self._changed.notify_all()

    def room(self) -> int:
        """How many slots are free."""
        with self._changed:
            return max(0, self.slots - len(self._working))

    def wait_for_room(self, timeout_s: float) -> bool:
        """Is a slot free? Waits for one."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._working) < self.slots, timeout_s)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Is nothing working? Waits for it."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._working, timeout_s)

    def working(self) -> list[Member]:
        """Those with a slot."""
        with self._changed:
            return list(self._working.values())

    def find(self, session_id: str) -> Member | None:
        """The working session of that id."""
        with self._changed:
            return self._working.get(session_id)

    def count(self) -> int:
        """How many work."""
        with self._changed:
            return len(self._working)

    def session_ids(self) -> list[str]:
        """Those with a slot, by id."""
        with self._changed:
            return sorted(self._working)
