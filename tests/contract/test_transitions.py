"""No script moves a turn where the table of states does not let it."""

from collections.abc import Callable, Iterator

import pytest

from app.core.errors import IllegalTransition
from app.core.records import Session
from app.core.sessions import OUTCOMES
from app.core.states import LIVE, TERMINAL, TRANSITIONS
from tests.contract.refusals import deliver, live, set_state
from tests.support.kernel import Kernel

Move = Callable[[Kernel, Session], object]

MOVES: dict[str, tuple[str, Move]] = {
    "deliver": ("delivered", deliver),
    "take": ("delivered", lambda kernel, _: kernel.take()),
    "start": ("running", lambda kernel, session: kernel.start(session)),
    "progress": ("running", lambda kernel, session: kernel.progress(session)),
    "note": ("running", lambda kernel, session: kernel.note(session)),
    "say": ("running", lambda kernel, session: kernel.say(session)),
    "ask": ("checkpointing", lambda kernel, session: kernel.ask(session, "checkpoint", "operator")),
    "release": ("queued", lambda kernel, session: kernel.release(session)),
    "spent": (
        "dead",
        lambda kernel, session: kernel.tuned(max_attempts=1).release(session, counts=True),
    ),
    "ceiling": ("force_idled", lambda kernel, session: kernel.reap(session, "ceiling")),
    "operator": ("force_idled", lambda kernel, session: kernel.reap(session, "operator")),
    "lease": ("queued", lambda kernel, session: kernel.reap(session, "lease")),
    **{
        f"finish {outcome}": (
            outcome,
            lambda kernel, session, outcome=outcome: kernel.finish(session, outcome),  # type: ignore[misc]
        )
        for outcome in OUTCOMES
    },
}
ANY_MOVE = "if not allows(turn.state, to) then return false end"


def pairs() -> Iterator[tuple[str, str]]:
    for name, (target, _) in MOVES.items():
        yield from ((name, state) for state in TRANSITIONS if not allowed(name, state, target))


def allowed(name: str, state: str, target: str) -> bool:
    after = TRANSITIONS[state]
    by_beginning = name.startswith("finish") and "running" in after
    return target in after or (by_beginning and target in TRANSITIONS["running"])


def check_refuses(kernel: Kernel, broken: Kernel, name: str, state: str) -> None:
    session = live(kernel)
    kernel.bind(session)
    set_state(kernel, session.turn_id, state)
    try:
        MOVES[name][1](broken, session)
    except IllegalTransition as refusal:
        assert refusal.fields["state"] == state
    found = kernel.turn(session.turn_id).state
    assert found == state, f"{name} moved a turn that was {state} to {found}"


@pytest.mark.parametrize(("name", "state"), list(pairs()), ids="-".join)
def test_no_script_moves_a_turn_against_the_table(name: str, state: str, bare: Kernel) -> None:
    check_refuses(bare, bare, name, state)


SCRIPTS = {"spent": "release", "ceiling": "reap", "operator": "reap", "lease": "reap"}


@pytest.mark.parametrize("name", [name for name in MOVES if name not in ("release", "lease")])
def test_control_a_script_that_ignores_the_table_is_found(name: str, bare: Kernel) -> None:
    script = SCRIPTS.get(name, name.split()[0])
    lawless = bare.altered(script, ANY_MOVE, "")
    if name == "spent":
        lawless = lawless.tuned(max_attempts=1)
    with pytest.raises(AssertionError, match="moved a turn"):
        check_refuses(bare, lawless, name, "expired")


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_cancel_moves_no_ended_turn(state: str, bare: Kernel) -> None:
    session = live(bare)
    set_state(bare, session.turn_id, state)
    assert bare.cancel(session.turn_id) == state


@pytest.mark.parametrize("state", sorted(set(TRANSITIONS) - {"queued"}))
def test_claim_opens_no_session_for_a_turn_that_does_not_wait(state: str, bare: Kernel) -> None:
    turn_id = bare.submit().turn_id
    set_state(bare, turn_id, state)
    with pytest.raises(IllegalTransition):
        bare.claim()
    assert bare.turn(turn_id).state == state
    assert bare.data.zcard(bare.keys["live"]) == 0
    assert bare.field("epoch") is None


@pytest.mark.parametrize("outcome", sorted(set(TRANSITIONS) - set(OUTCOMES)))
def test_finish_takes_no_outcome_that_is_not_the_agents_to_say(
    outcome: str, kernel: Kernel
) -> None:
    """The table lets a running turn be queued or dead; a finish would put it in no lane."""
    session = live(kernel)
    with pytest.raises(IllegalTransition):
        kernel.finish(session, outcome)
    assert kernel.turn(session.turn_id).state in LIVE
