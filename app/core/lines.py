"""Lines: what each receiver of events is owed of a workspace, and every attempt to deliver it.

A line is named by its receiver: a webhook's id; ``<webhook id>|<event id>`` for one event that is
delivered again; ``push|<turn id>:<configuration id>`` for A2A push notifications. Its record,
lease, cursor and next try stand in the workspace's own slot, beside the events.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core import events, keys, scripts
from app.core.errors import TurnkeeperError
from app.core.events import Event
from app.core.platform import Platform

PAGE = 50
COUNTED_MOST = 1000
PUSH = "push|"
# Delivered; to be tried again; given up; the attempt with which its receiver was given up.
OUTCOMES = ("acked", "retry", "dead", "disabled")


@dataclass(frozen=True)
class Line:
    """A line's record. Times are ms since the epoch, server time."""

    id: str
    cursor: str
    attempts: int = 0
    only: str | None = None
    next_at: int | None = None
    failed_since: int | None = None
    lease_until: int | None = None
    opened_at: int | None = None
    closed_at: int | None = None
    done_at: int | None = None

    @classmethod
    def parse(cls, line_id: str, text: str) -> "Line":
        """From the script's JSON."""
        known = cls.__dataclass_fields__
        fields = {name: value for name, value in json.loads(text).items() if name in known}
        return cls(**{**fields, "id": line_id})

    @property
    def is_open(self) -> bool:
        """Whether it owes what comes after its cursor."""
        return self.closed_at is None and self.done_at is None

    def owes(self, last_event_id: str) -> bool:
        """Whether something in the stream is still to be looked at."""
        if not self.is_open:
            return False
        return self.only is not None or events.order(self.cursor) < events.order(last_event_id)


@dataclass(frozen=True)
class Taken:
    """A line held by us, and the next events it owes, oldest first."""

    line: Line
    events: Sequence[Event]


@dataclass(frozen=True)
class Later:
    """Somebody holds the line, or its next try is not due."""

    wait_s: float


@dataclass(frozen=True)
class Attempt:
    """One delivery: what came of it, in words that hold no secret and no part of the body."""

    outcome: str
    number: int
    url: str
    event: str
    status: int | None = None
    duration_ms: int = 0
    code: str | None = None
    error: str | None = None

    def row(self) -> str:
        """As it is kept."""
        told = {
            "url": self.url,
            "event": self.event,
            "status": self.status,
            "duration_ms": self.duration_ms,
            "code": self.code,
            "error": self.error,
        }
        return json.dumps({name: value for name, value in told.items() if value is not None})


@dataclass(frozen=True)
class Standing:
    """Where the lines of a workspace are."""

    workspace_id: str
    lines: Mapping[str, Line]
    pushes: frozenset[str]
    last_event_id: str


def open_one(
    platform: Platform, workspace_id: str, line: str, cursor: str, only: str | None = None
) -> str:
    """Open a line behind ``cursor``, or for one event only; open again, it goes on."""
    return str(platform.run("line_open", workspace_id, line=line, cursor=cursor, only=only)[0])


def open_many(
    platform: Platform, workspace_ids: Sequence[str], line: str, cursor: str, page: int = 500
) -> None:
    """The same line in many workspaces; each is opened or not by itself."""
    args = {"line": line, "cursor": cursor, "only": ""}
    for at in range(0, len(workspace_ids), page):
        calls = [(workspace_id, args) for workspace_id in workspace_ids[at : at + page]]
        scripts.call_many(platform.clients.data, "line_open", calls)


def take(
    platform: Platform, workspace_id: str, line: str, token: str, lease_s: float
) -> Taken | Later | None:
    """Hold a line with the events it owes; None where it owes nothing or is closed."""
    reply = platform.run(
        "line_take",
        workspace_id,
        line=line,
        token=token,
        lease_ms=round(lease_s * 1000),
        page_count=PAGE,
    )
    if reply[0] == "later":
        return Later(int(reply[1]) / 1000)
    if reply[0] != "ok":
        return None
    rows = [
        (entry_id, dict(zip(fields[::2], fields[1::2], strict=True)))
        for entry_id, fields in reply[2]
    ]
    return Taken(Line.parse(line, reply[1]), events.parse(workspace_id, rows))


@dataclass(frozen=True)
class Settlement:
    """What becomes of one event of a held line."""

    event_id: str
    outcome: str
    attempt: Attempt | None = None
    delay_s: float = 0
    hold_s: float = 0
    is_done: bool = False


def settle(platform: Platform, workspace_id: str, line: str, token: str, what: Settlement) -> str:
    """Move the line on, or have the event tried later; ``stale`` where it is not ours any more.

    Not retried by the client: done twice, a row would be kept twice.
    """
    attempt = what.attempt
    reply = platform.run(
        "line_settle",
        workspace_id,
        client=platform.clients.once,
        line=line,
        token=token,
        event_id=what.event_id,
        outcome=what.outcome,
        attempt=attempt.number if attempt else 0,
        delay_ms=round(what.delay_s * 1000),
        hold_ms=round(what.hold_s * 1000),
        is_done=what.is_done,
        row=attempt.row() if attempt else "",
    )
    return str(reply[0])


def close(
    platform: Platform,
    workspace_id: str,
    line: str,
    mechanism: str,
    reason: str = "",
    is_forgotten: bool = False,
    failed_count: int | None = None,
) -> int:
    """Close a line. Returns how many events it still owed (at most so many are counted).

    ``failed_count``: the attempts after which its receiver was given up, where that was why.
    """
    has_failed = failed_count is not None
    reply = platform.run(
        "line_close",
        workspace_id,
        line=line,
        mechanism=mechanism,
        reason=reason,
        webhook_id=line.partition("|")[0],
        remove=is_forgotten,
        if_idle=False,
        counted_most=COUNTED_MOST,
        setting="TURNKEEPER_WEBHOOK_ATTEMPTS" if has_failed else "webhook.enabled",
        limit_count=platform.settings.webhook_attempts if has_failed else 0,
        measured_count=failed_count,
    )
    return int(reply[1])


def end_idle(platform: Platform, workspace_id: str, line: str) -> bool:
    """Close a line unless it owes something: what came after its caller's look is still sent."""
    reply = platform.run(
        "line_close",
        workspace_id,
        line=line,
        mechanism="",
        reason="",
        webhook_id="",
        remove=False,
        if_idle=True,
        counted_most=1,
        setting="",
        limit_count=0,
        measured_count=None,
    )
    return bool(reply[0] == "closed")


def standing(platform: Platform, workspace_ids: Sequence[str]) -> list[Standing]:
    """Where the lines of some workspaces are, in one round trip."""
    pipe = platform.clients.data.pipeline(transaction=False)
    for workspace_id in workspace_ids:
        own = keys.of(workspace_id)
        pipe.hgetall(own["lines"])
        pipe.hkeys(own["push"])
        pipe.xrevrange(own["events"], count=1)
    rows = iter(pipe.execute())
    found = []
    for workspace_id in workspace_ids:
        records, pushes, newest = next(rows), next(rows), next(rows)
        parsed = {line: Line.parse(line, text) for line, text in records.items()}
        last_id = str(newest[0][0]) if newest else "0-0"
        found.append(Standing(workspace_id, parsed, frozenset(pushes), last_id))
    return found


@dataclass(frozen=True)
class Trimmed:
    """What a look at a workspace's events found."""

    workspace_id: str
    events_count: int
    open_count: int
    push_count: int
    has_more: bool


def trim(platform: Platform, workspace_ids: Sequence[str]) -> list[Trimmed]:
    """Trim event streams by age and count, behind what is owed; one round trip.

    Of a stream that is over its count by far, a part goes at a time: ``has_more``.
    """
    args = platform.with_limits("trim", {"page_count": COUNTED_MOST})
    calls = [(workspace_id, args) for workspace_id in workspace_ids]
    replies = scripts.call_many(platform.clients.data, "trim", calls)
    return [
        Trimmed(workspace_id, int(reply[1]), int(reply[2]), int(reply[3]), has_more=reply[4] == 1)
        for workspace_id, reply in zip(workspace_ids, replies, strict=True)
        if not isinstance(reply, TurnkeeperError)
    ]


def attempts(
    platform: Platform, workspace_ids: Sequence[str], receiver: str, outcome: str, limit: int
) -> list[dict[str, Any]]:
    """The newest attempts of a receiver, newest first, its single events included."""
    found: list[dict[str, Any]] = []
    for at in range(0, len(workspace_ids), PAGE):
        part = workspace_ids[at : at + PAGE]
        pipe = platform.clients.data.pipeline(transaction=False)
        for workspace_id in part:
            pipe.xrevrange(keys.of(workspace_id)["deliveries"], count=COUNTED_MOST)
        for workspace_id, rows in zip(part, pipe.execute(), strict=True):
            mine = [
                _attempt(workspace_id, entry_id, fields)
                for entry_id, fields in rows
                if fields["line"].partition("|")[0] == receiver
                and outcome in ("", fields["outcome"])
            ]
            found += mine[:limit]
        found = sorted(found, key=lambda row: events.order(row["id"]), reverse=True)[:limit]
    return found


def _attempt(workspace_id: str, entry_id: str, fields: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": entry_id,
        "workspace_id": workspace_id,
        "line": fields["line"],
        "event_id": fields["event_id"],
        "outcome": fields["outcome"],
        "attempt": int(fields["attempt"]),
        "is_replay": "|" in fields["line"],
        **json.loads(fields["row"]),
    }


def hint_push(platform: Platform, workspace_id: str) -> None:
    """Say that a push configuration was put or taken back; a look at all repairs a lost hint."""
    platform.clients.control.zadd(keys.PUSHES, {workspace_id: platform.now_ms()})


@dataclass(frozen=True)
class Owing:
    """How far receivers are behind, over some workspaces."""

    lines_count: int
    oldest_ms: int | None


def owing(platform: Platform, workspace_ids: Sequence[str]) -> Owing:
    """Open lines that owe something, and the time of the oldest event owed."""
    behind = [
        (found.workspace_id, line)
        for at in range(0, len(workspace_ids), 500)
        for found in standing(platform, workspace_ids[at : at + 500])
        for line in found.lines.values()
        if line.owes(found.last_event_id)
    ]
    pipe = platform.clients.data.pipeline(transaction=False)
    for workspace_id, line in behind:
        start = line.only or f"({line.cursor}"
        pipe.xrange(keys.of(workspace_id)["events"], start, "+", count=1)
    times = [int(rows[0][0].split("-")[0]) for rows in pipe.execute() if rows]
    return Owing(len(behind), min(times, default=None))
