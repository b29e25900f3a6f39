"""Dead letters: which, what is done with them, how a run of replays goes."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from app.api.models.base import Count, Name, Short, Strict
from app.api.models.turns import Turn

Age = Annotated[float, Field(ge=0, le=315_360_000)]


class ReplayTurn(Strict):
    """How to replay one turn; ``again``: also where that was asked before."""

    again: bool = False


class DeadLetterQuery(BaseModel):
    """Which dead letters; ``reason`` is the mechanism that gave the turn up."""

    workspace_id: Name | None = None
    reason: Short | None = None
    origin: Short | None = None
    older_than_s: Age | None = None
    newer_than_s: Age | None = None
    limit: Count = 50


class DeadLetters(BaseModel):
    """Dead letters, the oldest of each workspace first; ``total``: of how many."""

    dead_letters: list[Turn]
    total: int


class Letters(Strict):
    """Which dead letters are meant; nothing given: all of them."""

    workspace_id: Name | None = None
    reason: Short | None = None
    origin: Short | None = None
    older_than_s: Age | None = None
    newer_than_s: Age | None = None


class ReplayLetters(Letters):
    """A run of replays: ``at_once`` under way at a time, stopped after so many bad ends in a row.

    With ``dry_run`` nothing is done; the answer says to how many it would be.
    """

    at_once: Annotated[int, Field(ge=1, le=100)] = 1
    stop_after: Annotated[int, Field(ge=1, le=1000)] = 3
    dry_run: bool = False


class DiscardLetters(Letters):
    """Dead letters to give up, so many in one request."""

    discard_reason: Short = ""
    limit: Count = 1000
    dry_run: bool = False


class Discarded(BaseModel):
    """How many were given up (or would be), and how many more are meant."""

    discarded: int
    left: int
    dry_run: bool


class ReplayRun(BaseModel):
    """A run of replays. ``state``: running, done, stopped or canceled, and ``reason`` says why;
    planned where it was only asked how many letters it would replay.

    ``limit``: which limit stopped it. ``refused``: letters that cannot be replayed, and why.
    """

    id: str
    state: str
    reason: str
    limit: dict[str, Any] | None
    created_at: str | None
    ended_at: str | None
    letters: dict[str, Any]
    at_once: int
    stop_after: int
    total: int
    settled: int
    good: int
    bad: int
    other: int
    bad_in_a_row: int
    under_way: list[dict[str, str]]
    refused: list[dict[str, str]]


class ReplayRuns(BaseModel):
    """Runs of replays, newest first."""

    runs: list[ReplayRun]
