"""Late, offline, degraded, wedged, zombie, lost: what the heartbeat says, and what follows."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.api import views
from app.core import sessions, why, workspaces
from app.core.platform import Platform
from tests.seeds.clocks import OPENS, WS, Runtime, Shift, at_ms
from tests.support.world import all_events, virtual_platform


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(OPENS) as here:
        yield here


def names(platform: Platform) -> list[str]:
    return [e.event for e in all_events(platform, WS) if e.event.startswith("WORKSPACE_")]


def test_silence_degrades_at_90_s_and_is_offline_at_the_ttl_and_running_work_is_left_alone(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform)
    session_id = shift.begin()
    waiting = shift.submit()
    last_beat = platform.now_ms()
    shift.agent.beats = False
    shift.run(181)
    late, away = shift.one("WORKSPACE_DEGRADED"), shift.one("WORKSPACE_OFFLINE")
    for event, limit_ms, setting in (
        (late, 90_000, "TURNKEEPER_HEARTBEAT_LATE_S"),
        (away, 180_000, "TURNKEEPER_HEARTBEAT_TTL_S"),
    ):
        assert (event.payload["limit_ms"], event.payload["setting"]) == (limit_ms, setting)
        assert event.payload["measured_ms"] >= limit_ms
        assert 0 <= at_ms(event) - last_beat - limit_ms <= 1000
    assert (late.mechanism, away.mechanism) == ("heartbeat_late", "heartbeat_ttl")
    assert shift.live() == [session_id]
    assert shift.session(session_id).state == "running"
    shift.agent.finish(session_id)
    shift.serve()
    assert shift.state_of(waiting) == "queued", "a free slot, but nobody knows of whom"
    assert why.explain(platform, WS).code == "heartbeat_expired"


def test_a_heartbeat_at_181_s_brings_the_workspace_back_with_its_work_untouched(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform)
    session_id = shift.begin()
    before = shift.session(session_id)
    shift.agent.beats = False
    shift.run(180.9)
    assert shift.status() == "offline"
    assert shift.agent.beat().status == "online"
    after = shift.session(session_id)
    assert (after.state, after.fence, after.attempt) == ("running", before.fence, 1)
    assert names(platform)[-2:] == ["WORKSPACE_OFFLINE", "WORKSPACE_ONLINE"]
    shift.agent.beats = True
    shift.run(600)
    assert shift.live() == [session_id]
    assert shift.told("TURN_RETURNED") == shift.told("SESSION_ENDED") == []
    assert shift.agent.finish(session_id) == "completed"


def test_late_and_back_again_any_number_of_times(platform: Platform) -> None:
    shift = Shift.opened(platform)
    for _ in range(3):
        shift.agent.beats = False
        shift.run(95)
        assert shift.status() == "degraded"
        shift.agent.beats = True
        shift.run(31)
        assert shift.status() == "online"
    wanted = ["WORKSPACE_DEGRADED", "WORKSPACE_ONLINE"] * 3
    assert names(platform)[-6:] == wanted


def test_beats_every_89_s_are_never_late(platform: Platform) -> None:
    shift = Shift.opened(platform)
    shift.agent.beats = False
    for _ in range(10):
        shift.run(89)
        shift.agent.beat()
    assert shift.told("WORKSPACE_DEGRADED") == []


@pytest.mark.parametrize(
    "beats",
    [
        [(0.49, "online"), (0.5, "degraded"), (0.3, "degraded"), (0.1, "degraded")]
        + [(0.09, "online"), (0.3, "online")],
        [("wedged", "degraded"), (0.3, "degraded"), ("", "degraded"), (0.0, "online")],
        [("wedged", "degraded"), ("", "online")],
        [(0.6, "degraded"), ("wedged", "degraded"), (0.0, "degraded"), ("", "online")],
    ],
    ids=["error rate", "wedged within the gap", "wedged", "both"],
)
def test_error_rate_and_wedge_degrade_with_a_gap_between(
    platform: Platform, beats: list[tuple[Any, str]]
) -> None:
    """At 0.5 and above, or wedged; back below 0.1 with no wedge. A partial beat keeps the rest."""
    shift = Shift.opened(platform)
    seen = []
    for said, _ in beats:
        shift.run(30)
        field = "runtime_state" if isinstance(said, str) else "error_rate"
        seen.append(shift.agent.beat(**{field: said}).status)
    assert seen == [status for _, status in beats]


def test_a_degraded_workspace_still_takes_work(platform: Platform) -> None:
    shift = Shift.opened(platform)
    shift.agent.beat(error_rate=0.9)
    assert shift.begin()


def test_late_does_not_hide_an_error_rate_and_an_error_rate_is_not_cured_by_being_late(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform)
    shift.agent.beat(error_rate=0.6)
    shift.agent.beats = False
    shift.run(95)
    assert shift.agent.beat().status == "degraded", "0.6 still stands"
    shift.agent.beat(error_rate=0.0)
    shift.run(95)
    assert shift.status() == "degraded"
    assert shift.agent.beat().status == "online"


@pytest.mark.parametrize("counts_only", [False, True], ids=["by ids", "by count"])
def test_a_zombie_is_shown_and_never_counted_until_it_is_gone(
    platform: Platform, counts_only: bool
) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 600}, counts_only=counts_only)
    zombie = shift.begin()
    shift.run(601)
    ghost: dict[str, Any] = {"active_tasks": 1} if counts_only else {"sessions": [zombie]}

    def shown() -> tuple[int, int]:
        row = views.workspace(workspaces.get(platform, WS), platform.settings)
        return row["live_sessions"], row["zombies"]

    shift.agent.beat(**ghost)
    assert shown() == (0, 1)
    after = shift.begin("cron")
    shift.agent.beat(**({"active_tasks": 2} if counts_only else {"sessions": [zombie, after]}))
    assert shown() == (1, 1)
    terminate = [one for one in shift.agent.of(zombie) if one.type == "terminate"]
    assert terminate, "it is told to end it for as long as it says that it runs"
    shift.agent.beat(**({"active_tasks": 1} if counts_only else {"sessions": [after]}))
    assert shown() == (1, 0)


def test_a_session_that_its_own_runtime_no_longer_names_is_lost_and_returns(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 0})
    session_id = shift.begin()
    turn_id = shift.session(session_id).turn_id
    shift.agent.running.clear()  # the runtime forgot it: restarted under the same name
    shift.agent.polls = False
    shift.run(62)
    ended = shift.one("SESSION_ENDED", session_id)
    assert ended.mechanism == "lost"
    facts = ended.payload
    assert (facts["limit_count"], facts["setting"]) == (2, "TURNKEEPER_HEARTBEAT_INTERVAL_S")
    assert facts["measured_count"] >= 2
    assert facts["silent_ms"] >= 30_000
    assert shift.one("TURN_RETURNED").payload["losses"] == 1
    shift.agent.polls = True
    shift.run(31)
    assert shift.session(shift.live()[0]).turn_id == turn_id


def test_two_runtimes_of_one_workspace_hear_only_of_their_own_sessions(platform: Platform) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 0}, slots=2)
    shift.runtimes.append(Runtime(platform, "s", slots=2))
    first = shift.begin()
    shift.runtimes.reverse()  # the other one polls first from here on
    session = shift.session(first)
    asked = sessions.Ask(kind="checkpoint", mechanism="operator", reason="told", within_s=60)
    sessions.ask(platform, WS, session, asked)
    shift.serve()
    other, own = shift.runtimes
    assert [one.way for one in own.of(first)] == ["poll"], "at once, to whom it concerns"
    assert other.of(first) == []
    sessions.reap(platform, WS, session, "operator", 0, "operator")
    shift.serve()
    assert [one.type for one in own.of(first, "poll")] == ["checkpoint", "terminate"]
    assert other.of(first) == []
