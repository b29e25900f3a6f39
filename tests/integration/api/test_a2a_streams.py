"""A2A streams over real servers: order, ends, gaps, bounds, and any process for any task."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from app.core import sessions
from tests.integration.api.conftest import Make
from tests.integration.api.streaming import chunks
from tests.support.wait import wait_until
from tests.unit.api.a2a.calls import BASE, JSON, act, message, old_message, result, send
from tests.unit.api.web import Web


class Stream:
    """What a stream has said so far."""

    def __init__(self, response: Any) -> None:
        self.response, self.texts, self.is_over = response, list[str](), threading.Event()

    def read(self) -> None:
        for text in chunks(self.response):
            self.texts.append(text)
        self.is_over.set()

    @property
    def frames(self) -> list[tuple[str, Any]]:
        """Id and data of each event; pings left out."""
        found = []
        for block in filter(None, "".join(self.texts).split("\n\n")):
            if block.startswith(":"):
                continue
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            found.append((fields.get("id", ""), json.loads(fields["data"])))
        return found

    @property
    def told(self) -> list[str]:
        """Each event in a word: the state, or what kind it is."""
        return [word(data.get("result", data)) for _, data in self.frames]


def word(event: dict[str, Any]) -> str:
    if "error" in event:
        return "error"
    inner = event.get("task") or event.get("statusUpdate") or event
    if "status" in inner:
        return str(inner["status"]["state"]).removeprefix("TASK_STATE_").lower()
    return "artifact"


@contextmanager
def streaming(site: Web, path: str, body: Any = None, **headers: str) -> Iterator[Stream]:
    """A stream read in a thread; to be left when it is over or its process stops."""
    method = "GET" if body is None else "POST"
    response = site.ask(method, path, body, headers={**JSON, **headers})
    assert response.status_code == 200, response.text
    assert response.mimetype == "text/event-stream"
    stream = Stream(response)
    thread = threading.Thread(target=stream.read)
    thread.start()
    try:
        yield stream
    finally:
        if not stream.is_over.wait(0.2):
            site.app.extensions["turnkeeper"].stop()
        thread.join(10)
        response.close()
        assert not thread.is_alive()


def started(site: Web) -> tuple[sessions.Claim, str]:
    claim = site.bound("w1")
    path = f"/workspaces/w1/sessions/{claim.session.id}"
    site.ok("POST", f"{path}/start", {"fence": claim.session.fence})
    return claim, path


def test_a_message_streams_the_task_first_then_all_that_comes_of_it(make: Make) -> None:
    site = make()
    site.workspace("w1")
    body = {"message": message()}
    with streaming(site, f"{BASE}/message:stream", body) as stream:
        wait_until(lambda: stream.frames, 15)
        claim, path = started(site)
        fence = {"fence": claim.session.fence}
        site.ok("POST", f"{path}/progress", fence | {"text": "thinking"})
        site.ok("POST", f"{path}/finish", fence | {"result": {"text": "4"}})
        assert stream.is_over.wait(15), "it ends with the task"
    assert stream.told == ["submitted", "working", "working", "artifact", "completed"]
    assert stream.frames[2][1]["statusUpdate"]["status"]["message"]["parts"] == [
        {"text": "thinking"}
    ]
    ids = [event_id for event_id, _ in stream.frames]
    assert all(ids), "each has its place in the workspace's stream"


def test_nothing_is_missed_by_a_stream_whose_agent_was_quicker(make: Make) -> None:
    """The task has ended before the first byte is read: all of it is told all the same."""
    site = make()
    site.workspace("w1")
    response = site.ask("POST", f"{BASE}/message:stream", {"message": message()}, headers=JSON)
    act(site, result={"text": "4"})
    stream = Stream(response)
    stream.read()
    assert stream.told == ["submitted", "working", "artifact", "completed"]


@pytest.mark.parametrize("is_new", [True, False])
def test_a_question_ends_a_messages_stream_and_no_subscription(make: Make, is_new: bool) -> None:
    site = make()
    site.workspace("w1")
    method, params = (
        ("SendStreamingMessage", {"message": message()})
        if is_new
        else ("message/stream", {"message": old_message()})
    )
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    with streaming(site, BASE, call) as stream:
        wait_until(lambda: stream.frames, 15)
        first = stream.frames[0][1]["result"]
        turn_id = (first["task"] if is_new else first)["id"]
        with streaming(site, f"{BASE}/tasks/{turn_id}:subscribe") as other:
            wait_until(lambda: other.frames, 15)
            act(site, "input_required", result={"text": "which?"})
            assert stream.is_over.wait(15)
            assert not other.is_over.is_set()
            result(site, "SendMessage", {"message": message("blue", "m2", taskId=turn_id)})
            act(site, result={"text": "done"})
            assert other.is_over.wait(15)
    asked = "input_required" if is_new else "input-required"
    assert stream.told[-1] == asked
    assert other.told[1:] == [
        *("working", "input_required", "submitted", "working", "artifact", "completed")
    ]
    if not is_new:
        assert stream.frames[-1][1]["result"]["final"] is True


def test_all_subscribers_in_any_process_get_the_same_in_the_same_order(make: Make) -> None:
    one, two = make(), make()
    one.workspace("w1")
    turn_id = send(one)
    path = f"{BASE}/tasks/{turn_id}:subscribe"
    with streaming(one, path) as a, streaming(two, path) as b, streaming(two, path) as c:
        wait_until(lambda: a.frames and b.frames and c.frames, 15)
        claim, session = started(one)
        for number in range(20):
            progress = {"fence": claim.session.fence, "text": f"step {number}"}
            (one, two)[number % 2].ok("POST", f"{session}/progress", progress)
        one.ok(
            "POST",
            f"{session}/finish",
            {"fence": claim.session.fence, "result": {"text": "4"}},
        )
        assert all(stream.is_over.wait(15) for stream in (a, b, c))
    assert a.frames == b.frames == c.frames
    assert len(a.frames) == 24


def test_a_resumed_subscription_is_told_what_it_missed(make: Make) -> None:
    site = make()
    site.workspace("w1")
    turn_id = send(site)
    path = f"{BASE}/tasks/{turn_id}:subscribe"
    with streaming(site, path) as stream:
        wait_until(lambda: stream.frames, 15)
        claim, session = started(site)
        wait_until(lambda: len(stream.frames) == 2, 15)
        last_id = stream.frames[-1][0]
        for text in ("one", "two"):
            site.ok("POST", f"{session}/progress", {"fence": claim.session.fence, "text": text})
        wait_until(lambda: len(stream.frames) == 4, 15)
        rest = stream.frames[2:]
        response = site.ask("GET", path, headers={**JSON, "Last-Event-ID": last_id})
        resumed = Stream(response)
        thread = threading.Thread(target=resumed.read)
        thread.start()
        wait_until(lambda: len(resumed.frames) == 3, 15)
        assert resumed.frames[1:] == rest
        site.ok("POST", f"{session}/finish", {"fence": claim.session.fence})
        thread.join(15)
        response.close()


def test_a_subscriber_that_lags_too_far_is_dropped_with_the_limit_named(make: Make) -> None:
    site = make(stream_buffer_count=10)
    site.workspace("w1")
    turn_id = send(site)
    claim, session = started(site)
    response = site.ask("GET", f"{BASE}/tasks/{turn_id}:subscribe", headers=JSON)
    frames = chunks(response)
    next(frames)
    for number in range(30):
        progress = {"fence": claim.session.fence, "text": str(number)}
        site.ok("POST", f"{session}/progress", progress)
    (last,) = list(frames)
    response.close()
    told = json.loads(last.removeprefix("data: "))["error"]["details"][0]
    assert told["reason"] == "STREAM_GAP"
    assert told["metadata"]["setting"] == "TURNKEEPER_STREAM_BUFFER_COUNT"
    assert int(told["metadata"]["measured_count"]) == 30
    again = site.ask("GET", f"{BASE}/tasks/{turn_id}:subscribe", headers=JSON)
    opening = json.loads(next(chunks(again)).split("data: ", 1)[1])
    again.close()
    assert opening["task"]["status"]["state"] == "TASK_STATE_WORKING"


@pytest.mark.parametrize("method", ["SendStreamingMessage", "message/stream"])
def test_more_streams_than_the_bound_are_503_and_nothing_is_accepted(
    make: Make, method: str
) -> None:
    site = make(streams_max=1)
    site.workspace("w1")
    turn_id = send(site)
    with streaming(site, f"{BASE}/tasks/{turn_id}:subscribe") as stream:
        wait_until(lambda: stream.frames, 15)
        given = message(name="m2") if method == "SendStreamingMessage" else old_message(name="m2")
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": given}}
        refused = site.ask("POST", BASE, call, headers=JSON)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert refused.get_json()["error"]["code"] == -32603
        http = site.ask("GET", f"{BASE}/tasks/{turn_id}:subscribe", headers=JSON)
        assert (http.status_code, http.headers["Retry-After"]) == (503, "2")
        assert [turn["id"] for turn in site.ok("GET", "/workspaces/w1/turns")["turns"]] == [turn_id]


def test_more_waits_than_the_bound_are_503_and_nothing_is_accepted(make: Make) -> None:
    site = make(waiters_max=1, message_wait_s=20)
    site.workspace("w1")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(result, site, "SendMessage", {"message": message()})
        # It waits before it is accepted, so that who may not wait is not accepted either.
        wait_until(lambda: site.ok("GET", "/workspaces/w1/turns")["turns"], 15)
        body = {"message": message(name="m2")}
        refused = site.ask("POST", f"{BASE}/message:send", body, headers=JSON)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        at_once = body | {"configuration": {"returnImmediately": True}}
        assert site.ask("POST", f"{BASE}/message:send", at_once, headers=JSON).status_code == 200
        act(site, result={"text": "4"})
        assert first.result(30)["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


def states(site: Web) -> list[str]:
    return [turn["state"] for turn in site.ok("GET", "/workspaces/w1/turns")["turns"]]


def test_a_bare_message_is_the_answer_where_the_agent_says_so_in_time(make: Make) -> None:
    site = make(message_wait_s=20)
    site.workspace("w1")
    for method, given in (("SendMessage", message()), ("message/send", old_message())):
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(result, site, method, {"message": given})
            # It waits before it is accepted; the agent can take only what is.
            wait_until(lambda: "queued" in states(site), 15)
            act(site, result={"text": "a word", "answer": "message"})
            told = answer.result(30)
        if method == "SendMessage":
            assert told["message"]["parts"] == [{"text": "a word"}]
        else:
            assert told["parts"] == [{"kind": "text", "text": "a word"}]
            assert (told["kind"], told["role"]) == ("message", "agent")


def test_a_quiet_stream_is_pinged_and_a_revoked_token_ends_it(make: Make) -> None:
    site = make(a2a_ping_s=0.05, stream_ping_s=0.2)
    site.workspace("w1")
    turn_id = send(site)
    token = site.token("read", "send")
    path = f"{BASE}/tasks/{turn_id}:subscribe"
    response = site.ask("GET", path, token=token, headers=JSON)
    stream = Stream(response)
    thread = threading.Thread(target=stream.read)
    thread.start()
    wait_until(lambda: ": ping\n\n" in stream.texts, 15)
    row = site.ok("GET", "/admin/tokens")["tokens"][0]
    site.ok("DELETE", f"/admin/tokens/{row['id']}")
    assert stream.is_over.wait(15)
    thread.join(15)
    response.close()


@pytest.mark.parametrize("method", ["SubscribeToTask", "tasks/resubscribe"])
def test_no_stream_of_a_task_that_has_ended(make: Make, method: str) -> None:
    site = make()
    site.workspace("w1")
    turn_id = send(site)
    act(site)
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"id": turn_id}}
    text = site.ask("POST", BASE, call, headers=JSON).text
    assert json.loads(text.removeprefix("data: "))["error"]["code"] == -32004
