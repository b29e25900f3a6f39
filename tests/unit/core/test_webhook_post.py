"""The decisions of a delivery: schedule, verdict, signature; and what a Task looks like."""

import json

import pytest
import standardwebhooks

from app.core import tasks, webhooks
from app.core.records import Turn
from app.core.webhook_post import Answer, Request, Retries, judge, signed

DEFAULT = Retries(first_s=5, max_s=86_400, attempts=16)
FAILED = Answer(500, 1, "refused", "the receiver answered 500")


def test_pauses_double_from_five_seconds_to_a_day() -> None:
    middle = [DEFAULT.delay_s(attempt, 0.5) for attempt in range(1, 17)]
    assert middle[:4] == [5, 10, 20, 40]
    assert middle[-1] == 86_400
    assert DEFAULT.delay_s(10_000, 1.0) == 86_400
    assert 1.5 < sum(middle[:15]) / 86_400 < 2.5, "about two days in all"


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_jitter_is_a_quarter_more_or_less(chance: float) -> None:
    assert 0.75 * 40 <= DEFAULT.delay_s(4, chance) <= 1.25 * 40


def test_2xx_is_taken_410_disables_all_else_is_tried_again() -> None:
    assert judge(Answer(204, 1), 1, False, DEFAULT, 0.5).outcome == "acked"
    gone = judge(Answer(410, 1), 1, True, DEFAULT, 0.5)
    assert (gone.outcome, bool(gone.disable)) == ("disabled", True)
    for status in (301, 400, 404, 500, None):
        assert judge(Answer(status, 1, "c", "e"), 1, False, DEFAULT, 0.5).outcome == "retry"


def test_the_last_attempt_gives_up_the_event_or_its_receiver() -> None:
    assert judge(FAILED, 15, False, DEFAULT, 0.5).outcome == "retry"
    assert judge(FAILED, 16, True, DEFAULT, 0.5).outcome == "dead"
    last = judge(FAILED, 16, False, DEFAULT, 0.5)
    assert (last.outcome, last.disable) == (
        "disabled",
        "16 attempts failed: the receiver answered 500",
    )


def test_a_receiver_that_names_a_time_is_given_it() -> None:
    busy = Answer(503, 1, "refused", "busy", retry_after_s=600)
    assert judge(busy, 1, False, DEFAULT, 0.5).delay_s == 600
    other = Answer(500, 1, "refused", "no", retry_after_s=600)
    assert judge(other, 1, False, DEFAULT, 0.5).delay_s == 5


def test_a_signature_verifies_and_any_change_breaks_it() -> None:
    import time

    secret, now_ms = webhooks.new_secret(), round(time.time() * 1000)
    content, headers = signed(Request("http://h", "msg_1", {"a": "ü"}, [secret]), now_ms)
    verifier = standardwebhooks.Webhook(secret)
    assert verifier.verify(content, headers) == {"a": "ü"}
    for name, value in (("webhook-id", "msg_2"), ("webhook-timestamp", str(now_ms // 1000 + 1))):
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            verifier.verify(content, {**headers, name: value})
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verifier.verify(content + b" ", headers)


def turn(state: str) -> Turn:
    fields = {"id": "trn_1", "state": state, "lane": "chat", "origin": "chat", "seq": 1}
    more = {"entry": "1-0", "accepted_at": 1, "state_at": 1_800_000_000_000, "attempt": 1}
    return Turn.parse(json.dumps({**fields, **more, "losses": 0, "max_wait_ms": 1}))


def test_a_task_in_both_protocols() -> None:
    old = tasks.task_json(turn("completed"), None, {"text": "hi"}, "0.3")
    assert (old["kind"], old["status"]["state"]) == ("task", "completed")
    assert old["artifacts"][0]["parts"] == [{"kind": "text", "text": "hi"}]
    assert tasks.push_json(old, "0.3") == old
    new = tasks.task_json(turn("input_required"), None, {"text": "which?"}, "1.0")
    assert "kind" not in new
    assert new["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert new["status"]["message"]["role"] == "ROLE_AGENT"
    assert tasks.push_json(new, "1.0") == {"task": new}
    failed = tasks.task_json(turn("dead"), None, {"error": {"message": "lost"}}, "0.3")
    assert failed["status"]["state"] == "failed"
