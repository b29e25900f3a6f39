"""A visit to many workspaces: fair, each for itself, and nothing is lost with its worker."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from app.core import capacity, doorbell, keys, sessions, turns
from app.core.platform import Platform
from app.core.sessions import Claim
from tests.integration.faults import Killed, Life, Machine, lives, machine
from tests.support.world import all_events, endings, new_workspace, open_turns, turns_of
from workers import jobs, reaper
from workers.adapters.base import Adapter, DeliveryFailed
from workers.adapters.inbox import Inbox
from workers.adapters.scripted import Scripted
from workers.deliver import visit_all
from workers.sweep import sweep

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACES = ("one", "two")
SILENT_S = 15  # an agent that died with its worker is noticed by its silence
IN_ORDER = [
    *("TURN_CLAIMED", "TURN_DELIVERED", "SESSION_STARTED", "AGENT_MESSAGE", "SESSION_ENDED"),
]


def answer(claim: Claim, bound: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"text": "done"}


def set_up(here: Machine, each: int = 2, places: tuple[str, ...] = PLACES) -> Platform:
    """Workspaces with one slot and some turns each."""
    platform = here.process()
    for place in places:
        new_workspace(platform, place)
        capacity.heartbeat(platform, place, capacity.Beat(sessions=[]))
        for text in "abcdefgh"[:each]:
            turns.submit(platform, place, turns.Request(body={"text": text}))
    platform.clients.control.delete(keys.READY)
    return platform


def catch_up(platform: Platform, seconds: int = 60) -> None:
    """What everybody else does meanwhile, among them runtimes that end their turns at once."""
    for second in range(seconds):
        platform.clock.wait(platform.stopping, 1)
        if second % 10 == 0:
            sweep(platform)
        for place in PLACES:
            capacity.heartbeat(platform, place, capacity.Beat(sessions=[]))
        reaper.reap(platform)
        while rung := doorbell.next_ready_many(platform, 0.01, jobs.RINGS_MOST):
            visit_all(platform, Inbox(), rung)
        for place in PLACES:
            while (found := sessions.take(platform, place, "runtime").handover) is not None:
                own = found.session
                sessions.start(platform, place, own.id, own.fence, "runtime")
                sessions.finish(platform, place, own.id, own.fence, "completed", {"text": "done"})
        if not any(open_turns(platform, place) for place in PLACES):
            return


@pytest.mark.parametrize("adapter", [Inbox(), Scripted(answer)], ids=["polled", "in process"])
def test_killed_at_any_command_of_a_visit_to_many_every_turn_ends_once(adapter: Adapter) -> None:
    def whole(life: Life) -> None:
        with machine(NOON, idle_timeout_s=SILENT_S, heartbeat_interval_s=5) as here:
            set_up(here)
            visit_all(here.process(life), adapter, PLACES)

    for life in lives(whole):
        with machine(NOON, idle_timeout_s=SILENT_S, heartbeat_interval_s=5) as here:
            platform = set_up(here)
            try:
                visit_all(here.process(life), adapter, PLACES)
            except Killed:
                assert life.is_dead
            catch_up(platform)
            for place in PLACES:
                assert open_turns(platform, place) == [], life
                assert [one.state for one in turns_of(platform, place)] == ["completed"] * 2, life
                assert set(endings(platform, place).values()) == {1}, life


def test_an_agent_of_the_same_process_is_told_in_the_order_of_before() -> None:
    with machine(NOON) as here:
        platform = set_up(here)
        assert visit_all(platform, Scripted(answer), PLACES).count == 4
        for place in PLACES:
            told = [one.event for one in all_events(platform, place)]
            assert told[-10:] == IN_ORDER * 2


def test_many_share_the_claims_of_one_visit_and_then_stand_behind_who_came_meanwhile() -> None:
    with machine(NOON, claims_per_visit=8) as here:
        platform = set_up(here, each=5)
        doorbell.ring(platform, "neighbour")
        visited = visit_all(platform, Scripted(answer), PLACES)
        assert visited.count == 8
        assert [len(open_turns(platform, place)) for place in PLACES] == [1, 1]
        ready = platform.clients.control.zrange(keys.READY, 0, -1)
        assert ready == ["neighbour", "one", "two"]


def test_the_trouble_of_one_is_not_the_others() -> None:
    """One is gone, one has a record that nobody can read, one agent is away; the last is served."""

    def some_away(claim: Claim, bound: Mapping[str, Any]) -> Mapping[str, Any]:
        if claim.body["text"] == "away":
            raise DeliveryFailed("away", holds=True)
        return {}

    with machine(NOON) as here:
        platform = set_up(here, each=1, places=("broken", "well"))
        new_workspace(platform, "away")
        capacity.heartbeat(platform, "away", capacity.Beat(sessions=[]))
        turns.submit(platform, "away", turns.Request(body={"text": "away"}))
        own = keys.of("broken")["bodies"]
        (turn_id,) = platform.clients.data.hkeys(own)
        platform.clients.data.hset(own, turn_id, "{ half a body")
        places = ["gone", "broken", "away", "well"]
        visited = visit_all(platform, Scripted(some_away), places)
        assert set(visited.troubles) == {"gone", "broken"}
        assert open_turns(platform, "well") == []
        (waiting,) = turns_of(platform, "away")
        assert (waiting.state, waiting.losses) == ("queued", 1)
        platform.clients.control.delete(keys.READY)
        jobs._visit(platform, Scripted(some_away), ["gone", "broken", "well"])
        assert platform.clients.control.zcard(keys.READY) == 0, "no hot loop over what breaks"


class Cut:
    """A client whose next pipeline is sent, and its replies are lost."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def pipeline(self, transaction: bool = True) -> Any:
        pipe = self._client.pipeline(transaction)
        execute = pipe.execute

        def lost(*args: Any, **options: Any) -> Any:
            execute(*args, **options)
            raise redis.ConnectionError("cut")

        pipe.execute = lost
        return pipe


def test_a_connection_cut_in_the_middle_of_a_visit_rings_for_all_of_it_again() -> None:
    with machine(NOON) as here:
        platform = set_up(here)
        clients = replace(platform.clients, data=Cut(platform.clients.data))
        cut = Platform(platform.settings, clients, platform.clock)
        assert jobs._visit(cut, Scripted(answer), PLACES) == 0
        assert platform.clients.control.zrange(keys.READY, 0, -1) == list(PLACES)
        assert all(sessions.live(platform, place) for place in PLACES), "claimed; nobody knows"
        catch_up(platform)
        for place in PLACES:
            assert set(endings(platform, place).values()) == {1}


@pytest.mark.parametrize("is_one_server", [True, False])
def test_the_reaper_is_told_of_all_whether_or_not_the_control_side_is_another_server(
    is_one_server: bool,
) -> None:
    with machine(NOON) as here:
        platform = set_up(here)
        clients = replace(platform.clients, is_one_server=is_one_server)
        apart = Platform(platform.settings, clients, platform.clock)
        visit_all(apart, Inbox(), PLACES)
        watched = platform.clients.control.zrange(keys.DEADLINES, 0, -1, withscores=True)
        limit_ms = platform.now_ms() + 1000 * platform.settings.handover_s
        assert {place for place, _ in watched} == set(PLACES)
        assert all(at_ms <= limit_ms for _, at_ms in watched)


def test_a_turn_that_came_while_the_last_one_ran_is_rung_for_at_its_end() -> None:
    """Its submit found the slot taken, and the visit does not look again where nothing waited."""
    with machine(NOON) as here:
        platform = set_up(here, each=1, places=("one",))

        def answer_after_another_came(claim: Claim, bound: Mapping[str, Any]) -> Mapping[str, Any]:
            if claim.body["text"] == "a":
                turns.submit(platform, "one", turns.Request(body={"text": "later"}))
                assert platform.clients.control.zcard(keys.READY) == 0
            return {}

        assert visit_all(platform, Scripted(answer_after_another_came), ["one"]).count == 1
        assert doorbell.next_ready_many(platform, 0.01, 1) == ["one"]
        assert visit_all(platform, Scripted(answer), ["one"]).count == 1
        assert open_turns(platform, "one") == []
