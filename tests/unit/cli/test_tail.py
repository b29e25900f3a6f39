import json
from typing import Any

import pytest

from app.cli.client import Api
from app.cli.event_line import event_line
from app.cli.faults import Fault
from app.cli.tail import follow
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_api import TOKEN, FakeApi, problem

STREAM = "/workspaces/demo/events/stream"
GONE = problem(404, "workspace_not_found", "removed")


def sse(name: str, stream_id: str, **payload: Any) -> str:
    data = {"event": name, "workspace_id": "demo", "timestamp": "2026-01-01T00:00:01Z",
            "payload": payload, "id": stream_id, "turn_id": "trn_1"}  # fmt: skip
    return f"id: {stream_id}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


def followed(api: FakeApi, since: str | None = None) -> tuple[list[str], list[float]]:
    """The names of all events until the server refuses, and the pauses taken."""
    names: list[str] = []
    pauses: list[float] = []
    with pytest.raises(Fault) as refusal:
        for event in follow(Api(api.url, TOKEN), STREAM, since, lambda _: None, pauses.append):
            names.append(event.name)
    assert refusal.value.exit_code == 3
    return names, pauses


def test_tail_resumes_after_the_last_id_and_shows_the_snapshot_once(api: FakeApi) -> None:
    first = sse("snapshot", "1-0") + sse("TURN_CLAIMED", "2-0") + "event: bye\ndata: {}\n\n"
    second = sse("snapshot", "2-0") + ": ping\n\n" + sse("TURN_COMPLETED", "3-0", text="fine")
    api.on("GET", STREAM, (200, first), (200, second), GONE)
    names, pauses = followed(api, since="10m")
    assert names == ["snapshot", "TURN_CLAIMED", "TURN_COMPLETED"]
    assert pauses == [0.5, 0.5]
    assert [asked.headers.get("Last-Event-ID") for asked in api.asked] == [None, "2-0", "3-0"]
    assert [asked.query for asked in api.asked] == [{"since": ["10m"]}, {}, {}]


def test_tail_waits_longer_each_time_while_a_server_it_knew_is_full(api: FakeApi) -> None:
    full = problem(503, "overloaded", "too many streams")
    api.on("GET", STREAM, (200, sse("A", "1-0")), full, full, full, (200, sse("B", "2-0")), GONE)
    names, pauses = followed(api)
    assert names == ["A", "B"]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 0.5]


def test_tail_of_all_workspaces_names_the_workspace_on_each_line(api: FakeApi, run: Run) -> None:
    api.on("GET", "/events/stream", (200, sse("TURN_CLAIMED", "2-0")), GONE)
    assert "demo" in run("tail").stdout


def test_tail_of_an_unknown_workspace_ends_with_not_found(run: Run) -> None:
    assert run("tail", "nope").exit_code == 3


def test_tail_without_a_server_ends_as_unreachable(run: Run) -> None:
    assert run("--url", "http://127.0.0.1:1", "tail", "demo").exit_code == 5


def test_an_event_is_one_line_with_its_mechanism() -> None:
    data = {"event": "SESSION_ENDED", "timestamp": "2026-01-01T00:00:01Z", "turn_id": "trn_1",
            "payload": {"text": "a\nb\x1b[31m"}, "mechanism": "ceiling"}  # fmt: skip
    line = event_line("SESSION_ENDED", data)
    assert "\n" not in line
    assert "a b" in line
    assert "\\x1b[31m" in line
    assert line.endswith("[mechanism=ceiling]")


def test_an_event_without_words_shows_its_fields() -> None:
    data = {"event": "TURN_CLAIMED", "payload": {"lane": "chat", "attempt": 1, "x": {"y": 1}}}
    assert event_line("TURN_CLAIMED", data).endswith("lane=chat attempt=1")
