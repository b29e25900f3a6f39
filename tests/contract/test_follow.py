"""follow.lua: the answer to a question of a turn queues the same turn, with its context, once."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app.core import keys, push
from app.core.errors import (
    IdempotencyConflict,
    IllegalTransition,
    PushConfigNotFound,
    TooManyPushConfigs,
)
from app.core.turns import read_parts
from tests.contract.conftest import Pass
from tests.contract.refusals import asking, live
from tests.support.kernel import Kernel


def body_of(kernel: Kernel, turn_id: str) -> Any:
    return read_parts(kernel.platform, kernel.id, turn_id)[0]


def test_follow_continues_a_turn_whose_question_freed_the_slot(kernel: Kernel) -> None:
    turn_id = asking(kernel)
    assert kernel.data.zcard(kernel.keys["live"]) == 0, "nobody holds a slot while it is asked"
    other = kernel.submit()
    answer = kernel.follow(turn_id, "the blue one")
    assert (answer.outcome, answer.turn_id, answer.depth) == ("accepted", turn_id, 2)
    claim = kernel.claimed()
    assert (claim.turn.id, claim.turn.attempt) == (turn_id, 2), "it goes before newer ones"
    assert claim.body["text"].startswith("the blue one\n")
    assert json.dumps({"role": "agent", "text": "which?"}) in claim.body["text"]
    assert [entry["role"] for entry in claim.body["history"]] == ["user", "agent", "user"]
    kernel.finish(claim.session)
    assert kernel.claimed().turn.id == other.turn_id


def test_only_a_turn_that_waits_for_input_is_continued(kernel: Kernel) -> None:
    waiting = kernel.submit().turn_id
    with pytest.raises(IllegalTransition) as refusal:
        kernel.follow(waiting)
    assert refusal.value.fields["state"] == "queued"
    session = kernel.claimed().session
    kernel.finish(session)
    before = kernel.dump()
    with pytest.raises(IllegalTransition):
        kernel.follow(session.turn_id)
    assert kernel.dump() == before


def test_of_two_answers_at_once_one_counts(kernel: Kernel) -> None:
    turn_id = asking(kernel)
    kernel.follow(turn_id, "yes")
    with pytest.raises(IllegalTransition):
        kernel.follow(turn_id, "no")
    assert body_of(kernel, turn_id)["text"].startswith("yes\n")


def test_the_same_answer_sent_again_while_it_waits_or_runs_is_one(kernel: Kernel) -> None:
    turn_id = asking(kernel)
    kernel.follow(turn_id, "yes", principal="p")
    before = kernel.dump()
    assert kernel.follow(turn_id, "yes", principal="p").outcome == "coalesced"
    assert kernel.dump() == before
    with pytest.raises(IllegalTransition):
        kernel.follow(turn_id, "yes", principal="another")


def test_a_repeated_call_is_answered_as_before_however_far_the_turn_has_come(
    kernel: Kernel,
) -> None:
    turn_id = asking(kernel)
    kernel.follow(turn_id, "yes", idempotency_key="k")
    kernel.finish(kernel.claimed().session, "input_required", text="and?")
    before = kernel.dump()
    assert kernel.follow(turn_id, "yes", idempotency_key="k").outcome == "replayed"
    assert kernel.dump() == before
    assert kernel.follow(turn_id, "yes").outcome == "accepted", "another call is another answer"


def test_a_named_answer_counts_once_however_many_came_after_it(kernel: Kernel) -> None:
    turn_id = asking(kernel)
    for name in ("k1", "k2"):
        kernel.follow(turn_id, "yes", idempotency_key=name)
        kernel.finish(kernel.claimed().session, "input_required", text="and?")
    before = kernel.dump()
    assert kernel.follow(turn_id, "yes", idempotency_key="k1").outcome == "replayed"
    with pytest.raises(IdempotencyConflict):
        kernel.follow(turn_id, "no", idempotency_key="k1")
    assert kernel.dump() == before


def test_answers_bring_no_more_push_configurations_than_a_turn_may_have(kernel: Kernel) -> None:
    small = kernel.tuned(push_configs_max=1)
    turn_id = asking(small)
    small.put_push(turn_id, "i")
    another = push.made("", "https://a.example/", "1.0", config_id="j")
    with pytest.raises(TooManyPushConfigs):
        small.follow(turn_id, push=another)
    assert small.turn(turn_id).state == "input_required"
    assert small.follow(turn_id, push=replace(another, id="i")).outcome == "accepted"


def test_an_answer_to_the_question_before_is_not_written_over_the_newer_one(
    kernel: Kernel,
) -> None:
    turn_id = asking(kernel)
    kernel.follow(turn_id, "first")
    kernel.finish(kernel.claimed().session, "input_required", text="second?")
    before = kernel.dump()
    assert kernel.follow_alone(turn_id, call="late") == ["moved"]
    assert kernel.dump() == before


def test_an_answered_turn_waits_from_now_on(kernel: Kernel, pass_ms: Pass) -> None:
    turn_id = kernel.submit(expires_in_s=0.05).turn_id
    kernel.finish(kernel.claimed().session, "input_required", text="which?")
    pass_ms(100)
    kernel.follow(turn_id)
    turn = kernel.turn(turn_id)
    assert turn.expires_at is None
    assert turn.accepted_at == turn.state_at
    assert kernel.claimed().turn.id == turn_id


def test_the_old_answer_goes_and_what_was_made_stays(kernel: Kernel) -> None:
    session = live(kernel)
    made = {"artifactId": "a", "parts": [{"text": "draft"}]}
    kernel.run(
        "finish",
        session_id=session.id,
        fence=session.fence,
        outcome="input_required",
        result=json.dumps({"text": "good?", "artifacts": [made]}),
        text="good?",
        note="",
        limits="[]",
        rings=True,
    )
    kernel.follow(session.turn_id, "yes")
    body, result = read_parts(kernel.platform, kernel.id, session.turn_id)
    assert result is None
    assert body["artifacts"] == [made]


def test_what_was_said_is_bounded_and_the_bound_is_told(kernel: Kernel) -> None:
    small = kernel.tuned(history_max_bytes=1024)
    turn_id = asking(small)
    for number in range(4):
        small.follow(turn_id, f"{number} " + "x" * 300)
        small.finish(small.claimed().session, "input_required", text="more?")
    small.follow(turn_id, "last")
    kept = body_of(small, turn_id)["history"]
    assert kept[-1]["message"]["parts"][0]["text"] == "last"
    assert sum(len(json.dumps(entry)) for entry in kept) <= 1024
    hit = small.events("LIMIT_HIT")[-1]
    assert (hit["mechanism"], hit["turn_id"]) == ("history_max", turn_id)
    assert hit["payload"]["setting"] == "TURNKEEPER_HISTORY_MAX_BYTES"
    assert hit["payload"]["measured_bytes"] > hit["payload"]["limit_bytes"] == 1024


def test_push_put_keeps_and_replaces_a_configuration_also_when_the_turn_has_ended(
    kernel: Kernel,
) -> None:
    turn_id = kernel.submit(push=push.made("", "https://a.example/", "0.3", config_id="i")).turn_id
    kernel.finish(kernel.claimed().session)
    here = (kernel.platform, kernel.id)
    kernel.put_push(turn_id, "j")
    found = push.of_turn(*here, kernel.turn(turn_id))
    assert [(one.id, one.task_id, one.protocol) for one in found] == [
        ("i", turn_id, "0.3"),
        ("j", turn_id, "1.0"),
    ]
    kernel.put_push(turn_id, "i")
    assert push.get(*here, turn_id, "i").url == "https://example.com/hook"


def test_push_remove_takes_one_away_once(kernel: Kernel) -> None:
    turn_id = kernel.submit().turn_id
    here = (kernel.platform, kernel.id)
    for config_id in "ij":
        kernel.put_push(turn_id, config_id)
    assert push.remove(*here, turn_id, "i")
    assert not push.remove(*here, turn_id, "i"), "a repeat changes nothing"
    with pytest.raises(PushConfigNotFound):
        push.get(*here, turn_id, "i")
    assert [one.id for one in push.of_turn(*here, kernel.turn(turn_id))] == ["j"]


def test_push_configurations_go_with_their_turn(kernel: Kernel) -> None:
    small = kernel.tuned(turns_kept=1)
    first = small.submit().turn_id
    small.put_push(first)
    for _ in range(3):
        small.submit()
    for _ in range(4):
        small.finish(small.claimed().session)
    assert not kernel.data.hgetall(keys.of(kernel.id)["push"])
    assert first not in kernel.data.zrange(keys.of(kernel.id)["changed"], 0, -1)
