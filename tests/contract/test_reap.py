"""reap.lua: the platform ends a session, by a clock that is read again in the script."""

import pytest

from app.core import keys, workspaces
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
    kernel.submit()
    assert kernel.reap(session, "lease")
    assert kernel.refused() == "backing_off"
    assert kernel.zombies() == [], "it never started"
    pass_ms(PAUSE_MS + 1)
    assert kernel.claimed().turn.id == session.turn_id


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
