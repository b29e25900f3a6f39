"""One poller: takes a turn, says start, hands it to a session's thread, polls again."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from runtime import backoff, threads
from runtime.client import Platform, PlatformError, Refused, StaleFence, Unreachable
from runtime.roster import Roster
from runtime.session import Host, Session
from runtime.settings import RuntimeSettings
from runtime.wire import Directive, MalformedTurnError, Turn, parse_directives, parse_turn

log = structlog.get_logger(__name__)

REPEAT_WAIT_S = 1.0


@dataclass(frozen=True)
class Poller:
    """What the poll loop works with. ``register_again`` is called after a refused token."""

    platform: Platform
    host: Host
    roster: Roster
    settings: RuntimeSettings
    stopping: threading.Event
    on_directives: Callable[[tuple[Directive, ...]], None]
    register_again: Callable[[], None]
    on_crash: Callable[[], None]


def run(poller: Poller) -> None:
    """Poll until ``stopping`` is set; never ends because the platform is away."""
    failures = 0
    while not poller.stopping.is_set():
        if not poller.roster.wait_for_slot():
            return
        try:
            reply = poller.platform.next_turn(poller.settings.poll_wait_s)
        except PlatformError as error:
            if poller.stopping.is_set():
                return
            failures += 1
            _after_failure(poller, error, failures)
            continue
        failures = 0
        poller.on_directives(parse_directives(reply))
        if not _take(poller, reply.get("turn")):
            poller.stopping.wait(REPEAT_WAIT_S)


def _after_failure(poller: Poller, error: PlatformError, failures: int) -> None:
    log.warning("poll_failed", error=str(error), failures=failures)
    poller.stopping.wait(_delay_s(poller.settings, error, failures))
    if isinstance(error, Refused) and not poller.stopping.is_set():
        poller.register_again()


def _take(poller: Poller, raw: dict[str, Any] | None) -> bool:
    """Begin the turn; False when the same answer would come again at once."""
    if raw is None:
        return True
    try:
        turn = parse_turn(raw)
    except MalformedTurnError as error:
        log.error("turn_ignored", error=str(error))
        return False
    session = Session(turn, poller.host)
    if not poller.roster.admit(turn.session_id, turn.fence, session):
        log.info("turn_repeated", session_id=turn.session_id, fence=turn.fence)
        return False
    if not _say_start(poller, turn):
        poller.roster.free(turn.session_id, is_reported=True)
        return True
    threads.start(f"session-{turn.session_id}", lambda: _work(poller, session), poller.on_crash)
    return True


def _work(poller: Poller, session: Session) -> None:
    is_reported = False
    try:
        is_reported = session.run()
    finally:
        poller.roster.free(session.turn.session_id, is_reported=is_reported)


def _say_start(poller: Poller, turn: Turn) -> bool:
    """Post start until there is a definite answer; False when the turn is not ours to run.

    A lost reply leaves open whether the platform knows, so it is asked again (start may be
    repeated), and stopping meanwhile hands the turn back.
    """
    failures = 0
    while not poller.stopping.is_set():
        try:
            reply = poller.host.platform.start(turn.session_id, turn.fence)
        except StaleFence as error:
            log.info("turn_dropped", session_id=turn.session_id, error=str(error))
            return False
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and not error.is_about_the_token:
                log.error("turn_dropped", session_id=turn.session_id, error=str(error))
                return False
            failures += 1
            log.warning("start_failed", session_id=turn.session_id, error=str(error))
            poller.stopping.wait(_delay_s(poller.settings, error, failures))
        else:
            log.info("turn_started", session_id=turn.session_id, turn_id=turn.turn_id)
            poller.on_directives(parse_directives(reply))
            return True
    try:
        poller.host.platform.release(turn.session_id, turn.fence, "drain")
    except PlatformError as error:
        log.warning("release_failed", session_id=turn.session_id, error=str(error))
    return False


def _delay_s(settings: RuntimeSettings, error: PlatformError, failures: int) -> float:
    wished_s = error.retry_after_s if isinstance(error, Unreachable) else 0.0
    return max(wished_s, backoff.delay_s(failures, settings.retry_min_s, settings.retry_max_s))
