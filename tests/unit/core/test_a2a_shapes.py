"""What is pushed of a task: what GetTask shows, without what was said before."""

import json
from typing import Any

import pytest

from app.core.a2a import legacy, shapes
from app.core.records import Turn


def turn(state: str) -> Turn:
    fields = {"id": "trn_1", "state": state, "lane": "chat", "origin": "chat", "seq": 1}
    more = {"entry": "1-0", "accepted_at": 1, "state_at": 1_800_000_000_000, "attempt": 1}
    return Turn.parse(json.dumps({**fields, **more, "losses": 0, "max_wait_ms": 1}))


BODY = {"text": "hi", "artifacts": [{"artifactId": "a", "parts": [{"text": "first"}]}]}
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("completed", {"text": "hi"}, "TASK_STATE_COMPLETED"),
    ("input_required", {"text": "which?"}, "TASK_STATE_INPUT_REQUIRED"),
    ("input_required", {"interrupt": "auth_required"}, "TASK_STATE_AUTH_REQUIRED"),
    ("failed", {"error": {"code": "rejected", "message": "no"}}, "TASK_STATE_REJECTED"),
    ("dead", {"error": {"message": "lost"}}, "TASK_STATE_FAILED"),
]


@pytest.mark.parametrize(("state", "result", "shown"), CASES)
def test_a_push_says_what_get_task_says(state: str, result: dict[str, Any], shown: str) -> None:
    asked = shapes.task(turn(state), BODY, result)
    assert asked.pop("history")
    assert asked["status"]["state"] == shown
    assert [one["artifactId"] for one in asked["artifacts"]][0] == "a"
    assert shapes.pushed(turn(state), BODY, result, "1.0") == {"task": asked}
    assert shapes.pushed(turn(state), BODY, result, "0.3") == legacy.task(asked)
