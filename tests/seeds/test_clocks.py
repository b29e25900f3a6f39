"""Three clocks and the ladder in virtual time, each with a control that shows the test can fail."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from app.api import views
from app.core import schedules, sessions, turns, why, workspaces
from app.core.errors import StaleFence
from app.core.events import Event
from app.core.platform import Platform
from tests.seeds.clocks import OPENS, WS, Shift, at_ms, beside
from tests.support.kernel import Altered
from tests.support.world import endings, virtual_platform
from workers import reaper

MINUTE_MS = 60_000
REAP_MS = 1000
ORIGINS = ("chat", "cron", "agent")


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(OPENS) as here:
        yield here


def assert_in_time(event: Event, due_ms: int) -> None:
    assert due_ms <= at_ms(event) <= due_ms + REAP_MS, (event.event, at_ms(event) - due_ms)


def facts(event: Event) -> tuple[str | None, int, str]:
    payload = event.payload
    assert payload["measured_ms"] >= payload["limit_ms"]
    return event.mechanism, payload["limit_ms"], payload["setting"]


@pytest.mark.parametrize("minutes", [30, 60])
@pytest.mark.parametrize("origin", ORIGINS)
def test_the_ladder_is_climbed_to_the_second_whatever_the_origin(
    platform: Platform, origin: str, minutes: int
) -> None:
    ceiling_ms = minutes * MINUTE_MS
    shift = Shift.opened(platform, {"ceiling_s": minutes * 60})
    session_id = shift.begin(origin)
    claimed = shift.session(session_id).claimed_at
    shift.run(minutes * 60 + 5)

    asked, canceled = (
        shift.one(name, session_id)
        for name in ("SESSION_CHECKPOINT_REQUESTED", "SESSION_CANCEL_REQUESTED")
    )
    ended = shift.one("SESSION_ENDED", session_id)
    for event, limit_ms in (
        (asked, ceiling_ms - MINUTE_MS),
        (canceled, ceiling_ms - 10_000),
        (ended, ceiling_ms),
    ):
        assert facts(event) == ("ceiling", limit_ms, "workspace.ceiling_s")
        assert_in_time(event, claimed + limit_ms)
    assert asked.payload["deadline_at"] == canceled.payload["deadline_at"] == claimed + ceiling_ms
    assert ended.payload["state"] == "force_idled"
    assert ended.payload["origin"] == origin

    heard = shift.agent.of(session_id)
    by_poll = [one for one in heard if one.way == "poll"]
    assert [one.type for one in by_poll] == ["checkpoint", "cancel", "terminate"], "each once"
    assert [one.deadline_at for one in by_poll[:2]] == [claimed + ceiling_ms] * 2
    assert by_poll[0].at == at_ms(asked), "at once, not with the next beat"
    shown = views.directives([{"deadline_at": by_poll[0].deadline_at}])[0]["deadline_at"]
    assert shown == (OPENS + timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace(
        "+00:00", "Z"
    )


def test_a_runtime_without_a_poll_hears_each_step_with_its_next_beat(platform: Platform) -> None:
    shift = Shift.opened(platform)
    session_id = shift.begin()
    shift.agent.polls = False
    shift.run(1800 + 31)
    asked = shift.one("SESSION_CHECKPOINT_REQUESTED")
    first = shift.agent.of(session_id, "beat")[0]
    assert first.type == "checkpoint"
    assert 0 <= first.at - at_ms(asked) <= 30_000
    assert {one.type for one in shift.agent.of(session_id)} >= {"checkpoint", "terminate"}


def test_without_a_ceiling_a_session_lives_on_and_is_shown_so(platform: Platform) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 0})
    session_id = shift.begin("cron", preempt="off")
    shift.submit()
    shift.run(6 * 3600)
    assert shift.live() == [session_id]
    assert shift.told("SESSION_CHECKPOINT_REQUESTED") == []
    assert "no ceiling set" in why.explain(platform, WS).sentence
    row = views.session(WS, shift.session(session_id), platform.now_ms())
    assert (row["ceiling_s"], row["ceiling_at"]) == (0, None)


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("counts_only", [False, True], ids=["by ids", "by count"])
def test_a_deaf_agent_that_beats_perfectly_loses_its_slot_and_never_completes_another_turn(
    platform: Platform, origin: str, counts_only: bool
) -> None:
    shift = Shift.opened(platform, counts_only=counts_only)
    deaf = shift.begin(origin)
    next_turn = shift.submit("cron", name="next")
    assert shift.state_of(next_turn) == "queued"
    # The runtime gives the slot up when told to terminate; the child of it is a zombie.
    hung = shift.agent.running.pop(deaf)
    shift.agent.beat_fields = {"active_tasks": 1} if counts_only else {"sessions": [deaf]}
    shift.run_to(hung.session.ceiling_at or 0)
    assert deaf in shift.live()
    shift.run(1)

    ended = shift.one("SESSION_ENDED", deaf)
    assert_in_time(ended, hung.session.ceiling_at or 0)
    handed_at, handed = shift.agent.handed[-1]
    assert handed.turn.id == next_turn
    assert handed_at == at_ms(ended), "the next is delivered in the same breath, not at a beat"
    assert handed.session.fence > hung.session.fence

    with pytest.raises(StaleFence):
        sessions.finish(platform, WS, deaf, hung.session.fence, "completed", {"text": "too late"})
    fenced = shift.told("WRITE_FENCED", deaf)[-1]
    assert (fenced.payload["text"], fenced.payload["ended_by"]) == ("too late", "ceiling")
    assert shift.state_of(hung.turn.id) == "force_idled"
    assert shift.state_of(next_turn) == "running"
    assert turns.read_parts(platform, WS, next_turn)[1] is None
    shift.agent.finish(handed.session.id)
    assert shift.state_of(next_turn) == "completed"
    assert endings(platform, WS) == {hung.turn.id: 1, next_turn: 1}


def test_control_with_the_reaper_never_called_nothing_ends(platform: Platform) -> None:
    shift = Shift.opened(platform)
    session_id = shift.begin()
    shift.reaps = False
    shift.run(3 * 3600)
    assert shift.live() == [session_id]
    assert shift.told("SESSION_CHECKPOINT_REQUESTED") == shift.told("SESSION_ENDED") == []
    shift.reaps = True
    shift.run(1)  # dead for three hours: caught up at its first look
    ended = shift.one("SESSION_ENDED", session_id)
    assert facts(ended)[0] == "ceiling"
    assert ended.payload["measured_ms"] >= 3 * 3600_000
    assert shift.told("SESSION_CHECKPOINT_REQUESTED") == [], "no step that is over is asked for"


def test_control_with_the_rung_removed_no_checkpoint_is_asked(platform: Platform) -> None:
    line = "session.checkpoint_at = session.ceiling_at"
    with_rung_gone = Altered(platform.clients.data, "claim", line, "local _ = session.ceiling_at")
    shift = Shift.opened(beside(platform, with_rung_gone))
    session_id = shift.begin()
    shift.run(1805)
    assert shift.told("SESSION_CHECKPOINT_REQUESTED") == []
    assert shift.one("SESSION_ENDED", session_id).mechanism == "ceiling"


@pytest.mark.parametrize(
    ("limit", "mechanism", "seconds"),
    [("ceiling_s", "ceiling", 200), ("idle_timeout_s", "idle_timeout", 300)],
)
@pytest.mark.parametrize("whose", ["workspace", "schedule"])
def test_a_limit_of_the_workspace_or_the_schedule_overrides_the_default(
    platform: Platform, limit: str, mechanism: str, seconds: int, whose: str
) -> None:
    shift = Shift.opened(platform, {limit: seconds} if whose == "workspace" else {})
    session_id = shift.begin("cron", **({limit: seconds} if whose == "schedule" else {}))
    shift.agent.beats = limit == "ceiling_s"
    seen = shift.session(session_id).seen_at
    shift.run(seconds + 1)
    ended = shift.one("SESSION_ENDED", session_id)
    assert facts(ended) == (mechanism, seconds * 1000, f"{whose}.{limit}")
    assert_in_time(ended, seen + seconds * 1000)


@pytest.mark.parametrize("whose", ["workspace", "schedule", "TURNKEEPER"])
def test_a_stall_is_told_once_cleared_by_progress_and_not_by_a_keepalive(
    platform: Platform, whose: str
) -> None:
    own: dict[str, Any] = {"stall_after_s": 120}
    shift = Shift.opened(platform, {"ceiling_s": 0} | (own if whose == "workspace" else {}))
    session_id = shift.begin("cron", **(own if whose == "schedule" else {}))
    limit_s = 600 if whose == "TURNKEEPER" else 120
    session = shift.session(session_id)

    def report(kind: str) -> None:
        sessions.progress(platform, WS, session_id, session.fence, kind, {})

    shift.run(limit_s / 2)
    report("keepalive")
    shift.run(limit_s / 2 + 1)
    told = shift.one("TURN_STALLED", session_id)
    name = "TURNKEEPER_STALL_AFTER_S" if whose == "TURNKEEPER" else f"{whose}.stall_after_s"
    assert facts(told) == ("stall", limit_s * 1000, name)
    assert_in_time(told, session.progress_at + limit_s * 1000)
    shift.run(limit_s)
    report("keepalive")
    assert len(shift.told("TURN_STALLED")) == 1
    assert shift.session(session_id).stalled_at, "a keepalive is no progress"
    assert "no progress for" in why.explain(platform, WS).sentence
    report("output")
    assert shift.session(session_id).stalled_at is None
    assert shift.live() == [session_id], "shown, not ended"
    shift.run(limit_s + 1)
    assert len(shift.told("TURN_STALLED")) == 2, "another stall is news again"


def test_an_idle_override_is_declared_by_a_beat_kept_by_a_partial_one_cleared_by_null(
    platform: Platform,
) -> None:
    def limit() -> tuple[int, str]:
        idle = reaper.limits_of(platform, workspaces.get(platform, WS)).idle
        return idle.ms, idle.setting

    shift = Shift.opened(platform)
    shift.agent.beat(idle_timeout_s=120)
    assert limit() == (120_000, "heartbeat.idle_timeout_seconds")
    shift.agent.beat(error_rate=0.0)
    assert limit()[0] == 120_000
    shift.agent.beat(idle_timeout_s=None)
    assert limit() == (900_000, "TURNKEEPER_IDLE_TIMEOUT_S")

    shift.agent.beat(idle_timeout_s=120)
    session_id = shift.begin()
    shift.agent.beats = False
    shift.run(121)
    assert facts(shift.one("SESSION_ENDED", session_id)) == (
        "idle_timeout", 120_000, "heartbeat.idle_timeout_seconds",
    )  # fmt: skip


@pytest.mark.parametrize("by", ["beat", "workspace"])
def test_a_limit_shortened_under_a_running_session_acts_in_time(
    platform: Platform, by: str
) -> None:
    shift = Shift.opened(platform)
    session_id = shift.begin()
    shift.agent.beats = False
    shift.run(200)  # offline by now: nothing else has the reaper look
    assert shift.status() == "offline"
    seen = shift.session(session_id).seen_at
    if by == "beat":
        shift.agent.beat(idle_timeout_s=90)
        seen = platform.now_ms()
        shift.agent.polls = False
    else:
        workspaces.change(platform, WS, {"idle_timeout_s": 240})
    shift.run(91)
    due_ms = seen + (90_000 if by == "beat" else 240_000)
    assert_in_time(shift.one("SESSION_ENDED", session_id), due_ms)


def test_what_another_instance_of_the_platform_hears_resets_the_idle_clock(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform, {"ceiling_s": 0})
    shift.reaper_platform = beside(platform)
    session_id = shift.begin()
    shift.agent.beats = False
    elsewhere, fence = beside(platform), shift.session(session_id).fence
    for kind in ("keepalive", "output", "keepalive"):
        shift.run(890)
        sessions.progress(elsewhere, WS, session_id, fence, kind, {})
    assert shift.live() == [session_id]
    seen = shift.session(session_id).seen_at
    shift.run(901)
    ended = shift.one("SESSION_ENDED", session_id)
    assert facts(ended) == ("idle_timeout", 900_000, "TURNKEEPER_IDLE_TIMEOUT_S")
    assert_in_time(ended, seen + 900_000)


@pytest.mark.parametrize("kind", ["checkpoint", "cancel"])
def test_what_is_asked_of_a_session_never_reaches_its_successor(
    platform: Platform, kind: str
) -> None:
    shift = Shift.opened(platform)
    first, second_turn = shift.begin(), shift.submit()
    session = shift.session(first)
    asked = sessions.Ask(kind=kind, mechanism="operator", reason="told", within_s=20)
    deadlines = {sessions.ask(platform, WS, session, asked) for _ in range(3)}
    assert len(deadlines) == 1, "idempotent: the first deadline stands"
    shift.agent.finish(first)
    shift.run(1)
    second = shift.live()[0]
    assert shift.session(second).turn_id == second_turn
    with pytest.raises(StaleFence):
        sessions.ask(platform, WS, session, asked)
    shift.run(300)
    assert shift.live() == [second]
    assert shift.agent.of(second) == []


def test_an_operators_end_by_id_is_idempotent_and_spares_the_successor(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform)
    first = shift.begin()
    shift.submit()
    session = shift.session(first)
    ended = [
        sessions.reap(platform, WS, session, "operator", 0, "operator", "enough") for _ in range(3)
    ]
    assert ended == [True, False, False]
    shift.agent.running.clear()
    shift.run(60)
    (second,) = shift.live()
    assert shift.agent.of(second) == []
    assert shift.one("SESSION_ENDED").payload["reason"] == "enough"


def test_a_turn_canceled_before_its_schedule_ends_is_not_delivered_again(
    platform: Platform,
) -> None:
    """A deaf agent: canceled by its caller, ended after the grace, not by the ceiling."""
    shift = Shift.opened(platform)
    session_id = shift.begin()
    turn_id = shift.session(session_id).turn_id
    assert turns.cancel(platform, WS, turn_id, "no longer wanted") == "canceling"
    shift.run(11)
    ended = shift.one("SESSION_ENDED", session_id)
    assert facts(ended) == ("cancel", 10_000, "TURNKEEPER_CANCEL_GRACE_S")
    assert shift.state_of(turn_id) == "canceled"
    shift.agent.running.clear()
    shift.run(120)
    assert shift.live() == []


def test_a_schedules_own_limits_bind_at_the_claim_and_change_with_the_next_one(
    platform: Platform,
) -> None:
    shift = Shift.opened(platform)
    first = shift.begin("cron", ceiling_s=3600)
    schedule_id = str(shift.session(first).schedule_id)
    schedules.change(platform, WS, schedule_id, {"ceiling_s": 600})
    assert shift.session(first).ceiling_ms == 3_600_000, "nothing moves a ceiling"
    shift.agent.finish(first)
    shift.run(1)
    schedules.run_now(platform, WS, schedule_id)
    shift.serve()
    (second,) = shift.live()
    assert shift.session(second).ceiling_ms == 600_000
