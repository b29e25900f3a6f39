"""One delivery over HTTP: what is sent, how it is signed, and what the answer means.

Source: Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature).
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from standardwebhooks import Webhook as Signer

from app.core import egress
from app.core.events import Event
from app.core.platform import Platform

if TYPE_CHECKING:
    import httpx

RETRY_AFTER_MAX_S = 86_400.0


@dataclass(frozen=True)
class Request:
    """What is sent: ``keys`` sign it (``whsec_…`` or bytes), headers come beside the usual ones."""

    url: str
    id: str
    body: Mapping[str, Any]
    keys: Sequence[str | bytes] = ()
    headers: Mapping[str, str] | None = None
    content_type: str = "application/json"


@dataclass(frozen=True)
class Answer:
    """What came of sending: a status, or the code of what went wrong."""

    status: int | None
    duration_ms: int
    code: str | None = None
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def is_good(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300


def message_id(workspace_id: str, event: Event) -> str:
    """The same for every repeat of one event: what a receiver drops repeats by.

    A digest, for an id of Standard Webhooks holds no full stop, and a workspace's may.
    """
    digest = hashlib.sha256(f"{workspace_id}\0{event.id}".encode()).hexdigest()
    return f"msg_{digest[:32]}"


def signed(request: Request, now_ms: int) -> tuple[bytes, dict[str, str]]:
    """Body and headers; with several keys there are as many signatures."""
    content = json.dumps(request.body, ensure_ascii=False, separators=(",", ":"))
    at = datetime.fromtimestamp(now_ms // 1000, UTC)
    headers = {
        "content-type": request.content_type,
        "user-agent": "Turnkeeper",
        **(request.headers or {}),
        "webhook-id": request.id,
        "webhook-timestamp": str(now_ms // 1000),
    }
    if request.keys:
        signatures = [Signer(key).sign(request.id, at, content) for key in request.keys]
        headers["webhook-signature"] = " ".join(signatures)
    return content.encode(), headers


def client(platform: Platform, connections_max: int = 100) -> "httpx.Client":
    """A client within the bounds of a delivery."""
    limit_s = platform.settings.webhook_timeout_s
    bounds = egress.Bounds(
        connect_s=min(5.0, limit_s),
        read_s=limit_s,
        write_s=limit_s,
        total_s=limit_s,
        body_max_bytes=65_536,
        setting="TURNKEEPER_WEBHOOK_TIMEOUT_S",
    )
    allow = platform.settings.egress_allow
    return egress.client(allow, bounds, connections_max=connections_max)


def send(http: "httpx.Client", request: Request, now_ms: int) -> Answer:
    """Send once. Whatever happens on the way is an answer, no exception."""
    content, headers = signed(request, now_ms)
    began = time.monotonic()

    def passed_ms() -> int:
        return round((time.monotonic() - began) * 1000)

    try:
        url = egress.check_url(request.url)
        with http.stream("POST", url, content=content, headers=headers) as answer:
            _drain(answer)
    except Exception as error:  # noqa: BLE001 - told in the attempt's row; the next one is served
        code, text = egress.told(error)
        return Answer(None, passed_ms(), code, text)
    told = Answer(answer.status_code, passed_ms(), retry_after_s=_retry_after(answer.headers))
    if told.is_good:
        return told
    text = f"the receiver answered {answer.status_code}"
    return Answer(told.status, told.duration_ms, "refused", text, told.retry_after_s)


def _drain(answer: "httpx.Response") -> None:
    """Read what is left, so that the connection can be used again; its status has said it all."""
    with suppress(Exception):
        for _ in answer.iter_raw():
            pass


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return min(float(text), RETRY_AFTER_MAX_S) if text.isascii() and text.isdigit() else None


@dataclass(frozen=True)
class Retries:
    """The schedule of one event's attempts."""

    first_s: float
    max_s: float
    attempts: int

    def delay_s(self, attempt: int, chance: float) -> float:
        """After the nth failed attempt: doubling, a quarter more or less, at most the longest.

        ``chance``: 0 to 1, so that receivers that failed together are not tried together.
        """
        plain_s = self.first_s * 2.0 ** min(attempt - 1, 60)
        return min(self.max_s, plain_s * (0.75 + chance / 2))


@dataclass(frozen=True)
class Verdict:
    """What becomes of the event, and whether its receiver is given up."""

    outcome: str
    delay_s: float = 0
    disable: str | None = None
    failed_count: int | None = None


def judge(answer: Answer, attempt: int, is_alive: bool, retries: Retries, chance: float) -> Verdict:
    """After the nth attempt at one event.

    ``is_alive``: the receiver took another event since this one began to fail, so the fault is
    this event's: it is given up. Else the receiver is.
    """
    if answer.is_good:
        return Verdict("acked")
    if answer.status == 410:
        return Verdict("disabled", retries.max_s, "the receiver answered 410 Gone")
    if attempt < retries.attempts:
        delay_s = retries.delay_s(attempt, chance)
        if answer.status in (429, 503) and answer.retry_after_s is not None:
            delay_s = max(delay_s, answer.retry_after_s)
        return Verdict("retry", delay_s)
    if is_alive:
        return Verdict("dead")
    reason = f"{attempt} attempts failed: {answer.error}"
    return Verdict("disabled", retries.max_s, reason, attempt)
