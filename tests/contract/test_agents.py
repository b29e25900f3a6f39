"""Agents behind URLs: which adapter a session gets, who holds it, what a refusal costs."""

import pytest

from app.core import agents, keys, why, workspaces
from app.core.agents import Gone, Held, Later
from app.core.records import Session
from tests.contract.conftest import Pass
from tests.contract.refusals import live, name_remote
from tests.support.kernel import Kernel

URL = "http://127.0.0.1:1/agent"


@pytest.mark.parametrize(
    ("fields", "instance", "chosen"),
    [
        ({}, "", None),
        ({"agent_url": URL}, "", "a2a"),
        ({"agent_url": URL}, "probe", "a2a"),
        ({"agent_url": URL}, "a-runtime", None),
        ({"agent_url": URL, "adapter": "a2a"}, "a-runtime", "a2a"),
        ({"agent_url": URL, "adapter": "runtime"}, "", None),
        ({"adapter": "a2a"}, "", None),
    ],
)
def test_the_claim_chooses_the_adapter_by_url_setting_and_who_beats(
    kernel: Kernel, fields: dict[str, str], instance: str, chosen: str | None
) -> None:
    if fields:
        workspaces.change(kernel.platform, kernel.id, fields)
    kernel.beat(instance=instance)
    kernel.submit()
    assert kernel.claimed().session.adapter == chosen
    found = shown_of(kernel)
    assert agents.adapter_of(*found) == (chosen or "runtime"), "what is shown is what is done"


def shown_of(kernel: Kernel) -> tuple[dict[str, str], dict[str, str]]:
    stored = kernel.data.hgetall(kernel.keys["workspace"])
    return stored, kernel.data.hgetall(kernel.keys["capacity"])


def hold(
    kernel: Kernel, session: Session, token: str, lease_s: float = 5, sends: bool = False
) -> object:
    return agents.hold(kernel.platform, kernel.id, session.id, token, lease_s, sends)


def test_agent_hold_is_one_workers_until_its_lease_ends(kernel: Kernel, pass_ms: Pass) -> None:
    session = live(kernel)
    assert isinstance(hold(kernel, session, "a", 0.05), Held)
    assert isinstance(hold(kernel, session, "b"), Later)
    assert isinstance(hold(kernel, session, "a", 0.05), Held), "held on"
    pass_ms(60)
    assert isinstance(hold(kernel, session, "b"), Held), "its worker died"
    assert isinstance(hold(kernel, session, "a"), Later)
    assert isinstance(hold(kernel, session, "b", 0), Held)
    assert isinstance(hold(kernel, session, "a"), Held), "put down"


def test_agent_hold_marks_a_session_sent_once_and_a_repeat_by_the_same_worker_is_no_second(
    kernel: Kernel,
) -> None:
    session = live(kernel)
    for _ in range(2):  # the reply of the first may have been lost
        told = hold(kernel, session, "a", sends=True)
        assert isinstance(told, Held) and not told.was_sent
    hold(kernel, session, "a", 0)
    told = hold(kernel, session, "b", sends=True)
    assert isinstance(told, Held) and told.was_sent


def test_agent_hold_of_an_ended_session_says_gone(kernel: Kernel) -> None:
    session = live(kernel)
    kernel.finish(session)
    told = hold(kernel, session, "a")
    assert isinstance(told, Gone) and told.session and told.session.ended_at


def test_agent_hold_keeps_the_digest_that_came_with_the_mark(kernel: Kernel) -> None:
    session = live(kernel)
    agents.hold(kernel.platform, kernel.id, session.id, "a", 5, False, "early")
    assert kernel.session(session.id).push_digest is None
    for digest in ("first", "second", ""):  # only the first went out with the message
        agents.hold(kernel.platform, kernel.id, session.id, "a", 5, True, digest)
        assert kernel.session(session.id).push_digest == "first"


def test_agent_push_counts_while_the_session_lives(kernel: Kernel) -> None:
    session = live(kernel)
    agents.hold(kernel.platform, kernel.id, session.id, "a", 5, True, "digest")
    for count in (1, 2):
        assert kernel.run("agent_push", session_id=session.id) == ["ok", count]
        assert kernel.session(session.id).pushes == count
    before = kernel.session(session.id)
    assert isinstance(hold(kernel, session, "a"), Held)
    assert kernel.session(session.id).pushes == before.pushes
    kernel.finish(session)
    assert kernel.run("agent_push", session_id=session.id) == ["gone"]
    assert kernel.run("agent_push", session_id="ses_unknown") == ["gone"]
    assert kernel.session(session.id).pushes == 2


def decline(kernel: Kernel, session: Session, mechanism: str = "busy", after_s: float = 0) -> str:
    here = (kernel.platform, kernel.id, session.id, session.fence)
    return agents.decline(*here, mechanism, "as told", after_s)


def test_decline_uses_no_attempt_keeps_the_place_and_holds_the_workspace(
    kernel: Kernel, pass_ms: Pass
) -> None:
    session = live(kernel)
    second = kernel.submit("two").turn_id
    assert decline(kernel, session) == "queued"
    assert decline(kernel, session) == "queued", "a repeat changes nothing"
    turn = kernel.turn(session.turn_id)
    assert (turn.losses, turn.declines, turn.mechanism) == (0, 1, "busy")
    assert kernel.refused() == "backing_off", "nor does the next turn go to a busy agent"
    assert why.explain(kernel.platform, kernel.id).code == "backing_off"
    pass_ms(int(turn.not_before or 0) - kernel.now_ms() + 1)
    assert kernel.claimed().turn.id == session.turn_id
    assert kernel.turn(second).state == "queued"


def test_decline_is_not_shorter_than_the_agent_said(kernel: Kernel) -> None:
    session = live(kernel)
    decline(kernel, session, "rate_limited", 7.5)
    turn = kernel.turn(session.turn_id)
    assert int(turn.not_before or 0) - turn.state_at == 7500
    assert why.explain(kernel.platform, kernel.id).code == "rate_limited"


def test_decline_of_a_turn_that_nobody_wants_any_more_is_canceled(kernel: Kernel) -> None:
    session = live(kernel)
    kernel.bind(session)
    kernel.start(session)
    kernel.cancel(session.turn_id)
    assert decline(kernel, session) == "canceled"


def test_a_count_takes_off_what_was_sent_before_it_was_answered(
    kernel: Kernel, pass_ms: Pass
) -> None:
    session = live(kernel)
    hold(kernel, session, "a", sends=True)
    pass_ms(2)
    kernel.beat(active_tasks=1)
    assert kernel.data.hget(kernel.keys["capacity"], "foreign") == "0"


def test_control_an_unsent_session_is_not_taken_off(kernel: Kernel, pass_ms: Pass) -> None:
    live(kernel)
    pass_ms(2)
    kernel.beat(active_tasks=1)
    assert kernel.data.hget(kernel.keys["capacity"], "foreign") == "1"


def test_agents_due_takes_once_and_what_was_taken_comes_back(kernel: Kernel, pass_ms: Pass) -> None:
    agents.watch(kernel.platform, "w9", 0)
    assert "w9" in agents.due(kernel.platform, 10, 0.05)
    assert "w9" not in agents.due(kernel.platform, 10, 0.05)
    pass_ms(60)
    assert "w9" in agents.due(kernel.platform, 10, 0.05)


def test_agent_watch_lets_an_earlier_look_stand_and_wakes_who_waits(
    kernel: Kernel, pass_ms: Pass
) -> None:
    agents.watch(kernel.platform, "w9", 0.05)
    agents.watch(kernel.platform, "w9", 5)
    assert not kernel.data.exists(keys.AGENTS_WAKE)
    pass_ms(60)
    assert "w9" in agents.due(kernel.platform, 10, 5), "the earlier look stands"
    agents.watch(kernel.platform, "w9", 0)
    assert agents.wait(kernel.platform, 0.1) == "w9"
    assert agents.wait(kernel.platform, 0.01) == ""
    assert "w9" in agents.due(kernel.platform, 10, 5)


def test_deliver_names_the_remote_task_of_a_session_that_has_begun(kernel: Kernel) -> None:
    session = live(kernel)
    kernel.start(session)
    for _ in range(2):
        assert name_remote(kernel, session, "r") == ["replayed"]
    assert kernel.session(session.id).remote == "r"
    assert kernel.session(session.id).remote_context == "c"
    assert kernel.finish(session, "input_required") == "input_required"
    assert kernel.turn(session.turn_id).remote == {"task": "r", "context": "c"}
