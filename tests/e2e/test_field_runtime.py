"""The field platform's runtime and canvas against the deployed web process, in their own words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.e2e.test_web import ADMIN, Process, running
from tests.support import servers
from tests.support.field_runtime import FieldRuntime

pytestmark = pytest.mark.e2e


@pytest.fixture
def web(redis62: servers.RedisServer, tmp_path: Path) -> Iterator[Process]:
    with redis62.client() as client:
        client.flushall()
    with running(redis62.url, tmp_path) as process:
        yield process


def statuses(runtime: FieldRuntime) -> list[int]:
    return [answer.status_code for answer in runtime.answers]


def heard(connection: Any, name: str) -> Any:
    while (event := json.loads(connection.recv(timeout=10)))["event"] != name:
        pass
    return event


def test_a_runtime_lives_through_its_day_in_the_field_platforms_words(web: Process) -> None:
    runtime = FieldRuntime(web.url, "seo", ADMIN)
    made = runtime.register()
    assert made["status"] == "registered" and len(made["auth_token"]) == 43
    assert runtime.register() == {"status": "registered", "auth_token": None}, "shown once"
    assert runtime.update_card("SEO Agent 2") == {"status": "ok"}

    beat = runtime.heartbeat(runtime_metadata={"idle_timeout_seconds": 1234, "capabilities": {}})
    assert (beat["status"], beat["workspace_status"], beat["queue_depth"]) == ("ok", "online", 0)
    shown = web.ask("GET", "/workspaces/seo")
    assert (shown["name"], shown["idle_timeout_s"]) == ("SEO Agent", 1234)

    url = f"ws://127.0.0.1:{web.port}/ws?workspace=seo"
    headers = {"Authorization": f"Bearer {ADMIN}"}
    with connect(url, additional_headers=headers, proxy=None) as canvas:
        assert heard(canvas, "snapshot")["payload"]["workspace"]["status"] == "online"
        runtime.heartbeat(error_rate=0.6)
        assert heard(canvas, "WORKSPACE_DEGRADED")["workspace_id"] == "seo"
        runtime.heartbeat(error_rate=0.05)
        assert heard(canvas, "WORKSPACE_ONLINE")["workspace_id"] == "seo"
        runtime.send_message_to_user("Two pages are written.")
        word = heard(canvas, "AGENT_MESSAGE")
        assert word["payload"]["text"] == "Two pages are written."
        assert word.keys() >= {"event", "workspace_id", "timestamp", "payload"}
        runtime.log_activity("agent_log", "read the sitemap")
        assert heard(canvas, "ACTIVITY_LOGGED")["payload"]["summary"] == "read the sitemap"
        runtime.heartbeat(active_tasks=1, current_task="writing")
        assert heard(canvas, "WORKSPACE_HEARTBEAT")["payload"]["active_tasks"] == 1

    rows = web.ask("GET", "/workspaces/seo/activity?type=agent_log&limit=5")["activities"]
    assert [row["payload"]["summary"] for row in rows] == ["read the sitemap"]
    assert set(statuses(runtime)) <= {200, 201}


def test_a_message_while_the_agent_is_busy_is_queued_in_the_known_form(web: Process) -> None:
    runtime = FieldRuntime(web.url, "seo", ADMIN)
    runtime.register()
    runtime.heartbeat(active_tasks=1)
    sent = {"m": {"messageId": "m-1"}, "expires_in_seconds": 600}
    first = runtime.send("seo", "write a page", ADMIN, **sent)
    assert runtime.answers[-1].status_code == 202 and first["queued"] is True
    assert (first["queue_depth"], first.keys() >= {"queue_id", "message"}) == (1, True)
    again = runtime.send("seo", "write a page", ADMIN, **sent)
    assert again["queue_id"] == first["queue_id"], "told apart by messageId"
    entry = web.ask("GET", f"/workspaces/seo/a2a/queue/{first['queue_id']}")
    assert (entry["status"], entry["request"]["text"]) == ("queued", "write a page")
    assert runtime.heartbeat()["queue_depth"] == 1


def test_memories_are_committed_and_recalled(web: Process) -> None:
    runtime = FieldRuntime(web.url, "seo", ADMIN)
    runtime.register()
    for content in ("Use British spelling.", "Titles have 60 letters."):
        runtime.commit_memory(content, "LOCAL")
    newest_first = [row["content"] for row in runtime.recall_memory()["memories"]]
    assert newest_first == ["Titles have 60 letters.", "Use British spelling."]
    best = runtime.recall_memory("spelling")["memories"][0]
    assert best["content"] == "Use British spelling."
    written = web.ask("GET", "/workspaces/seo/activity?type=memory_write")["activities"]
    assert len(written) == 2


def test_agents_delegate_and_both_see_it(web: Process) -> None:
    lead, writer = (FieldRuntime(web.url, name, ADMIN) for name in ("lead", "writer"))
    lead.register("Lead")
    writer.register("Writer")
    body = {"name": "lead", "scopes": ["runtime", "send"], "workspaces": ["lead", "writer"]}
    peer = web.ask("POST", "/admin/tokens", body)["token"]
    metadata = {"from_workspace_id": "lead"}
    sent = lead.send("writer", "write the page", peer, metadata=metadata)
    for runtime, direction in ((lead, "sent"), (writer, "received")):
        (row,) = runtime.delegations()
        assert row["delegation_id"] == sent["queue_id"] and row["direction"] == direction
        assert (row["source_id"], row["target_id"]) == ("lead", "writer")
        assert row["summary"] == "write the page" and row["created_at"].endswith("Z")
    entry = web.ask("GET", f"/workspaces/writer/a2a/queue/{sent['queue_id']}")
    assert (entry["origin"], entry["lane"]) == ("agent", "task")
    web.ask("POST", f"/workspaces/writer/turns/{sent['queue_id']}/cancel", {})
    (row,) = writer.delegations()
    assert row["status"] == "canceled" and row["ended_at"]


def test_a_runtimes_token_reaches_its_own_workspace_only(web: Process) -> None:
    seo, other = (FieldRuntime(web.url, name, ADMIN) for name in ("seo", "other"))
    seo.register()
    other.register()
    headers = {"Authorization": f"Bearer {seo.token}"}
    for method, path, body in (
        ("POST", "/registry/heartbeat", {"workspace_id": "other"}),
        ("POST", "/registry/register", {"id": "other"}),
        ("POST", "/registry/update-card", {"id": "other", "agent_card": {}}),
        ("POST", "/workspaces/other/notify", {"message": "x"}),
        ("POST", "/workspaces/other/activity", {"summary": "x"}),
        ("GET", "/workspaces/other/memories", None),
        ("GET", "/workspaces/other/delegations", None),
        ("GET", "/ws?workspace=seo", None),
    ):
        answer = httpx.request(method, web.url + path, json=body, headers=headers, timeout=10)
        assert answer.status_code == 403, (path, answer.text)
