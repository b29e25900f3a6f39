"""Delivering events again: each becomes a line of its own, beside the webhook's place."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core import keys, lines
from app.core.errors import InvalidInput, NotFound
from app.core.platform import Platform
from app.core.webhooks import Webhook

ROWS_MOST = 100_000


@dataclass(frozen=True)
class Replayed:
    """How many events will be delivered again, and how many are not kept any more."""

    replayed_count: int
    lost_count: int


@dataclass(frozen=True)
class Filter:
    """Events whose newest attempts came to this; ``since_s``: no longer ago."""

    outcome: str
    since_s: float | None
    limit: int


def _check(webhook: Webhook) -> None:
    if not webhook.enabled:
        raise InvalidInput("enabled", "a disabled webhook is sent nothing; enable it first")


def one(platform: Platform, webhook: Webhook, workspace_id: str | None, event_id: str) -> Replayed:
    """Deliver one event again, whatever became of it; twice asked, it is delivered once.

    Raises:
        InvalidInput: the webhook is disabled, or no workspace is named.
        NotFound: the event is not kept.
    """
    _check(webhook)
    if workspace_id is None or not webhook.covers(workspace_id):
        raise InvalidInput("workspace_id", "a workspace of this webhook, beside event_id")
    if not _again(platform, webhook, workspace_id, event_id):
        raise NotFound(f"no event {event_id} is kept in workspace {workspace_id}")
    return Replayed(1, 0)


def many(
    platform: Platform, webhook: Webhook, workspace_ids: Sequence[str], chosen: Filter
) -> Replayed:
    """Deliver again what came to an outcome, each event once.

    Raises:
        InvalidInput: the webhook is disabled.
    """
    _check(webhook)
    rows = lines.attempts(platform, workspace_ids, webhook.id, "", ROWS_MOST)
    since = 0.0 if chosen.since_s is None else platform.now_ms() - chosen.since_s * 1000
    newest: dict[tuple[str, str], str] = {}
    for row in rows:
        if int(row["id"].split("-")[0]) >= since:
            newest.setdefault((row["workspace_id"], row["event_id"]), row["outcome"])
    events = [event for event, outcome in newest.items() if outcome == chosen.outcome]
    done = [_again(platform, webhook, *event) for event in events[: chosen.limit]]
    return Replayed(sum(done), len(done) - sum(done))


def _again(platform: Platform, webhook: Webhook, workspace_id: str, event_id: str) -> bool:
    """Open a line for one event and wake who delivers; False where the event is not kept."""
    own, data = keys.of(workspace_id), platform.clients.data
    if not data.xrange(own["events"], event_id, event_id):
        return False
    line = f"{webhook.id}|{event_id}"
    lines.open_one(platform, workspace_id, line, event_id, event_id)
    data.publish(own["wake"], event_id)
    return True
