"""One poller: takes a turn, says start, hands it to a session's thread, polls again.

A poll is open at all times. While every slot is taken it asks with ``room=0``, which the platform
answers with directives only, so that a checkpoint or a cancel does not wait for the next beat.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from runtime import backoff, threads
from runtime.client import (
    Interrupted,
    Platform,
    PlatformError,
    Refused,
    StaleFence,
    Unreachable,
)
from runtime.roster import Roster
from runtime.session import Host, Session
from runtime.settings import RuntimeSettings
from runtime.wire import Directive, MalformedTurnError, Turn, parse_directives, parse_turn

log = structlog.get_logger(__name__)

REPEAT_WAIT_S = 1.0


class Poller:
    """The poll loop. ``register_again`` is called after a refused token."""

    def __init__(
        self,
        platform: Platform,
        host: Host,
        roster: Roster,
        settings: RuntimeSettings,
        stopping: threading.Event,
        on_directives: Callable[[tuple[Directive, ...]], None],
        register_again: Callable[[], None],
        on_crash: Callable[[], None],
    ) -> None:
        self._platform = platform
        self._host = host
        self._roster = roster
        self._settings = settings
        self._stopping = stopping
        self._on_directives = on_directives
        self._register_again = register_again
        self._on_crash = on_crash
        self._lock = threading.Lock()
        self._is_full = False
        self._has_room = threading.Event()
        self._failures = 0

    def run(self) -> None:
        """Poll until ``stopping`` is set; never ends because the platform is away."""
        while not self._stopping.is_set():
            try:
                self._poll()
            except Interrupted:
                continue
            except PlatformError as error:
                self._after_failure(error)

    def _poll(self) -> None:
        """One request and what follows from its answer. Raises: PlatformError."""
        with self._lock:
            room = self._roster.room()
            self._is_full = room == 0
            self._has_room.clear()
            self._platform.rearm()
        asked_at = time.monotonic()
        reply = self._platform.next_turn(self._settings.poll_wait_s, room)
        self._failures = 0
        directives = parse_directives(reply)
        self._on_directives(directives)
        raw = reply.get("turn")
        if raw is not None:
            is_answer = self._take(raw)
        else:  # a platform that is stopping says "nothing" without waiting
            is_quick = time.monotonic() - asked_at < min(REPEAT_WAIT_S, self._settings.poll_wait_s)
            is_answer = bool(directives) or not is_quick
        if not is_answer:
            self._has_room.wait(REPEAT_WAIT_S)

    def _on_room(self) -> None:
        """A slot became free. Only a poll without room is ended: any other may bring a turn."""
        with self._lock:
            if self._is_full:
                self._has_room.set()
                self._platform.interrupt()

    def _after_failure(self, error: PlatformError) -> None:
        if self._stopping.is_set():
            return
        self._failures += 1
        log.warning("poll_failed", error=str(error), failures=self._failures)
        self._stopping.wait(self._delay_s(error, self._failures))
        if isinstance(error, Refused) and not self._stopping.is_set():
            self._register_again()

    def _take(self, raw: dict[str, Any]) -> bool:
        """Begin the turn; False when the same answer would come again at once."""
        try:
            turn = parse_turn(raw)
        except MalformedTurnError as error:
            log.error("turn_ignored", error=str(error))
            return False
        session = Session(turn, self._host)
        is_known = self._roster.find(turn.session_id) is not None
        # The platform may count a slot as free a moment before its session's thread has ended.
        if not is_known and not self._roster.wait_for_room(REPEAT_WAIT_S):
            log.error("turn_returned", session_id=turn.session_id, reason="no_room")
            self._release(turn, "no_room")
            return False
        if not self._roster.admit(turn.session_id, turn.fence, session):
            log.info("turn_repeated", session_id=turn.session_id, fence=turn.fence)
            return False
        if not self._say_start(turn):
            self._roster.free(turn.session_id)
            return True
        threads.start(f"session-{turn.session_id}", lambda: self._work(session), self._on_crash)
        return True

    def _work(self, session: Session) -> None:
        try:
            session.run()
        finally:
            self._roster.free(session.turn.session_id)
            self._on_room()

    def _say_start(self, turn: Turn) -> bool:
        """Post start until there is a definite answer; False when the turn is not ours to run.

        A lost reply leaves open whether the platform knows, so it is asked again (start may be
        repeated), and stopping meanwhile hands the turn back.
        """
        failures = 0
        while not self._stopping.is_set():
            try:
                reply = self._host.platform.start(turn.session_id, turn.fence)
            except StaleFence as error:
                log.info("turn_dropped", session_id=turn.session_id, error=str(error))
                return False
            except (Unreachable, Refused) as error:
                if isinstance(error, Refused) and not error.is_about_the_token:
                    log.error("turn_dropped", session_id=turn.session_id, error=str(error))
                    return False
                failures += 1
                log.warning("start_failed", session_id=turn.session_id, error=str(error))
                self._stopping.wait(self._delay_s(error, failures))
            else:
                log.info("turn_started", session_id=turn.session_id, turn_id=turn.turn_id)
                self._on_directives(parse_directives(reply))
                return True
        self._release(turn, "drain")
        return False

    def _release(self, turn: Turn, reason: str) -> None:
        try:
            self._host.platform.release(turn.session_id, turn.fence, reason)
        except PlatformError as error:
            log.warning("release_failed", session_id=turn.session_id, error=str(error))

    def _delay_s(self, error: PlatformError, failures: int) -> float:
        low_s, high_s = self._settings.retry_min_s, self._settings.retry_max_s
        wished_s = error.retry_after_s if isinstance(error, Unreachable) else 0.0
        return max(wished_s, backoff.delay_s(failures, low_s, high_s))
