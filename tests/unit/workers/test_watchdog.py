"""Which clock ends a session: pure decisions over times."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.core.records import Session
from workers.watchdog import Limits, clocks, look_again_at, verdict

T0 = 1_700_000_000_000
LIMITS = Limits(
    idle_ms=900_000, idle_setting="TURNKEEPER_IDLE_TIMEOUT_S", lease_ms=60_000, handover_ms=10_000
)
CLAIMED = Session(
    id="ses", turn_id="trn", fence=1, state="claimed", attempt=1, lane="chat", origin="chat",
    claimed_at=T0, seen_at=T0, progress_at=T0, lease_until=T0 + 60_000, ceiling_ms=1_800_000,
    ceiling_at=T0 + 1_800_000,
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
        missed=draw(st.none() | st.integers(0, 5)),
        cancel_asked_at=asked,
        cancel_by=None if asked is None else asked + draw(spans),
    )


limits = st.builds(
    Limits, idle_ms=spans, idle_setting=st.just("x"), lease_ms=spans, handover_ms=spans
)


@given(sessions(), limits, spans)
def test_the_look_comes_exactly_when_there_is_something_to_see(
    session: Session, limits: Limits, after: int
) -> None:
    now, at = T0 + after, look_again_at(session, limits)
    assert (verdict(session, now, limits) is not None) == (at is not None and at <= now)


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
    assert (found.mechanism, found.limit_ms, found.setting) == ("ceiling", 1_800_000, "ceiling_s")


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
    assert (found.mechanism, found.setting) == ("lease", "TURNKEEPER_HANDOVER_S")
    assert verdict(LAID_OUT, T0 + 59_999, LIMITS) is None
    late = verdict(LAID_OUT, T0 + 60_000, LIMITS)
    assert late is not None
    assert (late.mechanism, late.setting) == ("lease", "TURNKEEPER_LEASE_TTL_S")


def test_a_session_without_ceiling_and_idle_limit_has_no_clock() -> None:
    free = replace(RUNNING, ceiling_at=None, ceiling_ms=0)
    assert look_again_at(free, replace(LIMITS, idle_ms=0)) is None
