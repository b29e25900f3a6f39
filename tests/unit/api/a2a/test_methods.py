"""A2A 1.0 and 0.3 over one address: what each method does, and which error each misuse gets."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.core import turns
from tests.unit.api.a2a.calls import (
    BASE,
    JSON,
    act,
    call,
    code,
    message,
    old_message,
    result,
    send,
)
from tests.unit.api.web import Web, fake_clients, web


@pytest.fixture
def site() -> Iterator[Web]:
    with web(fake_clients()) as made:
        made.workspace("w1")
        yield made


def test_a_message_of_each_version_is_queued_and_shown_in_its_form(site: Web) -> None:
    new = result(site, "SendMessage", {"message": message(name="m1")})["task"]
    assert new["status"]["state"] == "TASK_STATE_SUBMITTED"
    assert new["metadata"]["turnkeeper"]["queue_depth"] == 1
    old = result(site, "message/send", {"message": old_message(name="m2")}, **{"A2A-Version": ""})
    assert (old["kind"], old["status"]["state"]) == ("task", "submitted")
    across = result(site, "tasks/get", {"id": new["id"]})
    assert across["history"][0]["parts"] == [{"kind": "text", "text": "hi"}]
    back = result(site, "GetTask", {"id": old["id"]})
    assert back["history"][0]["role"] == "ROLE_USER"
    assert back["history"][0]["parts"] == [{"text": "hi"}]


def test_the_message_id_and_the_trace_reach_the_agent_unchanged(site: Web) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    call(site, "SendMessage", {"message": message(name="Mein-ID/1")}, traceparent=trace)
    site.bound("w1")
    turn = site.ok("GET", "/workspaces/w1/turns/next?wait_s=0")["turn"]
    assert turn["message"]["messageId"] == "Mein-ID/1"
    assert turn["traceparent"] == trace


def test_members_in_snake_case_and_unknown_ones_are_taken(site: Web) -> None:
    given = {"message_id": "m", "role": "ROLE_USER", "parts": [{"text": "x", "novel": 1}]}
    told = result(site, "SendMessage", {"message": given, "novel": {"a": 1}})["task"]
    assert told["history"][0]["parts"] == [{"text": "x"}]
    assert "novel" not in json.dumps(told)


def test_a_task_that_has_ended_shows_artifacts_status_and_history(site: Web) -> None:
    turn_id = send(site)
    made = {"artifactId": "a", "name": "n", "parts": [{"data": {"k": [1, None]}}], "x": 1}
    act(site, result={"text": "done", "artifacts": [made]})
    task = result(site, "GetTask", {"id": turn_id})
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert task["status"]["message"]["parts"] == [{"text": "done"}]
    assert task["artifacts"] == [
        {"artifactId": "a", "name": "n", "parts": [{"data": {"k": [1, None]}}]}
    ]
    old = result(site, "tasks/get", {"id": turn_id})
    assert old["artifacts"][0]["parts"] == [{"kind": "data", "data": {"k": [1, None]}}]


def test_an_answer_of_text_alone_is_an_artifact_too(site: Web) -> None:
    turn_id = send(site)
    act(site, result={"text": "4"})
    assert result(site, "GetTask", {"id": turn_id})["artifacts"][0]["parts"] == [{"text": "4"}]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"outcome": "failed", "error": {"message": "no"}}, "TASK_STATE_FAILED"),
        ({"outcome": "failed", "error": {"code": "rejected"}}, "TASK_STATE_REJECTED"),
        ({"outcome": "input_required", "result": {"text": "?"}}, "TASK_STATE_INPUT_REQUIRED"),
        (
            {"outcome": "input_required", "result": {"interrupt": "auth_required"}},
            "TASK_STATE_AUTH_REQUIRED",
        ),
        ({"outcome": "yielded"}, "TASK_STATE_COMPLETED"),
        ({"outcome": "canceled"}, "TASK_STATE_CANCELED"),
    ],
)
def test_each_outcome_has_its_state(site: Web, fields: dict[str, Any], state: str) -> None:
    turn_id = send(site)
    act(site, **fields)
    assert result(site, "GetTask", {"id": turn_id})["status"]["state"] == state
    found = result(site, "ListTasks", {"status": state})["tasks"]
    assert [task["id"] for task in found] == [turn_id]


def test_parts_that_are_none_are_refused_at_the_finish(site: Web) -> None:
    send(site)
    claim = site.bound("w1")
    path = f"/workspaces/w1/sessions/{claim.session.id}/finish"
    bad = {"fence": claim.session.fence, "result": {"artifacts": [{"parts": "x"}]}}
    assert site.ask("POST", path, bad).status_code == 422


def test_history_is_as_long_as_asked_for_and_in_order(site: Web) -> None:
    turn_id = send(site, text="one")
    for text in ("two", "three"):
        act(site, "input_required", result={"text": f"more than {text}?"})
        result(site, "SendMessage", {"message": message(text, taskId=turn_id)})
    said = result(site, "GetTask", {"id": turn_id})["history"]
    texts = [one["parts"][0]["text"] for one in said]
    assert texts == ["one", "more than two?", "two", "more than three?", "three"]
    assert "history" not in result(site, "GetTask", {"id": turn_id, "historyLength": 0})
    last = result(site, "GetTask", {"id": turn_id, "historyLength": 1})["history"]
    assert [one["parts"][0]["text"] for one in last] == ["three"]
    assert len(result(site, "tasks/get", {"id": turn_id, "historyLength": 0})["history"]) == 5


def test_an_answer_continues_the_task_and_frees_no_second_one(site: Web) -> None:
    turn_id = send(site)
    act(site, "input_required", result={"text": "which?"})
    told = result(site, "message/send", {"message": old_message("blue", "m2", taskId=turn_id)})
    assert (told["id"], told["status"]["state"]) == (turn_id, "submitted")
    claim = act(site, result={"text": "blue it is"})
    assert claim.turn.id == turn_id
    assert claim.body["text"].startswith("blue\n")
    assert result(site, "GetTask", {"id": turn_id})["status"]["state"] == "TASK_STATE_COMPLETED"


def test_wrong_answers_get_the_errors_of_the_specification(site: Web) -> None:
    turn_id = send(site)
    named = message(name="m2", taskId=turn_id)
    assert code(site, "SendMessage", {"message": named}) == -32004, "it waits for no input"
    act(site, "input_required")
    wrong = {**named, "contextId": "another"}
    assert code(site, "SendMessage", {"message": wrong}) == -32602
    unknown = message(name="m2", taskId="trn_no")
    assert code(site, "SendMessage", {"message": unknown}) == -32001
    site.workspace("w2")
    foreign = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": named}}
    told = site.ask("POST", "/workspaces/w2/a2a", foreign, headers=JSON).get_json()
    assert told["error"]["code"] == -32001
    result(site, "CancelTask", {"id": turn_id})
    assert code(site, "SendMessage", {"message": named}) == -32004, "it has ended"


def test_a_repeat_is_one_task_only_while_the_first_waits_or_runs(site: Web) -> None:
    first = send(site)
    assert send(site) == first
    assert send(site, text="other words") != first, "the same id, another message"
    assert send(site, contextId="elsewhere") != first
    act(site, "input_required")
    assert send(site) != first, "a client that starts anew is not given the old question"


def test_an_idempotency_key_replays_its_answer_and_refuses_another_message(site: Web) -> None:
    key = {"Idempotency-Key": "k"}
    first = result(site, "SendMessage", {"message": message()}, **key)
    act(site)
    assert result(site, "SendMessage", {"message": message()}, **key) == first, "its own words"
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage"}
    other = body | {"params": {"message": message("other")}}
    assert site.ask("POST", BASE, other, headers={**JSON, **key}).status_code == 422
    http = site.ask("POST", f"{BASE}/message:send", {"message": message()}, headers={**JSON, **key})
    assert http.get_json() == first, "one key over both bindings"


def test_an_idempotency_key_in_flight_is_409_until_its_mark_is_gone(site: Web) -> None:
    key = {"Idempotency-Key": "k", **JSON}
    first = result(site, "SendMessage", {"message": message()}, **key)
    (name,) = [
        name
        for name in site.platform.clients.data.scan_iter("*submit:*")
        if "task" in str(site.platform.clients.data.get(name))
    ]
    words = str(site.platform.clients.data.get(name))
    site.platform.clients.data.set(name, words.partition(" ")[0] + " ")  # died before its answer
    response = site.ask("POST", f"{BASE}/message:send", {"message": message()}, headers=key)
    assert (response.status_code, response.headers["Retry-After"]) == (409, "2")
    site.platform.clients.data.delete(name)
    again = result(site, "SendMessage", {"message": message()}, **key)
    assert again["task"]["id"] == first["task"]["id"], "the turn itself is remembered"


def test_cancel_is_once_and_named(site: Web) -> None:
    turn_id = send(site)
    assert result(site, "CancelTask", {"id": turn_id})["status"]["state"] == "TASK_STATE_CANCELED"
    assert code(site, "CancelTask", {"id": turn_id}) == -32002
    assert code(site, "tasks/cancel", {"id": "trn_no"}) == -32001


def test_a_running_task_is_asked_to_stop_and_shown_as_it_is(site: Web) -> None:
    turn_id = send(site)
    claim = site.bound("w1")
    path = f"/workspaces/w1/sessions/{claim.session.id}/start"
    site.ok("POST", path, {"fence": claim.session.fence})
    told = result(site, "CancelTask", {"id": turn_id})
    assert told["status"]["state"] == "TASK_STATE_WORKING"
    assert site.ok("GET", f"/workspaces/w1/sessions/{claim.session.id}")["cancel_requested_at"]


def test_tasks_are_listed_by_their_last_change_a_page_at_a_time(site: Web) -> None:
    made = [send(site, name=f"m{number}", contextId=f"c{number % 2}") for number in range(5)]
    result(site, "CancelTask", {"id": made[1]})
    pages, token = [], ""
    while True:
        found = result(site, "ListTasks", {"pageSize": 2, "pageToken": token})
        assert (found["pageSize"], found["totalSize"]) == (2, 5)
        pages.append([task["id"] for task in found["tasks"]])
        assert "nextPageToken" in found
        token = found["nextPageToken"]
        if not token:
            break
    listed = [turn_id for page in pages for turn_id in page]
    assert sorted(listed) == sorted(made) and [len(page) for page in pages] == [2, 2, 1]
    stamps = [turns.get(site.platform, "w1", turn_id).state_at for turn_id in listed]
    assert stamps == sorted(stamps, reverse=True)
    odd = result(site, "ListTasks", {"contextId": "c1"})
    assert {task["id"] for task in odd["tasks"]} == {made[1], made[3]} and odd["totalSize"] == 2


def test_artifacts_are_listed_only_when_asked_for(site: Web) -> None:
    send(site)
    act(site, result={"text": "4"})
    (task,) = result(site, "ListTasks", {})["tasks"]
    assert "artifacts" not in task
    (task,) = result(site, "ListTasks", {"includeArtifacts": True})["tasks"]
    assert task["artifacts"]


@pytest.mark.parametrize(
    "params",
    [
        *({"pageSize": 0}, {"pageSize": 101}, {"pageSize": "x"}, {"pageToken": "x"}),
        *({"pageToken": "w7w="}, {"historyLength": -1}, {"statusTimestampAfter": "x"}),
        *({"status": "TASK_STATE_NONE"}, {"status": "completed"}, {"status": 99}, {"status": []}),
        {"status": True},
    ],
)
def test_a_bad_page_is_refused(site: Web, params: dict[str, Any]) -> None:
    assert code(site, "ListTasks", params) == -32602


def test_tasks_since_a_moment(site: Web) -> None:
    send(site)
    later = {"statusTimestampAfter": "2999-01-01T00:00:00Z"}
    assert result(site, "ListTasks", later)["tasks"] == []
    earlier = {"statusTimestampAfter": "2001-01-01T00:00:00Z"}
    assert len(result(site, "ListTasks", earlier)["tasks"]) == 1


def test_push_configurations_of_both_versions(site: Web) -> None:
    turn_id = send(site)
    given = {"taskId": turn_id, "id": "c", "url": "https://example.com/h", "token": "t"}
    given["authentication"] = {"scheme": "Bearer", "credentials": "secret"}
    assert result(site, "CreateTaskPushNotificationConfig", given) == given
    old = result(
        site,
        "tasks/pushNotificationConfig/get",
        {"id": turn_id, "pushNotificationConfigId": "c"},
    )
    assert old["pushNotificationConfig"]["authentication"] == {
        "schemes": ["Bearer"],
        "credentials": "secret",
    }
    inline = {"taskId": turn_id, "pushNotificationConfig": {"url": "https://example.com/i"}}
    result(site, "tasks/pushNotificationConfig/set", inline)
    listed = result(site, "ListTaskPushNotificationConfigs", {"taskId": turn_id})["configs"]
    assert [one["id"] for one in listed] == ["c", "default"]
    gone = {"id": turn_id, "pushNotificationConfigId": "c"}
    assert result(site, "tasks/pushNotificationConfig/delete", gone) is None
    assert result(site, "DeleteTaskPushNotificationConfig", {"taskId": turn_id, "id": "c"}) == {}
    named = {"taskId": turn_id, "id": "c"}
    assert code(site, "GetTaskPushNotificationConfig", named) == -32001


def test_a_configuration_in_a_message_is_there_with_the_task(site: Web) -> None:
    config = {"url": "https://example.com/h", "id": "c"}
    params = {"message": message(), "configuration": {"taskPushNotificationConfig": config}}
    turn_id = result(site, "SendMessage", params)["task"]["id"]
    (found,) = result(site, "ListTaskPushNotificationConfigs", {"taskId": turn_id})["configs"]
    assert found == {**config, "taskId": turn_id}


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://e.com/", "http://", "http://u:p@e.com/", "https://e.com:0/", "http://[::1"]
    + ["http://e.com/ x", "http://e.com/\n", "http://é.com/", "http://e.com/" + "x" * 2048],
)
def test_an_address_that_cannot_be_pushed_to_is_refused(site: Web, url: str) -> None:
    given = {"taskId": send(site), "url": url}
    assert code(site, "CreateTaskPushNotificationConfig", given) == -32602


def test_more_push_configurations_than_the_bound_are_refused_by_name(site: Web) -> None:
    turn_id = send(site)
    for number in range(10):
        given = {"taskId": turn_id, "id": str(number), "url": "https://e.com/"}
        result(site, "CreateTaskPushNotificationConfig", given)
    given = {"taskId": turn_id, "url": "https://e.com/"}
    told = call(site, "CreateTaskPushNotificationConfig", given)["error"]["data"][0]
    assert (told["reason"], told["domain"]) == ("TOO_MANY_PUSH_CONFIGS", "turnkeeper")
    assert told["metadata"]["setting"] == "TURNKEEPER_PUSH_CONFIGS_MAX"
    hit = site.ok("GET", "/workspaces/w1/events")["events"][-1]
    assert (hit["event"], hit["mechanism"]) == ("LIMIT_HIT", "push_configs")
