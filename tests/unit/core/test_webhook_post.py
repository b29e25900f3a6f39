"""The decisions of a delivery: schedule, verdict, signature."""

import pytest
import standardwebhooks

from app.core import webhooks
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
