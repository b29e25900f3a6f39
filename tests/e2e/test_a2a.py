"""A2A through real processes: all restarted in mid-stream, readers that never read, bounds."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.conformance import NEW, agent_url, conformance
from tests.support.receiver import receiver
from tests.support.wait import wait_until
from tests.support.world import ADMIN, START_S, World, world

pytestmark = pytest.mark.e2e

JSON = {"Content-Type": "application/json", "A2A-Version": "1.0"}


def message(name: str, **more: Any) -> dict[str, Any]:
    return {"messageId": name, "role": "ROLE_USER", "parts": [{"text": "go"}], **more}


class Listener:
    """A client that streams, and subscribes again whenever its stream breaks, until the end."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.task_id, self.states, self.texts, self.count = "", list[str](), list[str](), 0
        self.thread = threading.Thread(target=self.listen)

    def listen(self) -> None:
        while not (self.states and self.states[-1].endswith("COMPLETED")):
            try:
                self.stream()
            except httpx.TransportError:
                threading.Event().wait(0.1)

    def stream(self) -> None:
        body = None if self.task_id else {"message": message(self.name)}
        path = f"/tasks/{self.task_id}:subscribe" if self.task_id else "/message:stream"
        with (
            httpx.Client(trust_env=False, timeout=5) as client,
            client.stream("POST", self.url + path, json=body, headers=JSON) as answer,
        ):
            if answer.status_code == 400:  # it has ended meanwhile
                self.take({"task": client.get(f"{self.url}/tasks/{self.task_id}").json()})
                return
            if answer.status_code != 200:
                raise httpx.ConnectError("not there yet")
            self.count += 1
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    self.take(json.loads(line.removeprefix("data: ")))

    def take(self, told: dict[str, Any]) -> None:
        if "task" in told:
            self.task_id = told["task"]["id"]
            made = told["task"].get("artifacts", [])
            self.texts = [part["text"] for one in made for part in one["parts"]]
        elif "artifactUpdate" in told:
            self.texts = [part["text"] for part in told["artifactUpdate"]["artifact"]["parts"]]
        event = told.get("task") or told.get("statusUpdate")
        if event:
            self.states.append(event["status"]["state"])


def test_a_restart_of_everything_in_mid_stream_loses_nothing(tmp_path: Path) -> None:
    with conformance(tmp_path) as here:
        listener = Listener(agent_url(here, NEW), "silent-restart")
        listener.thread.start()
        wait_until(lambda: "TASK_STATE_WORKING" in listener.states, START_S)
        for name in ("web", "workers", "scheduler"):
            here.processes[name].kill9()
        here.redis.kill9()
        here.redis.start()
        here.add_web()
        here.add_workers()
        here.add_scheduler()
        listener.thread.join(60)
        assert not listener.thread.is_alive(), here.logs()
        assert listener.count >= 2, "its stream broke and it subscribed again"
        assert listener.states[-1] == "TASK_STATE_COMPLETED"
        assert listener.texts == ["done after silence"]
        tasks = here.ask("GET", f"/workspaces/{NEW}/turns")["turns"]
        assert [turn["id"] for turn in tasks] == [listener.task_id], "and it was sent once"


@contextmanager
def quiet_world(folder: Path, **env: str) -> Iterator[World]:
    """A platform without an agent: what is sent waits."""
    with world(folder, TURNKEEPER_OPEN_LOOPBACK="true", **env) as here:
        here.add_web()
        here.ask("POST", "/workspaces", {"id": NEW})
        yield here


def connect(here: World, path: str) -> socket.socket:
    """A request whose answer is never read; its window is as small as it gets."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    place = urlsplit(here.url)
    connection.connect((place.hostname, place.port))
    lines = [f"GET {path} HTTP/1.1", f"Host: {place.netloc}", "A2A-Version: 1.0"]
    lines.append(f"Authorization: Bearer {ADMIN}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def polled(here: World) -> Any:
    """A beat, since the last one may have run out while the workers started, and a poll."""
    here.ask("POST", f"/workspaces/{NEW}/heartbeat", {"sessions": []})
    return here.ask("GET", f"/workspaces/{NEW}/turns/next?wait_s=1")["turn"]


def opened(here: World) -> int:
    """Connections of clients that the web process holds; not its own to Redis, of which more are
    opened when much is going on."""
    (worker,) = here.processes["web"].family()[1:]
    own = [one for one in worker.net_connections() if one.laddr and one.laddr.port == here.port]
    return sum(one.status == "ESTABLISHED" for one in own)


@pytest.mark.parametrize("timeout_s", ["1", "600"], ids=["dropped", "control: held"])
@pytest.mark.parametrize("stream", ["a2a/tasks/{}:subscribe", "events/stream"])
def test_a_subscriber_that_never_reads_is_dropped(
    tmp_path: Path, stream: str, timeout_s: str
) -> None:
    env = {
        "TURNKEEPER_STREAM_WRITE_TIMEOUT_S": timeout_s,
        "TURNKEEPER_STREAM_BUFFER_COUNT": "100000",
    }
    with quiet_world(tmp_path, **env) as here, ExitStack() as stack:
        url = agent_url(here, NEW)
        sent = httpx.post(
            f"{url}/message:send",
            json={"message": message("m"), "configuration": {"returnImmediately": True}},
            headers=JSON,
        )
        task_id = sent.json()["task"]["id"]
        here.add_workers()
        turn = wait_until(lambda: polled(here), START_S)
        session, fence = f"/workspaces/{NEW}/sessions/{turn['session_id']}", turn["fence"]
        here.ask("POST", f"{session}/start", {"fence": fence})
        wait_until(lambda: opened(here) == 0, 20)
        reader = connect(here, f"/workspaces/{NEW}/{stream.format(task_id)}")
        stack.callback(reader.close)
        wait_until(lambda: opened(here) == 1, 20)
        words = {"fence": fence, "text": "x" * 200_000}
        for _ in range(40):  # 8 MB: more than the system buffers for it
            here.ask("POST", f"{session}/progress", words)
        if timeout_s == "1":
            wait_until(lambda: opened(here) == 0, START_S)
            assert '"mechanism": "stream_write"' in here.processes["web"].output()
        else:
            with pytest.raises(AssertionError):
                wait_until(lambda: opened(here) == 0, 3)
        assert here.ask("GET", "/healthz")


def test_beyond_the_bounds_it_is_503_and_health_is_answered_at_once(tmp_path: Path) -> None:
    env = {"TURNKEEPER_STREAMS_MAX": "100", "TURNKEEPER_WAITERS_MAX": "50"}
    with quiet_world(tmp_path, **env) as here, ExitStack() as stack:
        url = agent_url(here, NEW)
        body = {"message": message("m"), "configuration": {"returnImmediately": True}}
        task_id = httpx.post(f"{url}/message:send", json=body, headers=JSON).json()["task"]["id"]
        path = f"/workspaces/{NEW}/a2a/tasks/{task_id}:subscribe"
        for _ in range(100):
            reader = connect(here, path)
            stack.callback(reader.close)
            assert reader.recv(12) == b"HTTP/1.1 200"
        client = stack.enter_context(httpx.Client(trust_env=False, timeout=10, headers=JSON))
        refused = client.get(here.url + path)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        statuses: list[int] = []

        def wait(number: int) -> None:
            body = {"message": message(f"w{number}")}
            answer = httpx.post(f"{url}/message:send", json=body, headers=JSON, timeout=20)
            statuses.append(answer.status_code)

        waiting = [threading.Thread(target=wait, args=(number,)) for number in range(60)]
        for thread in waiting:
            thread.start()
        wait_until(lambda: 503 in statuses, 30)
        took = []
        for _ in range(40):
            began_at = time.monotonic()
            assert client.get(f"{here.url}/healthz").status_code == 200
            took.append(time.monotonic() - began_at)
        for thread in waiting:
            thread.join(60)
        assert sorted(statuses)[:50] == [200] * 50, "who had room was answered"
        assert sorted(took)[len(took) // 2] < 0.5, sorted(took)


@pytest.mark.parametrize("allowed", ["127.0.0.1/32", ""], ids=["allowed", "control: refused"])
def test_a_task_is_pushed_to_this_machine_only_where_the_profile_allows_it(
    tmp_path: Path, allowed: str
) -> None:
    with conformance(tmp_path, TURNKEEPER_EGRESS_ALLOW=allowed) as here, receiver() as told:
        login = {"scheme": "Bearer", "credentials": "s3cret"}
        hook = {"url": told.url, "authentication": login}
        body = {
            "message": message("complete-push"),
            "configuration": {"taskPushNotificationConfig": hook},
        }
        httpx.post(f"{agent_url(here, NEW)}/message:send", json=body, headers=JSON, timeout=10)
        if not allowed:
            wait_until(lambda: "address_refused" in here.processes["workers"].output(), START_S)
            assert told.got == []
            return

        def pushed() -> list[str]:
            tasks = [json.loads(one.body)["task"] for one in told.got]
            return [task["status"]["state"] for task in tasks]

        wait_until(lambda: "TASK_STATE_COMPLETED" in pushed(), START_S)
        assert {one.headers["authorization"] for one in told.got} == {"Bearer s3cret"}


def test_the_trace_reaches_the_agents_environment(tmp_path: Path) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with quiet_world(tmp_path) as here:
        here.add_workers()
        here.add_runtime(NEW, "sh", "-c", "echo trace=$TRACEPARENT")
        wait_until(lambda: here.ask("GET", f"/workspaces/{NEW}")["status"] == "online", START_S)
        sent = httpx.post(
            f"{agent_url(here, NEW)}/message:send",
            json={"message": message("m")},
            headers=JSON | {"traceparent": trace},
            timeout=10,
        ).json()
        address = f"{agent_url(here, NEW)}/tasks/{sent['task']['id']}"
        (made,) = wait_until(lambda: httpx.get(address).json().get("artifacts"), START_S)
        assert made["parts"][0]["text"].strip() == f"trace={trace}"
