"""Turns and sessions as the scripts write them: values, read from JSON, never written back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


class Record:
    """What a script keeps as JSON."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the script's JSON; fields of a newer version are passed over."""
        known: Mapping[str, object] = cls.__dataclass_fields__  # type: ignore[attr-defined]
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


@dataclass(frozen=True)
class Turn(Record):
    """The durable unit of work. Times are ms since the epoch, server time."""

    id: str
    state: str
    lane: str
    origin: str
    seq: int
    entry: str
    accepted_at: int
    state_at: int
    attempt: int
    losses: int
    max_wait_ms: int
    session_id: str | None = None
    schedule_id: str | None = None
    nominal_at: int | None = None
    fire_origin: str | None = None
    context_id: str | None = None
    expires_at: int | None = None
    not_before: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    mechanism: str | None = None
    redeliver: str | None = None
    max_attempts: int | None = None
    replay_of: str | None = None
    from_workspace_id: str | None = None
    principal: str | None = None
    replayed_as: str | None = None
    replayed_at: int | None = None
    discarded_at: int | None = None
    facts: Mapping[str, Any] | None = None
    push: Sequence[str] = ()
    overlap_policy: str | None = None
    coalesced: Sequence[int] = ()
    coalesced_count: int = 0
    into: Mapping[str, Any] | None = None
    behind: Mapping[str, Any] | None = None
    declines: int = 0
    remote: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Session(Record):
    """One bounded attempt to run a turn. Times are ms since the epoch, server time."""

    id: str
    turn_id: str
    fence: int
    state: str
    attempt: int
    lane: str
    origin: str
    claimed_at: int
    seen_at: int
    progress_at: int
    ceiling_ms: int
    ceiling_setting: str = "TURNKEEPER_CEILING_S"
    idle_ms: int | None = None
    stall_ms: int | None = None
    unwanted: bool = False
    schedule_id: str | None = None
    nominal_at: int | None = None
    coalesced: Sequence[int] = ()
    coalesced_count: int = 0
    ceiling_at: int | None = None
    checkpoint_at: int | None = None
    cancel_at: int | None = None
    prompt_version: int | None = None
    prompt_stale_at: int | None = None
    memory_seq: Mapping[str, int] | None = None
    memory_team: str | None = None
    digest: str | None = None
    delivered_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    mechanism: str | None = None
    turn_state: str | None = None
    instance: str | None = None
    remote: str | None = None
    remote_context: str | None = None
    adapter: str | None = None
    sent_at: int | None = None
    held_until: int | None = None
    missed: int | None = None
    stalled_at: int | None = None
    checkpoint_asked_at: int | None = None
    checkpoint_by: int | None = None
    checkpoint_reason: str | None = None
    cancel_asked_at: int | None = None
    cancel_by: int | None = None
    cancel_reason: str | None = None
    noted_at: int | None = None
    tokens: Sequence[str] = ()
    push_digest: str | None = None
    pushes: int = 0
