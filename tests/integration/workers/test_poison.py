"""A turn that breaks whoever binds it wears out; its neighbours and its workers go on."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.core import capacity, sessions, turns
from app.core.platform import Platform
from app.core.sessions import Claim
from tests.integration.faults import machine
from tests.support.world import all_events, new_workspace, open_turns, turns_of
from workers import reaper
from workers.adapters.inbox import Inbox
from workers.deliver import visit

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Brittle:
    """Breaks on one text; the rest is laid out."""

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        if claim.body.get("text") == "poison":
            raise ZeroDivisionError
        Inbox().deliver(platform, workspace_id, claim, bound)


def test_a_poison_turn_is_a_dead_letter_after_its_attempts_and_the_others_complete() -> None:
    with machine(NOON) as here:
        platform = here.process()
        new_workspace(platform, "one")
        for text in ("poison", "a", "b"):
            turns.submit(platform, "one", turns.Request(body={"text": text}))
        for _ in range(120):
            capacity.heartbeat(platform, "one", capacity.Beat(sessions=[]))
            visit(platform, Brittle(), "one")  # raises nothing: the worker serves on
            while (found := sessions.take(platform, "one", "runtime").handover) is not None:
                own = found.session
                sessions.start(platform, "one", own.id, own.fence, "runtime")
                sessions.finish(platform, "one", own.id, own.fence, "completed", {"text": "done"})
            reaper.reap(platform)
            platform.clock.wait(platform.stopping, 1)
            if not open_turns(platform, "one"):
                break
        assert [turn.state for turn in turns_of(platform, "one")] == [
            "dead",
            "completed",
            "completed",
        ]
        (dead,) = [event for event in all_events(platform, "one") if event.event == "TURN_DEAD"]
        assert dead.payload["measured_count"] == platform.settings.max_attempts
        returned = [one for one in all_events(platform, "one") if one.event == "TURN_RETURNED"]
        assert {one.mechanism for one in returned} == {"delivery_failed"}
