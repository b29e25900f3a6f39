"""Agents made with the protocol's own library, as they come: each way in which they answer."""

from collections.abc import Callable
from typing import Any

import pytest

from app.core import turns
from tests.integration.agents.conftest import SdkAgent, Site
from tests.support.kernel import Kernel

Start = Callable[..., SdkAgent]


def result(kernel: Kernel, turn_id: str) -> Any:
    return turns.read_parts(kernel.platform, kernel.id, turn_id)[1]


def events(kernel: Kernel) -> list[str]:
    return [row["event"] for row in kernel.events()]


@pytest.mark.parametrize("words", [(), ("no-stream",), ("blocking",), ("old",)])
def test_a_turn_goes_to_the_agent_once_and_its_answer_comes_back(
    site: Site, sdk_agent: Start, words: tuple[str, ...]
) -> None:
    agent = sdk_agent(*words)
    kernel = site.workspace(agent.url)
    site.until(lambda: kernel.field("status") == "online")
    message = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "please work-1.5"}]}
    body = {"text": "please work-1.5", "message": message}
    turn_id = turns.submit(site.platform, "w1", turns.Request(body=body)).turn_id
    ended = site.ended(kernel, turn_id)
    assert ended.state == "completed", kernel.events()[-3:]
    assert result(kernel, turn_id)["text"] == "done: work-1.5"
    assert [row["id"] for row in agent.told()] == ["m-1"]
    order = [name for name in events(kernel) if name in ("TURN_DELIVERED", "SESSION_STARTED")]
    assert order == ["TURN_DELIVERED", "SESSION_STARTED"]
    assert bool(kernel.session(str(ended.session_id)).remote)


def test_a_bare_message_is_the_answer(site: Site, sdk_agent: Start) -> None:
    kernel = site.workspace(sdk_agent().url)
    turn_id = kernel.submit("a message").turn_id
    assert site.ended(kernel, turn_id).state == "completed"
    told = result(kernel, turn_id)
    assert (told["text"], told["answer"]) == ("a bare answer", "message")


def test_a_failure_is_final(site: Site, sdk_agent: Start) -> None:
    kernel = site.workspace(sdk_agent().url)
    turn_id = kernel.submit("fail").turn_id
    assert site.ended(kernel, turn_id).state == "failed"
    assert result(kernel, turn_id)["error"]["code"] == "agent_failed"
    assert result(kernel, turn_id)["text"] == "it broke"


@pytest.mark.parametrize("words", [(), ("old",)])
def test_a_question_is_answered_in_the_same_task(
    site: Site, sdk_agent: Start, words: tuple[str, ...]
) -> None:
    agent = sdk_agent(*words)
    kernel = site.workspace(agent.url)
    turn_id = kernel.submit("ask", context_id="ctx-1").turn_id
    assert site.ended(kernel, turn_id).state == "input_required"
    assert result(kernel, turn_id)["text"] == "which one?"
    first = kernel.session(str(kernel.turn(turn_id).session_id))
    kernel.follow(turn_id, "the-red-one")
    site.until(lambda: kernel.turn(turn_id).state == "completed")
    assert [row["task"] for row in agent.told()] == [first.remote, first.remote]
    assert agent.told()[1]["text"] == "the-red-one"


def test_control_an_agent_that_nobody_talks_to_gets_nothing(site: Site, sdk_agent: Start) -> None:
    agent = sdk_agent()
    kernel = site.workspace(agent.url)
    site.until(lambda: kernel.field("status") == "online")
    service = site.services.pop()
    turn_id = kernel.submit("work-0").turn_id
    site.until(lambda: kernel.turn(turn_id).state == "claimed")
    assert not agent.told()
    site.services.append(service)
    assert site.ended(kernel, turn_id).state == "completed"
