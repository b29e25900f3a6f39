"""Delivers what one line owes, in order, until it owes nothing or an event must be tried later.

A lease holds the line meanwhile, so no two senders deliver one event at once. Dying between the
receiver's answer and the settlement repeats the event, under the same id. Who the receiver is, is
read before every event: a new secret or URL counts from the next one on.
"""

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import structlog
from redis.exceptions import RedisError

from app.core import egress, ids, lines
from app.core.events import Event
from app.core.lines import Attempt, Later, Line, Settlement
from app.core.platform import Platform
from app.core.webhook_post import Answer, Retries, Verdict, judge, send
from workers.receivers import PushReceiver, Receiver, Sending, find

SHARE_S = 2.0  # a line is served for so long, then others that wait have their turn
LEASE_MARGIN_S = 5.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Served:
    """How a line was left: in how many seconds to come again (None: when it owes), and whether its
    receiver failed last (None: it was sent nothing)."""

    again_s: float | None
    has_failed: bool | None = None


@dataclass(frozen=True)
class Courier:
    """What every delivery of a worker shares."""

    platform: Platform
    http: httpx.Client
    share_s: float = SHARE_S

    @property
    def lease_s(self) -> float:
        """Longer than one delivery can take, so that it ends only for the dead."""
        return self.platform.settings.webhook_timeout_s + LEASE_MARGIN_S

    def retries(self) -> Retries:
        """The schedule of the settings."""
        settings = self.platform.settings
        return Retries(
            settings.webhook_retry_s, settings.webhook_retry_max_s, settings.webhook_attempts
        )

    def deliver(self, workspace_id: str, line: str) -> Served:
        """Serve a line for a share of time; at least one event of it."""
        ends_at = self.platform.clock.monotonic() + self.share_s
        return _Turn(self, workspace_id, line, ends_at).serve()


@dataclass
class _Turn:
    """One line, while it is held."""

    courier: Courier
    workspace_id: str
    line_id: str
    ends_at: float
    has_failed: bool | None = None
    token: str = field(default_factory=lambda: ids.new("dlv"))

    def serve(self) -> Served:
        """Page after page."""
        platform, lease_s = self.courier.platform, self.courier.lease_s
        while True:
            taken = lines.take(platform, self.workspace_id, self.line_id, self.token, lease_s)
            if isinstance(taken, Later):
                return self._left(taken.wait_s)
            if taken is None:
                return self._left(None)
            left = self._page(taken.line, taken.events)
            if left is not None:
                return left

    def _left(self, again_s: float | None) -> Served:
        return Served(again_s, self.has_failed)

    def _hold_s(self) -> float:
        """How long the line is held beyond this settlement; 0: it is put down with it."""
        is_over = self.courier.platform.clock.monotonic() >= self.ends_at
        return 0 if is_over or self.courier.platform.stopping.is_set() else self.courier.lease_s

    def _page(self, line: Line, found: Sequence[Event]) -> Served | None:
        """Returns how the line was left, where the page ended early."""
        receiver = find(self.courier.platform, self.workspace_id, line.id)
        if receiver is None:
            return self._release(None)
        wanted = [event for event in found if line.only or receiver.wants(event)]
        for number, event in enumerate(wanted):
            left = self._one(line, event, line.attempts if number == 0 else 0)
            if left is not None:
                return left
        tail_id = found[-1].id
        if not wanted or wanted[-1].id != tail_id:
            hold_s = self._hold_s()
            passed = self._settle(Settlement(tail_id, "passed", hold_s=hold_s))
            if passed != "ok" or not hold_s:
                return self._left(0.0)
        return None

    def _release(self, again_s: float | None) -> Served:
        self._settle(Settlement("", "release"))
        return self._left(again_s)

    def _one(self, line: Line, event: Event, attempts: int) -> Served | None:
        """One event. Returns how the line was left, where it is not ours any more."""
        platform = self.courier.platform
        if platform.stopping.is_set():
            return self._release(0.0)
        receiver, now_ms = find(platform, self.workspace_id, line.id), platform.now_ms()
        if receiver is None:
            return self._release(None)
        sending = receiver.sending(platform, event, now_ms)
        if sending is None:
            self._settle(Settlement(event.id, "passed", is_done=True))
            return self._left(0.0)
        answer = send(self.courier.http, sending.request, now_ms)
        verdict = self._judged(line, receiver, answer, attempts + 1)
        what = self._settlement(receiver, event, sending, answer, verdict, attempts)
        settled = self._settle(what)
        self.has_failed = verdict.outcome != "acked"
        if not self.has_failed:
            with suppress(RedisError):  # only a hint; the event is delivered and settled
                receiver.took(platform)
        self._tell(event, answer, verdict, attempts + 1)
        if verdict.outcome == "disabled":
            return self._left(None)
        if settled != "ok" or what.is_done or not what.hold_s or line.only:
            return self._left(verdict.delay_s)
        return None

    def _judged(self, line: Line, receiver: Receiver, answer: Answer, attempt: int) -> Verdict:
        """A receiver that is given up is so before the attempt is settled: a death in between
        leaves its line to be closed, and not a day of rest."""
        platform, retries = self.courier.platform, self.courier.retries()
        since = line.failed_since or 0
        is_alive = bool(since) and receiver.is_alive_since(platform, since)
        if isinstance(receiver, PushReceiver) or line.only is not None:
            is_alive = True  # a single event is given up, not its receiver
        verdict = judge(answer, attempt, is_alive, retries, random.random())
        if verdict.disable is None or receiver.give_up(
            platform, verdict.disable, verdict.failed_count
        ):
            return verdict
        return Verdict("retry", retries.delay_s(attempt, random.random()))

    def _settlement(
        self,
        receiver: Receiver,
        event: Event,
        sending: Sending,
        answer: Answer,
        verdict: Verdict,
        attempts: int,
    ) -> Settlement:
        is_push = isinstance(receiver, PushReceiver)
        outcome = "dead" if is_push and verdict.outcome == "disabled" else verdict.outcome
        attempt = Attempt(
            outcome,
            attempts + 1,
            egress.shown(sending.request.url),
            event.event,
            answer.status,
            answer.duration_ms,
            answer.code,
            answer.error,
        )
        is_done = outcome in ("acked", "dead") and (
            sending.is_last or (is_push and verdict.disable is not None)
        )
        hold_s = 0 if outcome in ("retry", "disabled") else self._hold_s()
        return Settlement(event.id, outcome, attempt, verdict.delay_s, hold_s, is_done)

    def _settle(self, what: Settlement) -> str:
        platform = self.courier.platform
        return lines.settle(platform, self.workspace_id, self.line_id, self.token, what)

    def _tell(self, event: Event, answer: Answer, verdict: Verdict, attempt: int) -> None:
        if verdict.outcome == "acked":
            return
        log.warning(
            "delivery failed",
            workspace_id=self.workspace_id,
            line=self.line_id,
            event_id=event.id,
            attempt=attempt,
            outcome=verdict.outcome,
            status=answer.status,
            code=answer.code,
            retry_in_s=round(verdict.delay_s, 1),
        )
