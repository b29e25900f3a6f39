"""note, say: what a session says while it runs; and the token that its handover carries."""

import pytest

from app.core import session_tokens
from app.core.errors import StaleFence
from app.core.records import Session
from tests.contract.conftest import PAUSE_MS, Pass
from tests.contract.refusals import live
from tests.support.kernel import Kernel

HALF = {"summary": "half", "next_step": "the rest"}


def of_chat(kernel: Kernel, context_id: str = "c") -> Session:
    kernel.submit(context_id=context_id)
    session = kernel.claimed().session
    kernel.start(session)
    return session


def next_note(kernel: Kernel) -> object:
    """What the next session of the chat is given."""
    kernel.submit(context_id="c")
    return kernel.claimed().note


@pytest.mark.parametrize("mechanism", ["operator", "ceiling", "idle_timeout"])
def test_note_is_kept_however_its_session_ends(kernel: Kernel, mechanism: str) -> None:
    session = of_chat(kernel)
    assert kernel.note(session)
    (told,) = kernel.events("SESSION_CHECKPOINTED")
    assert (told["payload"], told["session_id"]) == ({"note": HALF}, session.id)
    assert kernel.session(session.id).ended_at is None, "a note ends nothing"
    assert kernel.reap(session, mechanism)
    assert "half" in kernel.data.hget(kernel.keys["notes"], "ctx:c")


def test_note_of_a_failed_session_stays_and_of_a_completed_one_goes(kernel: Kernel) -> None:
    session = of_chat(kernel)
    kernel.note(session)
    kernel.finish(session, "failed")
    assert next_note(kernel) == HALF
    (again_id,) = kernel.data.zrange(kernel.keys["live"], 0, -1)
    again = kernel.session(again_id)
    kernel.note(again, "more")
    kernel.finish(again, "completed")
    assert next_note(kernel) is None


def test_note_of_a_turn_without_a_next_is_told_and_not_kept(kernel: Kernel) -> None:
    session = live(kernel)
    assert not kernel.note(session)
    assert kernel.events("SESSION_CHECKPOINTED")[0]["payload"] == {"note": HALF}
    assert kernel.data.hlen(kernel.keys["notes"]) == 0


def test_note_then_an_exit_yields_where_a_checkpoint_was_asked_for_before(kernel: Kernel) -> None:
    session = of_chat(kernel)
    kernel.ask(session, "checkpoint", "operator")
    kernel.note(session)
    assert kernel.finish(session, "completed") == "yielded"
    assert next_note(kernel) == HALF


def test_note_of_before_the_checkpoint_was_asked_for_makes_no_yield(
    kernel: Kernel, pass_ms: Pass
) -> None:
    session = of_chat(kernel)
    kernel.note(session)
    pass_ms(PAUSE_MS)
    kernel.ask(session, "checkpoint", "operator")
    assert kernel.finish(session, "completed") == "completed"


def test_note_of_the_session_goes_before_an_answer_that_is_taken_for_one(kernel: Kernel) -> None:
    session = of_chat(kernel)
    kernel.note(session)
    kernel.finish(session, "yielded", note={"summary": "my last words", "next_step": ""})
    assert next_note(kernel) == HALF


def test_note_with_a_next_step_at_the_finish_is_the_newer_one(kernel: Kernel) -> None:
    session = of_chat(kernel)
    kernel.note(session)
    last = {"summary": "nearly", "next_step": "the end"}
    kernel.finish(session, "yielded", note=last)
    assert next_note(kernel) == last


def test_note_and_say_are_progress(kernel: Kernel, pass_ms: Pass) -> None:
    session = of_chat(kernel)
    for speak in (kernel.note, kernel.say):
        pass_ms(PAUSE_MS)
        before = kernel.session(session.id).progress_at
        speak(session)
        after = kernel.session(session.id)
        assert after.progress_at >= before + PAUSE_MS
        assert after.seen_at == after.progress_at


def test_say_is_a_message_that_ends_no_turn(kernel: Kernel) -> None:
    session = of_chat(kernel)
    kernel.say(session, "half way")
    (told,) = kernel.events("AGENT_MESSAGE")
    wanted = {"text": "half way", "origin": "notify", "context_id": "c"}
    assert (told["payload"], told["turn_id"]) == (wanted, session.turn_id)
    assert kernel.turn(session.turn_id).state == "running"


# The token of a handover.


def handed(kernel: Kernel) -> tuple[Session, str]:
    session = live(kernel)
    kernel.bind(session)
    return session, kernel.taken().token


def is_good(kernel: Kernel, token: str) -> bool:
    return session_tokens.find(kernel.platform, token) is not None


def test_take_hands_out_a_token_that_is_good_until_its_session_ends(kernel: Kernel) -> None:
    session, token = handed(kernel)
    found = session_tokens.find(kernel.platform, token)
    assert found is not None
    assert (found[0], found[1].id, found[1].fence) == (kernel.id, session.id, session.fence)
    kernel.start(session)
    assert is_good(kernel, token)
    kernel.finish(session)
    assert not is_good(kernel, token)
    assert "tokens" not in kernel.data.hget(kernel.keys["sessions"], session.id)


@pytest.mark.parametrize("end", ["operator", "release"])
def test_take_gives_no_token_that_outlives_an_end_by_others(kernel: Kernel, end: str) -> None:
    session, token = handed(kernel)
    kernel.release(session) if end == "release" else kernel.reap(session, end)
    assert not is_good(kernel, token)


def test_take_again_after_a_lost_reply_leaves_the_first_token_good(
    kernel: Kernel, pass_ms: Pass
) -> None:
    _, token = handed(kernel)
    tokens = [token]
    for _ in range(2):
        pass_ms(PAUSE_MS + 1)
        tokens.append(kernel.taken("two").token)
    assert len(set(tokens)) == 3
    assert all(is_good(kernel, one) for one in tokens)


def test_take_keeps_no_secret_and_no_number_of_digests_without_end(bare: Kernel) -> None:
    session = live(bare)
    bare.bind(session)
    tokens = []
    for _ in range(20):
        bare.data.zadd(bare.keys["inbox"], {session.id: 1})
        tokens.append(bare.taken().token)
    assert [is_good(bare, one) for one in tokens] == [False] * 4 + [True] * 16
    stored = str(bare.dump())
    assert not any(one.split(".")[2] in stored for one in tokens)


def test_control_a_session_that_keeps_its_tokens_is_told_by_its_end_all_the_same(
    bare: Kernel,
) -> None:
    """Two locks: the record without tokens, and the end that is looked at."""
    forgetful = bare.altered("finish", "session.turn_state, session.tokens = turn.state, nil", "")
    session, token = handed(forgetful)
    forgetful.finish(session)
    assert not is_good(bare, token)


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: token + "x",
        lambda token: token.replace("tks.", "tkz."),
        lambda token: ".".join([*token.split(".")[:2], "A" * 43, *token.split(".")[3:]]),
        lambda token: "tks.ses_" + "0" * 26 + token[34:],
    ],
)
def test_take_gives_a_token_of_which_nothing_can_be_changed(kernel: Kernel, change: object) -> None:
    _, token = handed(kernel)
    assert is_good(kernel, token)
    assert not is_good(kernel, change(token))  # type: ignore[operator]


def test_say_under_the_token_of_an_ended_session_is_fenced(kernel: Kernel) -> None:
    session, _ = handed(kernel)
    kernel.reap(session, "operator")
    with pytest.raises(StaleFence):
        kernel.say(session, "too late")
    assert kernel.events("WRITE_FENCED")[-1]["payload"]["text"] == "too late"
