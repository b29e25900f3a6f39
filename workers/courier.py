"""Delivers what one line owes, in order, until it owes nothing or an event must be tried later.

A lease holds the line meanwhile, so no two senders deliver one event at once. Dying between the
receiver's answer and the settlement repeats the event, under the same id.
"""

import random
from dataclasses import dataclass

import httpx
import structlog

from app.core import egress, ids, lines
from app.core.events import Event
from app.core.lines import Attempt, Later, Line, Settlement, Taken
from app.core.platform import Platform
from app.core.webhook_post import Answer, Retries, Verdict, judge, send
from workers.receivers import PushReceiver, Receiver, Sending

PAGES_MOST = 4
LEASE_MARGIN_S = 5.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Courier:
    """What every delivery of a worker shares."""

    platform: Platform
    http: httpx.Client

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

    def deliver(self, workspace_id: str, line: str, receiver: Receiver) -> float | None:
        """Serve a line for a few pages. In how many seconds to come again; None: when it owes."""
        token = ids.new("dlv")
        for page in range(PAGES_MOST):
            taken = lines.take(self.platform, workspace_id, line, token, self.lease_s)
            if isinstance(taken, Later):
                return taken.wait_s
            if taken is None:
                return None
            again_s = _Page(self, workspace_id, token, receiver, taken).deliver(
                is_last=page + 1 == PAGES_MOST
            )
            if again_s is not None:
                return again_s
        return 0.0


@dataclass(frozen=True)
class _Page:
    """One page of a held line."""

    courier: Courier
    workspace_id: str
    token: str
    receiver: Receiver
    taken: Taken

    def deliver(self, is_last: bool) -> float | None:
        """Returns when to come again, where the page ended early."""
        line, found = self.taken.line, self.taken.events
        wanted = [event for event in found if line.only or self.receiver.wants(event)]
        tail_id = found[-1].id
        for number, event in enumerate(wanted):
            if self.courier.platform.stopping.is_set():
                self._settle(Settlement("", "release"))
                return 0.0
            is_end = event.id == tail_id
            hold_s = 0 if is_end and is_last else self.courier.lease_s
            attempts = line.attempts if number == 0 else 0
            again_s = self._one(event, attempts, hold_s)
            if again_s is not None:
                return again_s
            if line.only:
                return 0.0
        if not wanted or wanted[-1].id != tail_id:
            hold_s = 0 if is_last else self.courier.lease_s
            if self._settle(Settlement(tail_id, "passed", hold_s=hold_s)) != "ok":
                return 0.0
        return None

    def _one(self, event: Event, attempts: int, hold_s: float) -> float | None:
        """One event. Returns when to come again, where the line is not ours any more."""
        platform, receiver = self.courier.platform, self.receiver
        now_ms = platform.now_ms()
        sending = receiver.sending(platform, event, now_ms)
        if sending is None:
            self._settle(Settlement(event.id, "passed", is_done=True))
            return 0.0
        answer = send(self.courier.http, sending.request, now_ms)
        verdict = self._judged(answer, attempts + 1)
        if verdict.outcome == "acked":
            receiver.took(platform)
        what = self._settlement(event, sending, answer, verdict, attempts, hold_s)
        settled = self._settle(what)
        self._tell(event, answer, verdict, attempts + 1)
        if verdict.disable is not None:
            receiver.give_up(platform, verdict.disable, verdict.failed_count)
        if settled != "ok" or what.is_done or verdict.outcome in ("retry", "disabled"):
            return verdict.delay_s
        return None

    def _judged(self, answer: Answer, attempt: int) -> Verdict:
        platform, line = self.courier.platform, self.taken.line
        since = line.failed_since or 0
        is_alive = bool(since) and self.receiver.is_alive_since(platform, since)
        if isinstance(self.receiver, PushReceiver) or line.only is not None:
            is_alive = True  # a single event is given up, not its receiver
        return judge(answer, attempt, is_alive, self.courier.retries(), random.random())

    def _settlement(
        self,
        event: Event,
        sending: Sending,
        answer: Answer,
        verdict: Verdict,
        attempts: int,
        hold_s: float,
    ) -> Settlement:
        is_push = isinstance(self.receiver, PushReceiver)
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
        if outcome in ("retry", "disabled"):
            hold_s = 0
        return Settlement(event.id, outcome, attempt, verdict.delay_s, hold_s, is_done)

    def _settle(self, what: Settlement) -> str:
        line: Line = self.taken.line
        return lines.settle(self.courier.platform, self.workspace_id, line.id, self.token, what)

    def _tell(self, event: Event, answer: Answer, verdict: Verdict, attempt: int) -> None:
        if verdict.outcome == "acked":
            return
        log.warning(
            "delivery failed",
            workspace_id=self.workspace_id,
            line=self.taken.line.id,
            event_id=event.id,
            attempt=attempt,
            outcome=verdict.outcome,
            status=answer.status,
            code=answer.code,
            retry_in_s=round(verdict.delay_s, 1),
        )
