"""Runs of replays: in phases, stopped on repeated failure, carried on by whoever lives."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from app.core import capacity, dead_letters, keys, replay_runs, sessions, turns
from app.core import platform as platforms
from app.core.dead_letters import Filter
from app.core.errors import NotFound
from app.core.platform import Platform
from app.core.replay_runs import Run, Wish
from app.core.sessions import Claim
from tests.integration.faults import Killed, Life, Machine, lives, machine
from tests.support.world import all_events, new_workspace, turns_of
from workers import jobs, replaying

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
Agent = Callable[[int], str]


def letters(here: Machine, *workspace_ids: str, each: int = 1) -> Platform:
    """Workspaces with dead letters, oldest first in each."""
    platform = here.process()
    for workspace_id in workspace_ids:
        new_workspace(platform, workspace_id)
        for number in range(each):
            dead_letter(platform, workspace_id, f"{workspace_id} {number}")
    return platform


def dead_letter(platform: Platform, workspace_id: str, text: str) -> str:
    request = turns.Request(body={"text": text}, redeliver="never")
    turn_id = turns.submit(platform, workspace_id, request).turn_id
    session = claimed(platform, workspace_id).session
    here = (platform, workspace_id, session.id, session.fence)
    sessions.release(*here, "lost", "as told", counts=True)
    platform.clock.wait(platform.stopping, 1)
    return turn_id


def claimed(platform: Platform, workspace_id: str) -> Claim:
    capacity.heartbeat(platform, workspace_id, capacity.Beat(sessions=[], max_concurrent=9))
    found = sessions.claim(platform, workspace_id)
    assert isinstance(found, Claim), found
    return found


def work(platform: Platform, *workspace_ids: str, ends: Agent = lambda _: "completed") -> int:
    """An agent in each workspace takes what waits and ends it; how many it was."""
    count = 0
    for workspace_id in workspace_ids:
        capacity.heartbeat(platform, workspace_id, capacity.Beat(sessions=[], max_concurrent=9))
        while isinstance(found := sessions.claim(platform, workspace_id), Claim):
            own = found.session
            here = (platform, workspace_id, own.id, own.fence)
            sessions.finish(*here, ends(count), {"text": "done"})
            count += 1
    return count


def carry_on(
    platform: Platform, run: Run, *workspace_ids: str, ends: Agent = lambda _: "completed"
) -> Run:
    """Ticks until the run ends; at most fifty."""
    done = 0
    for _ in range(50):
        replaying.step_all(platform)
        found = replay_runs.get(platform, run.id)
        assert len(found.under_way) <= found.at_once
        if found.state != "running":
            return found
        done += work(platform, *workspace_ids, ends=lambda n, before=done: ends(before + n))
        platform.clock.wait(platform.stopping, 1)
    raise AssertionError(found)


def replays(platform: Platform, *workspace_ids: str) -> Counter[str]:
    """Letter -> how many turns are replays of it."""
    found = [turn for name in workspace_ids for turn in turns_of(platform, name)]
    return Counter(turn.replay_of for turn in found if turn.replay_of)


def test_a_run_replays_every_letter_some_at_a_time_and_says_so() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", "b", each=3)
        run = replay_runs.begin(platform, Wish(at_once=2))
        assert (run.total_count, run.state) == (6, "running")
        replaying.step_all(platform)
        assert replays(platform, "a", "b").total() == 2, "no more than its places"
        replaying.step_all(platform)
        assert replays(platform, "a", "b").total() == 2, "it waits for their ends"
        done = carry_on(platform, run, "a", "b")
        assert (done.state, done.good_count, done.bad_count) == ("done", 6, 0)
        assert "every dead letter" in done.reason
        assert set(replays(platform, "a", "b").values()) == {1}
        assert dead_letters.count(platform, Filter()) == 0
        assert replay_runs.open_ids(platform) == []


def test_a_run_means_only_its_filter_and_what_was_dead_when_it_began() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", "b", each=2)
        run = replay_runs.begin(platform, Wish(Filter(workspace_id="a"), at_once=9))
        later = dead_letter(platform, "a", "afterwards")
        done = carry_on(platform, run, "a")
        assert (done.state, done.good_count) == ("done", 2)
        left = [letter.turn.id for letter in dead_letters.matching(platform, Filter())]
        assert len(left) == 3
        assert later in left


def check_stops(platform: Platform, run: Run) -> Run:
    done = carry_on(platform, run, "a", ends=lambda _: "failed")
    assert (done.state, done.bad_count) == ("stopped", 2)
    return done


def test_a_run_stops_after_so_many_bad_ends_in_a_row_and_leaves_the_rest() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", each=5)
        run = replay_runs.begin(platform, Wish(at_once=1, stop_after=2))
        done = check_stops(platform, run)
        assert "2 replays in a row ended badly, the last failed" in done.reason
        assert dead_letters.count(platform, Filter()) == 3
        (hit,) = [one for one in all_events(platform, "a") if one.event == "LIMIT_HIT"]
        assert (hit.mechanism, hit.payload["run_id"]) == ("replay_failures", run.id)
        assert (hit.payload["limit_count"], hit.payload["measured_count"]) == (2, 2)
        assert hit.payload["setting"] == "replay.stop_after"
        for _ in range(3):
            replaying.step_all(platform)
        assert dead_letters.count(platform, Filter()) == 3, "it begins nothing more"


def test_control_a_run_that_may_fail_for_ever_does_not_stop() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", each=5)
        run = replay_runs.begin(platform, Wish(at_once=1, stop_after=1000))
        with pytest.raises(AssertionError):
            check_stops(platform, run)


def test_a_good_end_starts_the_count_of_bad_ones_again() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", each=6)
        run = replay_runs.begin(platform, Wish(at_once=1, stop_after=2))
        every_other = ["failed", "completed"] * 3
        done = carry_on(platform, run, "a", ends=lambda count: every_other[count])
        assert (done.state, done.good_count, done.bad_count) == ("done", 3, 3)


def test_a_replay_that_dies_again_is_a_bad_end_and_is_not_replayed_by_its_own_run() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", each=1)
        run = replay_runs.begin(platform, Wish(at_once=5, stop_after=9))
        replaying.step_all(platform)
        session = claimed(platform, "a").session
        sessions.release(platform, "a", session.id, session.fence, "lost", "", counts=True)
        done = carry_on(platform, run, "a")
        assert (done.state, done.bad_count) == ("done", 1)
        assert dead_letters.count(platform, Filter()) == 1
        assert replays(platform, "a").total() == 1


def test_a_canceled_run_begins_nothing_more_and_says_who() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", each=3)
        run = replay_runs.begin(platform, Wish())
        replaying.step_all(platform)
        done = replay_runs.cancel(platform, run.id, "enough")
        assert (done.state, done.reason) == ("canceled", "canceled by an operator: enough")
        assert replay_runs.cancel(platform, run.id, "twice") == done
        work(platform, "a")
        replaying.step_all(platform)
        assert replays(platform, "a").total() == 1


def test_a_full_queue_is_waited_for() -> None:
    with machine(NOON, queue_depth_max=2) as here:
        platform = letters(here, "a", each=2)
        for _ in range(2):
            turns.submit(platform, "a", turns.Request(body={"text": "first"}))
        run = replay_runs.begin(platform, Wish(at_once=2, stop_after=1))
        replaying.step_all(platform)
        assert replays(platform, "a").total() == 0
        done = carry_on(platform, run, "a")
        assert (done.state, done.good_count, done.bad_count) == ("done", 2, 0)


def test_a_letter_that_somebody_else_replays_meanwhile_is_replayed_once() -> None:
    with machine(NOON, queue_depth_max=1) as here:
        platform = letters(here, "a", each=1)
        turns.submit(platform, "a", turns.Request(body={"text": "first"}))
        run = replay_runs.begin(platform, Wish())
        replaying.step_all(platform)  # taken up, and the queue is full
        (letter,) = dead_letters.matching(platform, Filter())
        work(platform, "a")
        turns.replay(platform, "a", turns.Replay(letter.turn.id))
        done = carry_on(platform, run, "a")
        assert (done.state, done.other_count) == ("done", 1)
        assert replays(platform, "a") == {letter.turn.id: 1}


def test_what_cannot_be_replayed_is_named_and_counts_as_a_bad_end() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", each=1)
        (letter,) = dead_letters.matching(platform, Filter())
        own = keys.of("a")
        text = platform.clients.data.hget(own["turns"], letter.turn.id)
        orphan = text.replace('"state":', '"schedule_id":"sch_gone","nominal_at":1,"state":')
        platform.clients.data.hset(own["turns"], letter.turn.id, orphan)
        run = replay_runs.begin(platform, Wish(stop_after=9))
        done = carry_on(platform, run, "a")
        assert (done.state, done.bad_count) == ("done", 1)
        (row,) = done.refused
        assert row == {
            "workspace_id": "a",
            "turn_id": letter.turn.id,
            "code": "schedule_not_found",
        }
        assert dead_letters.count(platform, Filter()) == 1, "it is still there"


def test_killed_at_any_command_of_any_step_each_letter_is_replayed_once_and_counted_once() -> None:
    def whole(life: Life) -> None:
        with machine(NOON) as here:
            platform = letters(here, "a", each=2)
            replay_runs.begin(platform, Wish(at_once=2))
            for _ in range(3):
                replaying.step_all(here.process(life))
                work(platform, "a")

    for life in lives(whole):
        with machine(NOON) as here:
            platform = letters(here, "a", each=2)
            run = replay_runs.begin(platform, Wish(at_once=2))
            dying = here.process(life)
            try:
                for _ in range(3):
                    replaying.step_all(dying)
                    work(platform, "a")
            except Killed:
                assert life.is_dead
            done = carry_on(here.process(), run, "a")
            assert (done.state, done.good_count) == ("done", 2), life
            assert sorted(replays(platform, "a").values()) == [1, 1], life


class Meddled(Life):
    """Nobody dies: another worker does a whole step just before command ``at``."""

    def __init__(self, at: int, does: Callable[[], object]) -> None:
        super().__init__()
        self.at, self.does = at, does

    def live(self, command: Callable[[], Any]) -> Any:
        self.count += 1
        if self.count == self.at:
            self.does()
        return command()


def test_two_workers_on_one_run_replay_each_letter_once_and_count_it_once() -> None:
    at = count = 1
    while at <= count:
        with machine(NOON) as here:
            platform = letters(here, "a", each=3)
            run = replay_runs.begin(platform, Wish(at_once=2))
            replaying.step_all(platform)
            work(platform, "a")
            life = Meddled(at, lambda platform=platform: replaying.step_all(platform))
            replaying.step_all(here.process(life))
            done = carry_on(platform, run, "a")
            assert (done.state, done.good_count) == ("done", 3), at
            assert set(replays(platform, "a").values()) == {1}, at
            at, count = at + 1, life.count


def test_a_run_that_is_gone_does_not_stop_the_others() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", each=1)
        platform.clients.control.zadd(keys.REPLAY_RUNS_OPEN, {"rpl_gone": 0})
        run = replay_runs.begin(platform, Wish())
        assert carry_on(platform, run, "a").state == "done"
        with pytest.raises(NotFound):
            replay_runs.get(platform, "rpl_gone")


def test_old_runs_are_forgotten_but_none_that_goes_on() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", each=0)
        first = replay_runs.begin(platform, Wish())
        for _ in range(replay_runs.KEPT + 3):
            platform.clock.wait(platform.stopping, 1)
            replaying.step(platform, replay_runs.begin(platform, Wish()).id)
        found = replay_runs.listing(platform)
        assert len(found) <= replay_runs.KEPT + 2
        assert found[-1] == first


def test_the_reapers_tick_carries_runs_on() -> None:
    with machine(NOON) as here:
        platform = letters(here, "a", each=1)
        run = replay_runs.begin(platform, Wish())
        platforms.use(platform)
        jobs.reap()
        assert len(replay_runs.get(platform, run.id).under_way) == 1
