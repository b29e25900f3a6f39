"""reap.lua: the platform ends a session, by a clock that is read again in the script."""

import pytest

from app.core import keys, sessions, workspaces
from app.core.errors import StaleFence
from tests.contract.conftest import PAUSE_MS, Pass
from tests.contract.refusals import live
from tests.support import invariants
from tests.support.kernel import Kernel


@pytest.mark.parametrize("mechanism", ["ceiling", "lease", "idle_timeout", "cancel"])
def test_reap_waits_for_the_clock_to_run_out(mechanism: str, kernel: Kernel, pass_ms: Pass) -> None:
    session = live(kernel)
    if mechanism == "idle_timeout":
        kernel.start(session)
    if mechanism == "cancel":
        kernel.ask(session, "cancel", "cancel")
    assert not kernel.reap(session, mechanism, 5000)
    assert kernel.session(session.id).ended_at is None
    pass_ms(30)
    assert kernel.reap(session, mechanism, 30)
    ended = kernel.events("SESSION_ENDED")[0]
    assert ended["mechanism"] == ("delivery_failed" if mechanism == "lease" else mechanism)
    assert ended["payload"]["limit_ms"] == 30 <= ended["payload"]["measured_ms"]
    assert ended["payload"]["setting"] == "a_setting"


@pytest.mark.parametrize(
    ("mechanism", "state"),
    [
        ("ceiling", "force_idled"),
        ("operator", "force_idled"),
        ("cancel", "canceled"),
        ("idle_timeout", "queued"),
        ("lost", "queued"),
    ],
)
def test_reap_ends_a_running_session_as_its_mechanism_says(
    mechanism: str, state: str, kernel: Kernel
) -> None:
    session = live(kernel)
    kernel.start(session)
    if mechanism == "cancel":
        kernel.ask(session, "cancel", "cancel")
    for seq in (2, 3):
        kernel.beat(seq=seq, instance="i", sessions=[])
    assert kernel.reap(session, mechanism)
    invariants.check(kernel)
    turn = kernel.turn(session.turn_id)
    assert (turn.state, turn.mechanism) == (state, mechanism)
    assert turn.losses == (state == "queued")
    assert kernel.zombies() == [session.id]
    with pytest.raises(StaleFence):
        kernel.finish(session)


@pytest.mark.parametrize(
    ("mechanism", "why"),
    [
        ("lease", "started"),
        ("idle_timeout", "not started"),
        ("lost", "named"),
        ("cancel", "unasked"),
    ],
)
def test_reap_leaves_a_session_alone_that_the_mechanism_does_not_touch(
    mechanism: str, why: str, kernel: Kernel
) -> None:
    session = live(kernel)
    if why == "started":
        kernel.start(session)
    assert not kernel.reap(session, mechanism)


def test_reap_of_a_session_without_a_ceiling_never_ends_it_by_one(kernel: Kernel) -> None:
    workspaces.change(kernel.platform, kernel.id, {"ceiling_s": 0})
    session = live(kernel)
    assert not kernel.reap(session, "ceiling", 0)


def test_reap_by_two_reapers_acts_once(kernel: Kernel) -> None:
    session = live(kernel)
    assert kernel.reap(session, "ceiling")
    before = kernel.dump()
    assert not kernel.reap(session, "ceiling")
    assert kernel.dump() == before


def test_reap_with_the_fence_of_an_older_session_ends_nothing(kernel: Kernel) -> None:
    first = live(kernel)
    kernel.release(first)
    now = kernel.claimed().session
    assert not kernel.reap(first, "operator")
    assert kernel.session(now.id).ended_at is None


def test_reap_of_an_idle_session_spares_one_that_spoke_meanwhile(
    kernel: Kernel, pass_ms: Pass
) -> None:
    session = live(kernel)
    kernel.start(session)
    pass_ms(30)
    kernel.progress(session, "keepalive")
    assert not kernel.reap(session, "idle_timeout", 30)


def test_reap_of_a_lease_holds_the_workspace_back_for_the_pause(
    kernel: Kernel, pass_ms: Pass
) -> None:
    session = live(kernel)
    sessions.deliver(kernel.platform, kernel.id, session.id, session.fence)
    kernel.submit()
    assert kernel.reap(session, "lease")
    assert kernel.turn(session.turn_id).losses == 1
    assert kernel.refused() == "backing_off"
    assert kernel.zombies() == [], "it never started"
    pass_ms(PAUSE_MS + 1)
    assert kernel.claimed().turn.id == session.turn_id


@pytest.mark.parametrize("mechanism", ["lease", "handover"])
def test_reap_of_a_session_that_nobody_took_uses_no_attempt_up(
    mechanism: str, kernel: Kernel
) -> None:
    session = live(kernel)
    kernel.submit()
    assert kernel.reap(session, mechanism)
    assert kernel.turn(session.turn_id).losses == 0
    assert kernel.claimed().turn.id == session.turn_id, "at once, and in its place"


def test_reap_by_handover_spares_a_session_that_was_bound(kernel: Kernel) -> None:
    session = live(kernel)
    kernel.platform.run(
        "bind", kernel.id, session_id=session.id, fence=session.fence,
        bound='{"prompt":"x"}', inbox=True, facts='{"digest":"d"}', limits="[]",
    )  # fmt: skip
    assert not kernel.reap(session, "handover")


def test_reap_frees_the_slot_and_rings(kernel: Kernel) -> None:
    session = live(kernel)
    kernel.submit()
    kernel.platform.clients.control.delete(keys.READY)
    kernel.reap(session, "ceiling")
    assert kernel.platform.clients.control.zcard(keys.READY) == 1
    kernel.claimed()


def test_reap_of_a_session_the_operator_ends_before_its_start_is_final(kernel: Kernel) -> None:
    session = live(kernel)
    assert kernel.reap(session, "operator")
    assert kernel.turn(session.turn_id).state == "force_idled"
    assert kernel.zombies() == []
    invariants.check_empty(kernel)


def test_stall_is_told_once_until_the_work_advances_again(kernel: Kernel, pass_ms: Pass) -> None:
    def stall(fence: int, limit_ms: int = 20) -> str:
        facts = {"limit_ms": limit_ms, "setting": "a_setting"}
        return str(kernel.run("stall", session_id=session.id, fence=fence, **facts)[0])

    session = live(kernel)
    pass_ms(21)
    assert stall(session.fence) == "moving", "it has not begun"
    kernel.start(session)
    assert stall(session.fence, 5000) == "moving"
    pass_ms(21)
    kernel.progress(session, "keepalive")
    assert stall(session.fence - 1) == "moving", "of another fence"
    assert [stall(session.fence), stall(session.fence)] == ["stalled", "moving"]
    (told,) = kernel.events("TURN_STALLED")
    assert (told["mechanism"], told["payload"]["limit_ms"]) == ("stall", 20)
    assert told["payload"]["measured_ms"] >= 20
    assert kernel.turn(session.turn_id).state == "running", "not ended"
    kernel.progress(session)
    assert kernel.session(session.id).stalled_at is None
    kernel.finish(session)
    assert stall(session.fence) == "moving"
