"""The account at the end of a played report: decided from what the API says, nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

FIRES_COUNT = 12
ENDED = frozenset({"completed", "yielded"})


@dataclass(frozen=True)
class Account:
    """What became of the fires that waited. ``faults`` is empty where all is as it should be."""

    fired: int
    accounted: int
    faults: Sequence[str]

    @property
    def sentence(self) -> str:
        """The last word."""
        return f"{self.fired} fired, {self.accounted} accounted"

    def with_first(self, turn: Mapping[str, Any], has_ceiling: bool, was_told: bool) -> "Account":
        """The same with what became of the long session; ``was_told``: where the operator looks."""
        faults = list(self.faults)
        wanted = "ceiling" if has_ceiling else "its own end"
        ended = "ceiling" if turn["mechanism"] == "ceiling" else "its own end"
        if turn["state"] in ("queued", "running") or ended != wanted:
            faults.append(f"the long session is {turn['state']}, ended by {ended}, not by {wanted}")
        if not was_told:
            faults.append("nothing told the operator that one session keeps twelve fires waiting")
        return replace(self, faults=faults)


def of_fires(
    fires: Sequence[Mapping[str, Any]], texts: Mapping[str, str], prompt: str, count: int
) -> Account:
    """The account of the fires behind the long session.

    Args:
        fires: ledger rows, the long session's own left out.
        texts: by turn id, what each session answered: the prompt that it was given.
        prompt: the newest one, which each of them must have had.
        count: how many there must be.
    """
    rows = sorted(fires, key=lambda row: str(row["nominal_at"]))
    ended = [row for row in rows if row["state"] in ENDED]
    faults = [
        f"the fire of {row['nominal_at']} is {row['state']}"
        for row in rows
        if row["state"] not in ENDED
    ]
    if len(rows) != count:
        faults.append(f"{len(rows)} fires are in the ledger, {count} were made")
    started = [str(row["started_at"]) for row in ended]
    if started != sorted(started):
        faults.append("they did not run in the order of their times")
    faults += [
        f"the fire of {row['nominal_at']} ran under another prompt"
        for row in ended
        if texts.get(str(row["turn_id"]), "").strip() != prompt
    ]
    return Account(count, len(ended), faults)


def of_step(
    turn: Mapping[str, Any], sessions: Sequence[Mapping[str, Any]], limit_s: float
) -> list[str]:
    """What is not as it should be about the step that outlasts the limit; empty: nothing."""
    faults = []
    if turn["state"] != "completed":
        faults.append(f"the turn is {turn['state']}, not completed")
    if len(sessions) != 1:
        return [*faults, f"it took {len(sessions)} sessions, not one"]
    if sessions[0]["mechanism"] not in (None, "finish"):
        faults.append(f"its session ended by {sessions[0]['mechanism']}, not by its own finish")
    if sessions[0]["age_s"] < limit_s:
        faults.append(f"it took {sessions[0]['age_s']:.1f} s and never reached the {limit_s:g} s")
    return faults


def of_control(sessions: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is not as it should be about the agent whose beats stop with its work."""
    if any(session["mechanism"] == "idle_timeout" for session in sessions):
        return []
    return ["the agent that beats inside its own process was not ended: the control shows nothing"]
