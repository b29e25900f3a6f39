"""A worker or a reaper that is killed between any two steps: each turn still ends once."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from app.core import capacity, keys, sessions, turns
from app.core.platform import Platform
from tests.integration.faults import Killed, Life, Machine, lives, machine
from tests.support.world import all_events, endings, new_workspace, open_turns, turns_of
from workers import reaper
from workers.adapters.inbox import Inbox
from workers.deliver import visit
from workers.sweep import sweep

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
Step = Callable[[Platform], object]
T = TypeVar("T")


def set_up(here: Machine) -> Platform:
    """A workspace with two slots and three waiting turns."""
    platform = here.process()
    new_workspace(platform, "one", max_concurrent=2)
    beat(platform)
    for text in "abc":
        turns.submit(platform, "one", turns.Request(body={"text": text}))
    platform.clients.control.delete(keys.READY)
    return platform


def beat(platform: Platform) -> None:
    live = [session.id for session in sessions.live(platform, "one") if session.started_at]
    capacity.heartbeat(platform, "one", capacity.Beat(sessions=live, max_concurrent=2))


def catch_up(platform: Platform, seconds: int = 90) -> None:
    """What everybody else does meanwhile, among them a runtime that ends its turns at once."""
    for second in range(seconds):
        platform.clock.wait(platform.stopping, 1)
        if second % 10 == 0:
            capacity.heartbeat(platform, "one", capacity.Beat(sessions=[], max_concurrent=2))
            sweep(platform)
        reaper.reap(platform)
        while rung := platform.clients.control.zpopmin(keys.READY):
            visit(platform, Inbox(), rung[0][0])
        while (found := sessions.take(platform, "one", "runtime").handover) is not None:
            own = found.session
            sessions.start(platform, "one", own.id, own.fence, "runtime")
            sessions.finish(platform, "one", own.id, own.fence, "completed", {"text": "done"})
        if not open_turns(platform, "one"):
            return


def killed_anywhere(step: Step, prepare: Callable[[Machine], Platform] = set_up) -> None:
    """Kill ``step`` at each of its commands; afterwards everything ends once, and completed."""

    def whole(life: Life) -> None:
        with machine(NOON) as here:
            prepare(here)
            step(here.process(life))

    whole(Life())
    for life in lives(whole):
        with machine(NOON) as here:
            platform = prepare(here)
            try:
                step(here.process(life))
            except Killed:
                assert life.is_dead
            began = platform.clock.monotonic()
            catch_up(platform)
            assert open_turns(platform, "one") == [], life
            assert [turn.state for turn in turns_of(platform, "one")] == ["completed"] * 3, life
            assert set(endings(platform, "one").values()) == {1}, life
            took_s = platform.clock.monotonic() - began
            assert took_s <= 25, f"{life}: repaired only after {took_s} s"


def test_killed_at_any_command_of_a_visit_every_turn_ends_once() -> None:
    killed_anywhere(lambda platform: visit(platform, Inbox(), "one"))


def two_lost(here: Machine) -> Platform:
    """Both sessions were started and their runtime has forgotten them; the look is due."""
    platform = set_up(here)
    visit(platform, Inbox(), "one")
    while (found := sessions.take(platform, "one", "gone").handover) is not None:
        sessions.start(platform, "one", found.session.id, found.session.fence, "gone")
    for _ in range(2):
        platform.clock.wait(platform.stopping, 1)
        said = capacity.Beat(instance="gone", sessions=[], max_concurrent=2)
        capacity.heartbeat(platform, "one", said)
    return platform


def test_killed_at_any_command_of_a_reap_every_turn_ends_once() -> None:
    killed_anywhere(reaper.reap, two_lost)


def test_killed_at_any_command_of_a_sweep_every_turn_ends_once() -> None:
    killed_anywhere(sweep)


def test_a_reaper_dead_for_an_hour_catches_up_at_its_first_look() -> None:
    with machine(NOON, ceiling_s=1800) as here:
        platform = set_up(here)
        visit(platform, Inbox(), "one")
        for own in sessions.live(platform, "one"):
            sessions.start(platform, "one", own.id, own.fence, "runtime")
        for _ in range(120):
            platform.clock.wait(platform.stopping, 30)
            beat(platform)  # the agent is well and never ends
        assert len(sessions.live(platform, "one")) == 2
        reaper.reap(platform)
        assert sessions.live(platform, "one") == []
        ended = [e for e in all_events(platform, "one") if e.event == "SESSION_ENDED"]
        assert [event.mechanism for event in ended] == ["ceiling"] * 2
        assert [event.payload["measured_ms"] for event in ended] == [3_600_000] * 2
        assert platform.clients.control.zrange(keys.READY, 0, -1) == ["one"], "the slot is offered"


class Meddled(Life):
    """Nobody dies: another process does something just before command ``at``."""

    def __init__(self, at: int, does: Callable[[], object]) -> None:
        super().__init__()
        self.at, self.does = at, does

    def live(self, command: Callable[[], T]) -> T:
        self.count += 1
        if self.count == self.at:
            self.does()
        return command()


def test_a_look_at_any_point_of_a_visit_leaves_no_session_unwatched() -> None:
    at = count = 1
    while at <= count:
        with machine(NOON) as here:
            platform = set_up(here)

            def look(platform: Platform = platform) -> None:
                platform.clients.control.zadd(keys.DEADLINES, {"one": platform.now_ms()})
                assert reaper.reap(platform) == 1

            life = Meddled(at, look)
            assert visit(here.process(life), Inbox(), "one") == 2
            due_s = reaper.next_due_s(platform)
            assert due_s is not None and due_s <= platform.settings.lease_ttl_s, at
            at, count = at + 1, life.count


def test_two_reapers_act_once() -> None:
    with machine(NOON) as here:
        platform = two_lost(here)
        (first, second) = (here.process(), here.process())
        seen = sessions.live(platform, "one")
        for _ in range(2):
            reaper.look(first, "one")
            for session in seen:  # the second one read before the first one wrote
                sessions.reap(second, "one", session, "lost", 0, "two heartbeats")
        returned = [e for e in all_events(platform, "one") if e.event == "TURN_RETURNED"]
        assert len(returned) == 2
        assert {turn.losses for turn in turns_of(platform, "one")} == {0, 1}


def test_one_workspace_that_cannot_be_looked_at_does_not_hide_the_others() -> None:
    with machine(NOON, idle_timeout_s=60, heartbeat_interval_s=1) as here:
        platform = here.process()
        for workspace_id in ("a", "b"):
            new_workspace(platform, workspace_id)
            capacity.heartbeat(platform, workspace_id, capacity.Beat(sessions=[]))
            turns.submit(platform, workspace_id, turns.Request(body={"text": "x"}))
            visit(platform, Inbox(), workspace_id)
            (own,) = sessions.live(platform, workspace_id)
            sessions.start(platform, workspace_id, own.id, own.fence, "runtime")
        (broken,) = sessions.live(platform, "a")
        platform.clients.data.hset(keys.of("a")["sessions"], broken.id, '{"id": "half a record"}')
        for _ in range(70):
            platform.clock.wait(platform.stopping, 1)
            reaper.reap(platform)
        assert sessions.live(platform, "b") == []
