"""Whose turns are whose: a caller is its token's principal, through rotations and logins."""

import json
import re
from collections.abc import Iterator
from functools import wraps
from typing import Any

import pytest

from app.api.a2a import new_methods, old_methods
from app.core import ids, keys
from tests.unit.api.test_access import Operation, operations
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


# ---- A caller that may only send


def clients(site: Web) -> tuple[str, str]:
    """Two chat clients of w1."""
    return site.token("send", workspaces=("w1",)), site.token("send", workspaces=("w1",))


def told_turn(site: Web, owner: str) -> str:
    """A new turn of the owner with a push configuration whose id is the turn's: in what is asked
    below every id is this one, so that nothing is missing but the right to see it."""
    task_id = send(site, owner, name=ids.new("msg"))
    body = {"id": task_id, "url": "https://example.com/p", "token": "the owner's"}
    site.ok("POST", f"{A2A}/tasks/{task_id}/pushNotificationConfigs", body, token=owner)
    return task_id


def naming_a_turn(site: Web) -> list[Operation]:
    """What is open to ``send`` and names something of a workspace."""
    return [
        one
        for one in operations(site)
        if "send" in one.scopes and set(re.findall(r"\{(\w+)\}", one.path)) - {"workspace_id"}
    ]


def asked_of(site: Web, one: Operation, turn_id: str, caller: str) -> int:
    path = re.sub(r"\{\w+\}", turn_id, one.path.replace("{workspace_id}", "w1"))
    body = {"url": "https://example.com/x"} if "/a2a/" in path and one.method == "POST" else None
    response = site.ask(one.method, path, body, token=caller)
    response.close()
    return response.status_code


def open_to_strangers(site: Web) -> set[str]:
    owner, stranger = clients(site)
    found = naming_a_turn(site)
    assert len(found) >= 10, "the document tells of them"
    given = {str(one): asked_of(site, one, told_turn(site, owner), stranger) for one in found}
    return {name for name, status in given.items() if status != 404}


def test_a_turn_of_another_does_not_exist_for_who_may_only_send(site: Web) -> None:
    assert open_to_strangers(site) == set()


def test_control_a_route_without_the_check_is_found(site: Web) -> None:
    @wraps(site.app.view_functions["turns.cancel_turn"])
    def unchecked(**path: str) -> str:
        return "canceled"

    site.app.view_functions["turns.cancel_turn"] = unchecked
    assert open_to_strangers(site) == {"POST /workspaces/{workspace_id}/turns/{turn_id}/cancel"}


@pytest.mark.parametrize("scopes", [(), ("send", "read"), ("send", "runtime"), ("admin",)])
def test_its_owner_and_who_sees_the_workspace_reach_it_by_each_route(
    site: Web, scopes: tuple[str, ...]
) -> None:
    owner, _ = clients(site)
    caller = site.token(*scopes, workspaces=("w1",)) if scopes else owner
    for one in naming_a_turn(site):
        assert asked_of(site, one, told_turn(site, owner), caller) < 300, str(one)


def test_a_rotated_token_and_a_login_reach_what_the_first_one_sent(site: Web) -> None:
    made = site.ok("POST", "/admin/tokens", {"name": "c", "scopes": ["send"]})
    task_id = send(site, made["token"])
    new = site.ok("POST", f"/admin/tokens/{made['id']}/rotate", {"grace_s": 60})["token"]
    assert site.ok("GET", f"{A2A}/tasks/{task_id}", token=new)["id"] == task_id


def called(site: Web, method: str, turn_id: str, caller: str) -> dict[str, Any]:
    """The answer of a JSON-RPC method asked about a turn, whatever it names it by."""
    is_new = method in {"SendMessage", *new_methods.METHODS, *new_methods.STREAMS}
    config = {"id": turn_id, "url": "https://example.com/x"}
    said: dict[str, Any] = {"messageId": ids.new("msg"), "taskId": turn_id}
    if is_new:
        said |= {"role": "ROLE_USER", "parts": [{"text": "and mine?"}]}
    else:
        said |= {"role": "user", "parts": [{"kind": "text", "text": "and mine?"}]}
    params = {
        **config,
        "taskId": turn_id,
        "message": said,
        "pushNotificationConfig": config,
        "pushNotificationConfigId": turn_id,
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    response = site.ask("POST", A2A, body, token=caller, headers={"A2A-Version": "1.0"})
    if response.mimetype != "text/event-stream":
        return dict(response.get_json())
    first = next(iter(response.response))
    response.close()
    text = first.decode() if isinstance(first, bytes) else first
    return dict(json.loads(text.partition("data: ")[2]))


NAMES_NO_TASK = {"ListTasks", "GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"}
METHODS = [
    *("SendMessage", *new_methods.METHODS, *new_methods.STREAMS),
    *(old_methods.SEND[0], *old_methods.METHODS, *old_methods.STREAMS),
]


@pytest.mark.parametrize("method", sorted(set(METHODS) - NAMES_NO_TASK))
def test_each_method_finds_no_task_of_another(site: Web, method: str) -> None:
    owner, stranger = clients(site)
    task_id = told_turn(site, owner)
    ask_back(site)
    assert called(site, method, task_id, stranger)["error"]["code"] == -32001
    state = site.ok("GET", f"/workspaces/w1/turns/{task_id}")["state"]
    assert state == "input_required", "nothing was done to it"
    assert "error" not in called(site, method, task_id, owner), "control"


def test_a_listing_shows_who_may_only_send_its_own(site: Web) -> None:
    owner, stranger = clients(site)
    both = {send(site, owner, contextId="c1"), send(site, stranger, contextId="c2")}
    fire = f"/workspaces/w1/schedules/{site.schedule('w1')}/run"
    both.add(site.ok("POST", fire, {})["turn_id"])
    reader = site.token("read", "send", workspaces=("w1",))

    def listed(caller: str, query: str = "") -> dict[str, Any]:
        return dict(site.ok("GET", f"{A2A}/tasks{query}", token=caller))

    for caller in (owner, stranger):
        found = listed(caller)
        assert (len(found["tasks"]), found["totalSize"]) == (1, 1)
    assert listed(stranger, "?contextId=c1")["tasks"] == []
    assert listed(owner, "?contextId=c1")["totalSize"] == 1
    assert {one["id"] for one in listed(reader)["tasks"]} == both


def test_a_turn_that_nobody_sent_is_no_senders(site: Web) -> None:
    fire = f"/workspaces/w1/schedules/{site.schedule('w1')}/run"
    turn_id = site.ok("POST", fire, {})["turn_id"]
    sender, _ = clients(site)
    for path in (f"{A2A}/tasks/{turn_id}", f"{A2A}/queue/{turn_id}"):
        assert site.ask("GET", path, token=sender).status_code == 404
        assert site.ask("GET", path).status_code == 200


def test_what_is_replayed_stays_its_askers(site: Web) -> None:
    owner, stranger = clients(site)
    turn_id = send(site, owner)
    site.ok("POST", f"/workspaces/w1/turns/{turn_id}/cancel", {}, token=owner)
    new_id = site.ok("POST", f"/workspaces/w1/turns/{turn_id}/replay", {})["id"]
    assert site.ask("GET", f"{A2A}/tasks/{new_id}", token=owner).status_code == 200
    assert site.ask("GET", f"{A2A}/tasks/{new_id}", token=stranger).status_code == 404


# ---- The secrets of push configurations

SECRETS = {"token": "T-SECRET", "authentication": {"scheme": "Bearer", "credentials": "C-SECRET"}}


def shown_configs(site: Web, task_id: str, caller: str) -> str:
    """Whatever the protocol's forms show of the configurations of a task."""
    base = f"{A2A}/tasks/{task_id}/pushNotificationConfigs"
    texts = [site.ask("GET", path, token=caller).text for path in (base, f"{base}/c")]
    for method in ("list", "get"):
        params = {"id": task_id}
        body = {"jsonrpc": "2.0", "id": 1, "method": f"tasks/pushNotificationConfig/{method}"}
        texts.append(site.ask("POST", A2A, body | {"params": params}, token=caller).text)
    assert all("example.com/p" in text for text in texts), texts
    return " ".join(texts)


@pytest.mark.parametrize("is_inline", [True, False])
def test_the_secrets_of_a_push_are_shown_to_who_wrote_them(site: Web, is_inline: bool) -> None:
    made = site.ok("POST", "/admin/tokens", {"name": "c", "scopes": ["send"]})
    config = {"id": "c", "url": "https://example.com/p", **SECRETS}
    params = message()
    if is_inline:
        params["configuration"]["taskPushNotificationConfig"] = config
    sent = site.ok("POST", f"{A2A}/message:send", params, token=made["token"])
    task_id = sent["task"]["id"]
    if not is_inline:
        path = f"{A2A}/tasks/{task_id}/pushNotificationConfigs"
        assert site.ok("POST", path, config, token=made["token"])["token"] == "T-SECRET"
    rotated = site.ok("POST", f"/admin/tokens/{made['id']}/rotate", {"grace_s": 60})["token"]
    for caller in (made["token"], rotated):
        text = shown_configs(site, task_id, caller)
        assert text.count("T-SECRET") == text.count("C-SECRET") == 4, "control"
    for caller in (site.token("send", "read"), site.token("admin")):
        assert "SECRET" not in shown_configs(site, task_id, caller)


def test_a_configuration_of_an_older_release_is_shown_without_its_secrets(site: Web) -> None:
    owner, _ = clients(site)
    task_id = send(site, owner)
    config = {"id": "c", "url": "https://example.com/p", **SECRETS}
    site.ok("POST", f"{A2A}/tasks/{task_id}/pushNotificationConfigs", config, token=owner)
    data, key = site.platform.clients.data, keys.of("w1")["push"]
    stored = json.loads(str(data.hget(key, f"{task_id}:c")))
    del stored["principal"]
    data.hset(key, f"{task_id}:c", json.dumps(stored))
    assert "SECRET" not in shown_configs(site, task_id, owner)


# ---- Contexts


def test_a_context_of_another_is_not_found_by_who_may_only_send(site: Web) -> None:
    owner, stranger = clients(site)
    reader = site.token("send", "read", workspaces=("w1",))
    made = site.ok("POST", f"{A2A}/message:send", message(), token=owner)["task"]["contextId"]
    send(site, owner, name="m2", contextId="mine")
    for number, context in enumerate((made, "mine")):
        body = message(f"s{number}", contextId=context)
        assert site.ask("POST", f"{A2A}/message:send", body, token=stranger).status_code == 404
        old = {"role": "user", "parts": [{"kind": "text", "text": "x"}], "contextId": context}
        short = {"params": {"message": old}}
        assert site.ask("POST", A2A, short, token=stranger).status_code == 404
        for caller in (owner, reader):
            send(site, caller, name=f"n{number}", contextId=context)
    assert len(site.ok("GET", f"{A2A}/tasks", token=stranger)["tasks"]) == 0
    send(site, stranger, contextId="another")
    ttl_ms = site.platform.clients.data.pttl(keys.context_owner("w1", "mine"))
    assert 0 < ttl_ms <= site.platform.settings.turn_retention_s * 1000


OLD = {"kind": "message", "messageId": "m", "role": "user", "contextId": "mine"}
NEW = {"messageId": "m", "role": "ROLE_USER", "contextId": "mine", "parts": [{"text": "x"}]}
FORMS: dict[str, dict[str, Any]] = {
    "short": {"params": {"message": {"parts": [{"text": "x"}], "contextId": "mine"}}},
    "message/send": {
        "params": {"message": {**OLD, "parts": [{"kind": "text", "text": "x"}]}},
        "jsonrpc": "2.0",
        "id": 1,
        "method": "message/send",
    },
    "SendMessage": {
        "params": {"message": NEW},
        "jsonrpc": "2.0",
        "id": 1,
        "method": "SendMessage",
    },
}


@pytest.mark.parametrize("is_removed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_message_to_no_workspace_leaves_nothing(site: Web, form: str, is_removed: bool) -> None:
    if is_removed:
        site.ok("DELETE", "/workspaces/w1")
    place = "w1" if is_removed else "nowhere"
    data = site.platform.clients.data
    before = set(data.keys(f"*{place}*"))
    for more in ({}, {"Idempotency-Key": "k"}):
        answer = site.ask("POST", f"/workspaces/{place}/a2a", FORMS[form], headers=more)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "workspace_not_found")
    assert set(data.keys(f"*{place}*")) == before
