"""What a runtime is told of its sessions and of no other's, and what its finish tells us."""

import pytest

from app.core import handing, sessions
from app.core.records import Session
from tests.contract.refusals import live
from tests.support.kernel import Kernel


def bound(kernel: Kernel) -> Session:
    session = live(kernel)
    kernel.bind(session)
    return session


def test_take_tells_a_runtime_nothing_of_what_another_one_runs(kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.taken("one")
    kernel.start(session, "one")
    kernel.ask(session, "checkpoint", "operator")
    assert kernel.take("two", room=0).directives == []
    assert [told["type"] for told in kernel.take("one", room=0).directives] == ["checkpoint"]
    assert kernel.reap(session, "operator")
    assert kernel.take("two", room=0).directives == []
    assert [told["type"] for told in kernel.take("one", room=0).directives] == ["terminate"]


def test_finish_tells_each_limit_that_acted_while_the_agent_worked(kernel: Kernel) -> None:
    session = bound(kernel)
    kernel.start(session)
    cut = {"mechanism": "output_tail", "limit_bytes": 10, "setting": "S", "measured_bytes": 11}
    hits = [cut, {"mechanism": "cancel", "left": []}, {"no": "name"}, *[cut] * 30]
    here = (kernel.platform, kernel.id, session.id, session.fence)
    sessions.finish(*here, "completed", {"text": "x", "limits": hits})
    told = kernel.events("LIMIT_HIT")
    assert len(told) == handing.LIMITS_TOLD
    assert (told[0]["mechanism"], told[0]["payload"]) == ("output_tail", cut)
    assert told[0]["session_id"] == session.id


@pytest.mark.parametrize(
    ("mechanism", "note", "state", "reason"),
    [
        ("ceiling", None, "force_idled", "ceiling"),
        ("ceiling", {"summary": "s"}, "yielded", "ceiling"),
        ("cancel", None, "canceled", "finish"),
    ],
)
def test_finish_as_canceled_is_put_down_to_the_ceiling_where_that_asked_for_it(
    mechanism: str, note: dict[str, str] | None, state: str, reason: str, kernel: Kernel
) -> None:
    """A child that a signal ends ten seconds before its ceiling was not canceled by anybody."""
    session = bound(kernel)
    kernel.start(session)
    kernel.ask(session, "cancel", mechanism)
    assert kernel.finish(session, "canceled", note=note) == state
    assert kernel.finish(session, "canceled", note=note) == state, "a repeat"
    turn = kernel.turn(session.turn_id)
    assert (turn.state, turn.mechanism) == (state, reason)
    (ended,) = kernel.events("SESSION_ENDED")
    assert ended["mechanism"] == "finish", "the agent's side ended it: nothing is left to kill"
    if mechanism == "ceiling":
        told = ended["payload"]
        assert (told["asked_by"], told["setting"]) == ("ceiling", "TURNKEEPER_CEILING_S")
        assert told["limit_ms"] == session.ceiling_ms
        assert told["measured_ms"] >= 0
    assert kernel.zombies() == []
