"""A writer that is killed between any two steps: the memory is there once, and all are told."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from app.core import capacity, keys, memories, policy, schedules, sessions, turns, workspaces
from app.core.memories import Draft
from app.core.platform import Platform
from tests.integration.faults import Killed, Life, Machine, lives, machine
from tests.support.world import all_events, new_workspace
from workers import reaper
from workers.adapters.inbox import Inbox
from workers.deliver import visit
from workers.sweep import sweep

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MEMBERS = ("one", "two")
EVERY = {"name": "tick", "cron_expr": "0 0 1 1 *", "timezone": "UTC", "prompt": "go"}
Write = Callable[[Platform], object]


def set_up(here: Machine) -> Platform:
    """Two workspaces of a team, each in a session whose schedule wants it to end gently."""
    platform = here.process()
    for workspace_id in MEMBERS:
        new_workspace(platform, workspace_id, team="red")
        beat(platform, workspace_id, [])
        wanted = {**EVERY, "on_policy_change": "checkpoint", "preempt": "off", "ceiling_s": 0}
        schedule = schedules.create(platform, workspace_id, wanted)
        schedules.run_now(platform, workspace_id, schedule.id)
        visit(platform, Inbox(), workspace_id)
        (own,) = sessions.live(platform, workspace_id)
        sessions.take(platform, workspace_id, "runtime")
        sessions.start(platform, workspace_id, own.id, own.fence, "runtime")
    reaper.reap(platform)
    return platform


def beat(platform: Platform, workspace_id: str, names: list[str]) -> None:
    capacity.heartbeat(platform, workspace_id, capacity.Beat(sessions=names))


def catch_up(platform: Platform, seconds: int) -> None:
    for second in range(seconds):
        platform.clock.wait(platform.stopping, 1)
        if second % 10 == 9:
            sweep(platform)
        reaper.reap(platform)


def events_of(platform: Platform, workspace_id: str, name: str) -> list[Any]:
    return [event for event in all_events(platform, workspace_id) if event.event == name]


def asked(platform: Platform, workspace_id: str) -> list[str | None]:
    found = events_of(platform, workspace_id, "SESSION_CHECKPOINT_REQUESTED")
    return [event.mechanism for event in found]


def killed_anywhere(write: Write, concerned: tuple[str, ...], store: str) -> int:
    """Kill ``write`` at each of its commands; returns in how many lives the change was made."""

    def whole(life: Life) -> None:
        with machine(NOON) as here:
            set_up(here)
            write(here.process(life))

    made = 0
    for life in lives(whole):
        with machine(NOON) as here:
            platform = set_up(here)
            try:
                write(here.process(life))
            except Killed:
                assert life.is_dead
            catch_up(platform, 12)
            seq = int(platform.clients.data.hget(keys.of(store)["policy"], "seq") or 0)
            made += seq
            for workspace_id in MEMBERS:
                is_stale = bool(seq) and workspace_id in concerned
                told = events_of(platform, workspace_id, "POLICY_CHANGED")
                assert len(told) == int(is_stale), life
                assert asked(platform, workspace_id) == ["policy_changed"] * is_stale, life
    return made


def test_killed_at_any_command_of_a_team_write_every_member_hears_of_it_once() -> None:
    def write(platform: Platform) -> None:
        memories.commit(platform, "one", Draft("ours", "TEAM", put_id="mem_1"))

    assert killed_anywhere(write, MEMBERS, keys.team_tag("red")) > 5


def test_killed_at_any_command_of_an_own_write_the_session_is_asked_within_two_seconds() -> None:
    def write(platform: Platform) -> None:
        memories.commit(platform, "one", Draft("mine", put_id="mem_1"))

    assert killed_anywhere(write, ("one",), "one") > 1


def test_killed_at_any_command_of_a_change_of_prompt_the_session_is_asked() -> None:
    def write(platform: Platform) -> None:
        (schedule,) = schedules.listing(platform, "one")
        schedules.change(platform, "one", schedule.id, {"prompt": "new"})

    def whole(life: Life) -> None:
        with machine(NOON) as here:
            set_up(here)
            write(here.process(life))

    for life in lives(whole):
        with machine(NOON) as here:
            platform = set_up(here)
            with suppress(Killed):
                write(here.process(life))
            catch_up(platform, 3)
            (schedule,) = schedules.listing(platform, "one")
            is_changed = schedule.prompt == "new"
            assert asked(platform, "one") == ["policy_changed"] * is_changed, life


def test_control_without_the_sweep_a_death_leaves_a_member_untold() -> None:
    with machine(NOON) as here:
        platform = set_up(here)
        dead = here.process(Life(dies_at=7))
        with suppress(Killed):
            memories.commit(dead, "one", Draft("ours", "TEAM", put_id="mem_1"))
        store = keys.of(keys.team_tag("red"))["policy"]
        assert platform.clients.data.hget(store, "seq") == "1", "another command dies now"
        for _ in range(12):
            platform.clock.wait(platform.stopping, 1)
            reaper.reap(platform)
        assert events_of(platform, "two", "POLICY_CHANGED") == []
        sweep(platform)
        assert len(events_of(platform, "two", "POLICY_CHANGED")) == 1


class Away:
    """A control side that breaks after so many commands."""

    def __init__(self, client: Any, after_count: int) -> None:
        self.client, self.left = client, after_count

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise RedisConnectionError("the control side is away")
            return getattr(self.client, name)(*args, **options)

        return call


def test_a_control_side_lost_after_the_write_makes_no_error_of_it() -> None:
    """An error would have the writer write it again."""
    with machine(NOON) as here:
        platform = set_up(here)
        control = Away(platform.clients.control, after_count=1)
        broken = Platform(
            platform.settings, replace(platform.clients, control=control), platform.clock
        )
        memories.commit(broken, "one", Draft("ours", "TEAM"))
        assert control.left < 0
        catch_up(platform, 12)
        for workspace_id in MEMBERS:
            assert len(events_of(platform, workspace_id, "POLICY_CHANGED")) == 1
            assert asked(platform, workspace_id) == ["policy_changed"]


def test_two_reapers_ask_once_and_only_who_is_stale() -> None:
    with machine(NOON) as here:
        platform = set_up(here)
        memories.commit(platform, "one", Draft("mine"))
        first, second = here.process(), here.process()
        for _ in range(2):
            reaper.look(first, "one")
            reaper.look(second, "one")
            reaper.look(first, "two")
        assert asked(platform, "one") == ["policy_changed"]
        assert asked(platform, "two") == []


def test_a_session_that_has_not_begun_is_asked_once_it_has() -> None:
    with machine(NOON) as here:
        platform = set_up(here)
        (old,) = sessions.live(platform, "one")
        sessions.finish(platform, "one", old.id, old.fence, "completed", {"text": ""})
        (schedule,) = schedules.listing(platform, "one")
        platform.clock.wait(platform.stopping, 1)
        schedules.run_now(platform, "one", schedule.id)
        visit(platform, Inbox(), "one")
        memories.commit(platform, "one", Draft("meanwhile"))
        catch_up(platform, 3)
        assert asked(platform, "one") == []
        (own,) = sessions.live(platform, "one")
        sessions.start(platform, "one", own.id, own.fence, "runtime")
        catch_up(platform, 2)
        assert asked(platform, "one") == ["policy_changed"]


def test_a_team_joined_in_mid_session_is_news_and_one_left_is_not() -> None:
    with machine(NOON) as here:
        platform = here.process()
        new_workspace(platform, "one")
        new_workspace(platform, "two", team="red")
        memories.commit(platform, "two", Draft("ours", "TEAM"))
        beat(platform, "one", [])
        turns.submit(platform, "one", turns.Request(body={"text": "x"}))
        visit(platform, Inbox(), "one")

        def unseen() -> int:
            (row,) = policy.read(platform, workspaces.get(platform, "one"))
            return row.unseen_memories

        assert unseen() == 0
        workspaces.change(platform, "one", {"team": "red"})
        assert unseen() == 1
        sweep(platform)
        assert len(events_of(platform, "one", "POLICY_CHANGED")) == 1
        workspaces.change(platform, "one", {"team": None})
        assert unseen() == 0
