"""Every refusal: raised as its exception, and nothing but the log is written with it."""

import pytest

from app.core import scripts
from app.core.errors import StaleFence
from app.core.records import Session
from tests.contract.refusals import HELD, RECIPES, live
from tests.support.kernel import Kernel

FENCE = "session.fence == number(A.fence) and not session.ended_at"


@pytest.mark.parametrize(("name", "code"), sorted(RECIPES), ids="-".join)
def test_a_refusal_is_raised_as_its_exception(name: str, code: str, bare: Kernel) -> None:
    with pytest.raises(scripts.REFUSALS[code]):
        RECIPES[name, code](bare)


def force_idled(kernel: Kernel) -> Session:
    session = live(kernel)
    kernel.bind(session)
    kernel.start(session)
    assert kernel.reap(session, "ceiling")
    return session


def check_fenced(kernel: Kernel, name: str, session: Session) -> None:
    before = {
        key: rows
        for key, rows in kernel.dump().items()
        if not key.endswith((":events", ":stats", ":refusals"))
    }
    with pytest.raises(StaleFence) as refusal:
        HELD[name](kernel, session)
    after = {
        key: rows
        for key, rows in kernel.dump().items()
        if not key.endswith((":events", ":stats", ":refusals"))
    }
    assert after == before, "a refused write wrote"
    assert refusal.value.fields["ended_by"] == "ceiling"
    last = kernel.events()[-1]
    assert (last["event"], last["mechanism"]) == ("WRITE_FENCED", "fence")
    assert last["payload"]["writing"].split()[0] in (name, "checkpoint")
    assert last["payload"]["given_fence"] == session.fence


@pytest.mark.parametrize("name", HELD)
def test_no_write_of_a_session_that_the_platform_ended_is_taken(name: str, kernel: Kernel) -> None:
    check_fenced(kernel, name, force_idled(kernel))


@pytest.mark.parametrize("name", HELD)
def test_control_without_the_fence_check_the_write_is_taken(name: str, bare: Kernel) -> None:
    session = force_idled(bare)
    with pytest.raises(
        (pytest.fail.Exception, AssertionError, scripts.REFUSALS["illegal_transition"])
    ):
        check_fenced(bare.altered(name, FENCE, "true"), name, session)


def test_finish_of_a_stale_fence_keeps_the_text_and_the_note_in_the_log(kernel: Kernel) -> None:
    session = force_idled(kernel)
    with pytest.raises(StaleFence):
        kernel.finish(session, text="six hours of work", note={"summary": "half done"})
    assert kernel.events("WRITE_FENCED")[-1]["payload"]["text"] == "six hours of work"
    assert "half done" in kernel.events("WRITE_FENCED")[-1]["payload"]["note"]
    assert kernel.turn(session.turn_id).state == "force_idled"
    assert not kernel.events("AGENT_MESSAGE")


def test_finish_by_the_next_session_is_taken_while_the_lost_one_is_refused(kernel: Kernel) -> None:
    lost = live(kernel)
    assert kernel.release(lost) == "queued"
    now = kernel.claimed().session
    assert now.fence > lost.fence
    assert now.turn_id == lost.turn_id
    with pytest.raises(StaleFence):
        kernel.finish(lost)
    assert kernel.finish(now) == "completed"
