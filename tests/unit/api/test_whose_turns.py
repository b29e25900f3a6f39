"""Whose turns are whose: a caller is its token's principal, through rotations and logins."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.api.web import Web, fake_clients, web

A2A = "/workspaces/w1/a2a"


@pytest.fixture
def site() -> Iterator[Web]:
    with web(fake_clients(), poll_wait_max_s=0.001) as made:
        made.workspace("w1")
        yield made


def message(name: str = "m1", **more: Any) -> dict[str, Any]:
    said = {"messageId": name, "role": "ROLE_USER", "parts": [{"text": "my salary is 5"}], **more}
    return {"message": said, "configuration": {"returnImmediately": True}}


def send(site: Web, token: str, *, key: str = "", **more: Any) -> str:
    headers = {"Idempotency-Key": key} if key else {}
    told = site.ok("POST", f"{A2A}/message:send", message(**more), token=token, headers=headers)
    return str(told["task"]["id"])


# ---- Principals


def test_a_message_sent_again_with_the_rotated_token_is_the_same_turn(site: Web) -> None:
    body = {"name": "c", "scopes": ["send"], "workspaces": ["w1"]}
    made = site.ok("POST", "/admin/tokens", body)
    named, repeated = send(site, made["token"], key="k"), send(site, made["token"], name="m2")
    new = site.ok("POST", f"/admin/tokens/{made['id']}/rotate", {"grace_s": 60})["token"]
    assert send(site, new, key="k") == named
    assert send(site, new, name="m2") == repeated
    again = site.ok("POST", f"/admin/tokens/{made['id']}/rotate", {"grace_s": 60})["token"]
    assert send(site, again, key="k") == named, "sent by a second rotation"


def test_an_answer_sent_again_with_the_rotated_token_is_taken_once(site: Web) -> None:
    body = {"name": "c", "scopes": ["send"], "workspaces": ["w1"]}
    made = site.ok("POST", "/admin/tokens", body)
    task_id = send(site, made["token"])
    ask_back(site)
    assert send(site, made["token"], name="m2", key="k", taskId=task_id) == task_id
    new = site.ok("POST", f"/admin/tokens/{made['id']}/rotate", {"grace_s": 60})["token"]
    ask_back(site)
    assert send(site, new, name="m2", key="k", taskId=task_id) == task_id
    assert site.ok("GET", f"/workspaces/w1/turns/{task_id}")["state"] == "input_required"


def ask_back(site: Web) -> None:
    """The agent takes the next turn and asks for input."""
    claim = site.bound("w1")
    path, fence = f"/workspaces/w1/sessions/{claim.session.id}", {"fence": claim.session.fence}
    site.ok("POST", f"{path}/start", fence)
    site.ok("POST", f"{path}/finish", {**fence, "outcome": "input_required", "text": "which?"})


def test_control_two_tokens_are_two_callers(site: Web) -> None:
    first, second = (site.token("send", workspaces=("w1",)) for _ in range(2))
    assert send(site, first, key="k") != send(site, second, key="k")
