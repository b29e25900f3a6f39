"""Which clock ends a session: pure decisions over times."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.core.records import Session
from workers.watchdog import (
    Limit,
    Limits,
    clocks,
    due_rung,
    is_stalled,
    look_again_at,
    preempts,
    rungs,
    verdict,
)

T0 = 1_700_000_000_000
LIMITS = Limits(
    idle=Limit(900_000, "TURNKEEPER_IDLE_TIMEOUT_S"),
    stall=Limit(600_000, "TURNKEEPER_STALL_AFTER_S"),
    lease=Limit(60_000, "TURNKEEPER_LEASE_TTL_S"),
    handover=Limit(10_000, "TURNKEEPER_HANDOVER_S"),
)
CLAIMED = Session(
    id="ses", turn_id="trn", fence=1, state="claimed", attempt=1, lane="chat", origin="chat",
    claimed_at=T0, seen_at=T0, progress_at=T0, ceiling_ms=1_800_000,
    ceiling_at=T0 + 1_800_000, checkpoint_at=T0 + 1_740_000, cancel_at=T0 + 1_790_000,
)  # fmt: skip
LAID_OUT = replace(CLAIMED, digest="d")
RUNNING = replace(LAID_OUT, state="running", started_at=T0 + 1)

spans = st.integers(0, 10_000_000)
maybe_at = st.none() | spans.map(lambda span: T0 + span)


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    ceiling = draw(st.sampled_from([0, 1, 4_000, 1_800_000]))
    asked = draw(maybe_at)
    return replace(
        CLAIMED,
        digest=draw(st.none() | st.just("d")),
        state=draw(st.sampled_from(["claimed", "delivered", "running", "checkpointing"])),
        seen_at=T0 + draw(spans),
        started_at=draw(maybe_at),
        ceiling_ms=ceiling,
        ceiling_at=T0 + ceiling if ceiling else None,
        checkpoint_at=T0 + ceiling // 2 if ceiling else None,
        cancel_at=T0 + ceiling - ceiling // 10 if ceiling else None,
        unwanted=draw(st.booleans()),
        checkpoint_asked_at=draw(maybe_at),
        stalled_at=draw(maybe_at),
        missed=draw(st.none() | st.integers(0, 5)),
        cancel_asked_at=asked,
        cancel_by=None if asked is None else asked + draw(spans),
    )


limit = st.builds(Limit, spans, st.just("x"))
limits = st.builds(Limits, idle=limit, stall=limit, lease=limit, handover=limit)


@given(sessions(), limits, spans)
def test_the_look_comes_exactly_when_there_is_something_to_see(
    session: Session, limits: Limits, after: int
) -> None:
    now = T0 + after
    at = look_again_at(session, limits, now)
    is_due = (
        verdict(session, now, limits) is not None
        or due_rung(session, now) is not None
        or is_stalled(session, now, limits)
    )
    assert is_due == (at is not None and at <= now)


@given(sessions(), limits, spans, spans)
def test_a_verdict_is_never_taken_back_by_time_alone(
    session: Session, limits: Limits, first: int, more: int
) -> None:
    if verdict(session, T0 + first, limits):
        assert verdict(session, T0 + first + more, limits)


@given(sessions(), limits, spans, spans)
def test_no_sign_of_life_moves_the_ceiling(
    session: Session, limits: Limits, after: int, seen: int
) -> None:
    now = T0 + after
    beaten = replace(session, seen_at=T0 + seen, progress_at=T0 + seen, missed=None)
    is_over = session.ceiling_at is not None and session.ceiling_at <= now
    for one in (session, beaten):
        found = verdict(one, now, limits)
        assert (found is not None and found.mechanism == "ceiling") == is_over


@given(sessions(), limits, spans)
def test_what_acts_names_its_limit_its_setting_and_has_been_exceeded(
    session: Session, limits: Limits, after: int
) -> None:
    now = T0 + after
    found = verdict(session, now, limits)
    if found:
        (clock, *_) = [one for one in clocks(session, limits) if one.verdict == found]
        assert found.setting
        assert now - clock.since_ms >= found.limit_ms >= 0


def test_the_ceiling_comes_before_every_other_mechanism() -> None:
    tired = replace(RUNNING, missed=9, cancel_asked_at=T0, cancel_by=T0)
    found = verdict(tired, T0 + 1_800_000, LIMITS)
    assert found is not None
    assert (found.mechanism, found.limit_ms, found.setting) == (
        "ceiling",
        1_800_000,
        "TURNKEEPER_CEILING_S",
    )


def test_idle_counts_from_the_last_sign_and_only_once_started() -> None:
    seen = replace(RUNNING, seen_at=T0 + 100_000)
    assert verdict(seen, T0 + 999_999, LIMITS) is None
    found = verdict(seen, T0 + 1_000_000, LIMITS)
    assert found is not None
    assert found.mechanism == "idle_timeout"
    waiting = replace(LAID_OUT, ceiling_at=None)
    assert [clock.verdict.mechanism for clock in clocks(waiting, LIMITS)] == ["lease"]


def test_two_beats_without_the_session_lose_it_and_one_does_not() -> None:
    assert verdict(replace(RUNNING, missed=1), T0 + 1000, LIMITS) is None
    found = verdict(replace(RUNNING, missed=2), T0 + 1000, LIMITS)
    assert found is not None
    assert found.mechanism == "lost"


def test_a_session_that_nobody_laid_out_ends_sooner_than_one_that_nobody_started() -> None:
    found = verdict(CLAIMED, T0 + 10_000, LIMITS)
    assert found is not None
    assert (found.mechanism, found.setting) == ("handover", "TURNKEEPER_HANDOVER_S")
    assert verdict(LAID_OUT, T0 + 59_999, LIMITS) is None
    late = verdict(LAID_OUT, T0 + 60_000, LIMITS)
    assert late is not None
    assert (late.mechanism, late.setting) == ("lease", "TURNKEEPER_LEASE_TTL_S")


def test_a_session_without_ceiling_and_idle_limit_has_no_clock() -> None:
    free = replace(RUNNING, ceiling_at=None, ceiling_ms=0)
    none = Limit(0, "x")
    assert look_again_at(free, replace(LIMITS, idle=none, stall=none), T0) is None


def test_the_clocks_of_a_session_that_may_start_any_moment_are_looked_at_in_time() -> None:
    soon = replace(LAID_OUT, ceiling_at=None, cancel_at=None, checkpoint_at=None, idle_ms=20_000)
    now = T0 + 10_000
    assert look_again_at(soon, LIMITS, now) == now + 20_000, "before the lease ends at 60 s"
    started = replace(soon, started_at=now + 1, seen_at=now + 1, progress_at=now + 1)
    assert look_again_at(started, LIMITS, now + 20_000) == now + 20_001


def test_the_ladder_asks_for_a_checkpoint_then_cancels_each_by_the_ceiling() -> None:
    assert due_rung(RUNNING, T0 + 1_739_999) is None
    first = due_rung(RUNNING, T0 + 1_740_000)
    assert first is not None
    assert (first.kind, first.deadline_ms) == ("checkpoint", T0 + 1_800_000)
    asked = replace(RUNNING, checkpoint_asked_at=T0 + 1_740_000)
    assert due_rung(asked, T0 + 1_789_999) is None
    second = due_rung(asked, T0 + 1_790_000)
    assert second is not None
    assert (second.kind, second.deadline_ms) == ("cancel", T0 + 1_800_000)
    assert rungs(replace(asked, cancel_asked_at=T0 + 1_790_000)) == []


def test_a_reaper_that_comes_late_goes_straight_to_cancel_and_asks_no_checkpoint_after_it() -> None:
    late = due_rung(RUNNING, T0 + 1_795_000)
    assert late is not None
    assert late.kind == "cancel"
    assert due_rung(replace(RUNNING, cancel_asked_at=T0 + 1_795_000), T0 + 1_799_000) is None


def test_a_ladders_cancel_never_ends_a_session_before_its_ceiling() -> None:
    asked = replace(RUNNING, cancel_asked_at=T0 + 1_790_000, cancel_by=T0 + 1_795_000)
    seen = replace(asked, seen_at=T0 + 1_790_000)
    assert verdict(seen, T0 + 1_799_999, LIMITS) is None
    users = verdict(replace(seen, unwanted=True), T0 + 1_795_000, LIMITS)
    assert users is not None
    assert users.mechanism == "cancel"


def test_a_stall_is_progress_missing_and_news_only_once() -> None:
    beating = replace(RUNNING, seen_at=T0 + 700_000)
    assert not is_stalled(beating, T0 + 599_999, LIMITS)
    assert is_stalled(beating, T0 + 600_000, LIMITS)
    assert verdict(beating, T0 + 700_000, LIMITS) is None
    assert not is_stalled(replace(beating, stalled_at=T0 + 600_000), T0 + 700_000, LIMITS)
    own = replace(beating, stall_ms=1_000)
    assert is_stalled(own, T0 + 1_000, LIMITS)


def test_a_schedules_own_idle_limit_stands_before_the_workspaces() -> None:
    own = replace(RUNNING, idle_ms=5_000)
    found = verdict(own, T0 + 5_000, LIMITS)
    assert found is not None
    assert (found.mechanism, found.setting) == ("idle_timeout", "schedule.idle_timeout_s")


def test_a_late_fire_preempts_a_cron_session_and_chat_only_where_told() -> None:
    cron, chat = replace(RUNNING, origin="cron"), RUNNING
    assert preempts(cron, "cron", waited_ms=60_000, after_ms=60_000)
    assert not preempts(cron, "cron", waited_ms=59_999, after_ms=60_000)
    assert not preempts(chat, "cron", waited_ms=60_000, after_ms=60_000)
    assert preempts(chat, "any", waited_ms=60_000, after_ms=60_000)
    assert not preempts(cron, "off", waited_ms=60_000, after_ms=60_000)
    assert not preempts(cron, "any", waited_ms=60_000, after_ms=0)
    asked = replace(cron, checkpoint_asked_at=T0)
    assert not preempts(asked, "any", waited_ms=60_000, after_ms=1)
