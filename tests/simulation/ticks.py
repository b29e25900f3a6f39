"""The schedules of a walk: what each allows its fires, and what must come of their ends."""

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from app.core import schedules
from app.core.schedules import Schedule
from app.core.states import TERMINAL
from tests.simulation.oracle import failures, may_retry
from tests.support.invariants import Stored
from tests.support.kernel import Kernel


class Ticks:
    """Two schedules: one retries, the other pauses itself and is never redelivered."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.rules = [
            self.made("one", retries=1),
            self.made("two", pause_on_failure_count=2, redeliver="never"),
        ]
        self.ids = [schedule.id for schedule in self.rules]
        self.retried: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def made(self, name: str, **rules: Any) -> Schedule:
        """A schedule of a known id: with ids of chance a seed would not repeat its walk."""
        schedule = Schedule(
            f"sch_{name}", self.kernel.id, name, "*/5 * * * *", "UTC", "go", version=1, **rules
        )
        self.kernel.run(
            "schedule_put",
            schedule_id=schedule.id,
            version=0,
            record=json.dumps({key: v for key, v in asdict(schedule).items() if v is not None}),
            next_ms=self.kernel.now_ms() + 300_000,
            policy_changed=False,
        )
        return schedule

    def read(self, schedule_id: str) -> Schedule:
        return schedules.get(self.kernel.platform, self.kernel.id, schedule_id)

    def switch_on(self) -> None:
        for schedule_id in self.ids:
            if not self.read(schedule_id).enabled:
                schedules.change(
                    self.kernel.platform, self.kernel.id, schedule_id, {"enabled": True}
                )

    def unless_retried(self, stored: Stored, turn_id: str, wanted: str) -> str:
        """How a turn that ends badly stands after it."""
        if not may_retry(stored, stored.turns[turn_id], self.retried[turn_id]):
            return wanted
        self.retried[turn_id] += 1
        return "queued"

    def check(self, before: Stored, after: Stored) -> None:
        """Bad ends in a row are counted, and at the limit the schedule is paused, not before."""
        for schedule in self.rules:
            ends = [
                turn["state"]
                for key, turn in after.turns.items()
                if turn.get("schedule_id") == schedule.id
                and turn["state"] in TERMINAL
                and before.turns.get(key, {"state": None})["state"] != turn["state"]
            ]
            was_on, is_on = (
                json.loads(stored.hashes["schedules"][schedule.id])["enabled"]
                for stored in (before, after)
            )
            count = failures(self.failures[schedule.id], ends)
            self.failures[schedule.id] = 0 if is_on and not was_on else count
            told = int(after.hashes["tallies"].get(f"{schedule.id}:failures", 0))
            assert told == self.failures[schedule.id], f"{told} failures counted, not {count}"
            limit = schedule.pause_on_failure_count
            if was_on:
                assert is_on == (not limit or count < limit), f"{count} failures, enabled: {is_on}"
            record = json.loads(after.hashes["schedules"][schedule.id])
            due_ms = after.sets["due"].get(schedule.id)
            is_overdue = due_ms is not None and due_ms <= record["updated_at"]
            assert is_on == (due_ms is not None) or is_overdue, "due only until it was paused"
