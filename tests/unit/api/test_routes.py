"""Every route answers under its name, in the shape that the OpenAPI document promises."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from app.core import keys
from tests.unit.api.web import Web

BASE = "/workspaces/w1"

# DESIGN section 6 and the wire facts of the field platform: names that may never change.
ROUTES = {
    *("POST /registry/register", "POST /registry/heartbeat", "POST /registry/update-card"),
    *("POST /workspaces", "GET /workspaces", "GET /workspaces/<>", "PATCH /workspaces/<>"),
    *("DELETE /workspaces/<>", "POST /workspaces/<>/pause", "POST /workspaces/<>/resume"),
    *("POST /workspaces/<>/heartbeat", "GET /workspaces/<>/turns/next"),
    *(f"POST /workspaces/<>/sessions/<>/{verb}" for verb in ("start", "progress", "finish")),
    *(f"POST /workspaces/<>/sessions/<>/{verb}" for verb in ("spool", "checkpoint", "end")),
    *("POST /workspaces/<>/a2a", "GET /workspaces/<>/a2a/queue/<>", "GET /workspaces/<>/turns"),
    *("GET /workspaces/<>/turns/<>", "POST /workspaces/<>/turns/<>/cancel"),
    *("POST /workspaces/<>/turns/<>/replay", "GET /workspaces/<>/sessions"),
    *("GET /workspaces/<>/schedules", "POST /workspaces/<>/schedules"),
    *("PATCH /workspaces/<>/schedules/<>", "DELETE /workspaces/<>/schedules/<>"),
    *(f"POST /workspaces/<>/schedules/<>/{verb}" for verb in ("run", "pause", "resume")),
    *(f"GET /workspaces/<>/schedules/<>/{noun}" for noun in ("history", "fires", "preview")),
    *("GET /workspaces/<>/schedules/health", "GET /admin/schedules/health"),
    *("GET /workspaces/<>/activity", "POST /workspaces/<>/activity", "POST /workspaces/<>/notify"),
    *("GET /workspaces/<>/events/stream", "GET /workspaces/<>/why", "GET /admin/tokens"),
    *("POST /admin/tokens", "DELETE /admin/tokens/<>", "GET /admin/liveness", "GET /healthz"),
    *("GET /readyz", "GET /metrics", "GET /openapi.json", "GET /admin/invariants"),
    *(f"{verb} /workspaces/<>/memories" for verb in ("GET", "POST", "DELETE")),
    "DELETE /workspaces/<>/memories/<>",
}
SCHEDULE_ROW = {
    *("id", "workspace_id", "name", "cron_expr", "timezone", "prompt", "enabled", "last_run_at"),
    *("next_run_at", "run_count", "last_status", "last_error", "created_at", "updated_at"),
}


def views(site: Web) -> dict[str, Any]:
    return {
        f"{method} {rule.rule}": site.app.view_functions[rule.endpoint]
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def asked(site: Web, method: str, path: str, body: Any = None, **more: Any) -> Any:
    """The answer, checked against the model that documents it."""
    response = site.ask(method, path, body, **more)
    assert response.status_code < 300, response.text
    with site.app.test_request_context(path, method=method):
        from flask import request

        view = site.app.view_functions[request.endpoint or ""]
    model: type[BaseModel] | None = view.replies[response.status_code]  # type: ignore[attr-defined]
    content = response.get_json()
    if model is not None:
        shown = TypeAdapter(model).validate_python(content, extra="forbid")
        assert shown is not None
    return content


def test_every_promised_route_exists(fake: Web) -> None:
    import re

    found = {re.sub(r"<\w+>", "<>", name) for name in views(fake)}
    assert not ROUTES - found


def test_a_workspace_is_created_read_changed_paused_and_removed(site: Web) -> None:
    made = asked(site, "POST", "/workspaces", {"name": "SEO", "ceiling_s": 60})
    path = f"/workspaces/{made['id']}"
    assert (made["status"], made["ceiling_s"], made["max_concurrent"]) == ("offline", 60, 1)
    assert asked(site, "GET", path)["name"] == "SEO"
    assert [row["id"] for row in asked(site, "GET", "/workspaces")["workspaces"]] == [made["id"]]
    changed = asked(site, "PATCH", path, {"ceiling_s": None, "max_concurrent": 3})
    assert (changed["ceiling_s"], changed["max_concurrent"]) == (1800, 3)
    paused = asked(site, "POST", f"{path}/pause", {"reason": "night"})
    assert (paused["status"], paused["paused_reason"]) == ("paused", "night")
    assert asked(site, "GET", f"{path}/why")["code"] == "paused"
    assert asked(site, "POST", f"{path}/resume")["status"] == "offline"
    assert asked(site, "DELETE", path) == {"status": "ok"}
    assert site.ask("GET", path).status_code == 404
    assert site.ask("PATCH", path, {}).status_code == 410
    assert site.ask("POST", "/workspaces", {"id": made["id"]}).status_code == 410


def test_an_agent_registers_and_beats_as_on_the_field_platform(site: Web) -> None:
    card = {"name": "SEO Agent", "skills": []}
    body = {"id": "w1", "url": "http://agent:8000", "agent_card": card, "extra": 1}
    made = asked(site, "POST", "/registry/register", body)
    assert made["status"] == "registered"
    beat = {
        "workspace_id": "w1",
        "error_rate": 0.0,
        "sample_error": "",
        "active_tasks": 1,
        "uptime_seconds": 12,
        "current_task": "moving images",
        "runtime_state": "",
        "runtime_metadata": {"capabilities": {"a": True}, "idle_timeout_seconds": 1234},
    }
    answer = asked(site, "POST", "/registry/heartbeat", beat, token=made["auth_token"])
    assert (answer["status"], answer["workspace_status"]) == ("ok", "online")
    shown = asked(site, "GET", BASE)
    assert (shown["name"], shown["idle_timeout_s"]) == ("SEO Agent", 1234)
    partial = {"workspace_id": "w1", "error_rate": 0.6}
    asked(site, "POST", "/registry/heartbeat", partial, token=made["auth_token"])
    shown = asked(site, "GET", BASE)
    assert (shown["status"], shown["idle_timeout_s"]) == ("degraded", 1234)
    clear = {"workspace_id": "w1", "error_rate": 0.0, "runtime_metadata": {}}
    clear["runtime_metadata"] = {"idle_timeout_seconds": None}
    asked(site, "POST", "/registry/heartbeat", clear, token=made["auth_token"])
    assert asked(site, "GET", BASE)["idle_timeout_s"] == 900
    again = asked(site, "POST", "/registry/register", body, token=made["auth_token"])
    assert again["auth_token"] is None, "a runtime's own token makes no other"
    assert asked(site, "POST", "/registry/update-card", {"id": "w1", "agent_card": card})


def test_a_short_message_is_queued_and_found_again(site: Web) -> None:
    site.workspace()
    message = {"role": "user", "parts": [{"kind": "text", "text": "hi"}], "messageId": "m1"}
    body = {"method": "message/send", "params": {"message": message}}
    told = asked(site, "POST", f"{BASE}/a2a", body)
    assert told["queued"] is True and told["queue_depth"] == 1 and told["message"]
    again = asked(site, "POST", f"{BASE}/a2a", body, headers={"traceparent": "00-1-2-01"})
    assert again["queue_id"] == told["queue_id"], "deduplicated by messageId"
    other = {"method": "message/send", "params": {"message": message | {"messageId": "m2"}}}
    assert asked(site, "POST", f"{BASE}/a2a", other)["queue_id"] != told["queue_id"]
    entry = asked(site, "GET", f"{BASE}/a2a/queue/{told['queue_id']}")
    assert (entry["status"], entry["queue_id"]) == ("queued", told["queue_id"])
    assert entry["request"]["message"]["messageId"] == "m1"


def test_an_idempotency_key_survives_a_retry_without_a_message_id(site: Web) -> None:
    site.workspace()
    body = {"params": {"message": {"parts": [{"text": "hi"}]}}}
    keyed = {"Idempotency-Key": "k1", "traceparent": "00-1-2-01"}
    first = asked(site, "POST", f"{BASE}/a2a", body, headers=keyed)
    retry = asked(site, "POST", f"{BASE}/a2a", body, headers=keyed | {"traceparent": "00-1-3-01"})
    assert retry["queue_id"] == first["queue_id"]
    body["params"]["message"]["parts"] = [{"text": "other"}]
    assert site.ask("POST", f"{BASE}/a2a", body, headers=keyed).status_code == 422


def test_a_message_that_expires_carries_its_deadline(site: Web) -> None:
    site.workspace()
    turn_id = site.send("w1", expires_in_seconds=60)
    assert asked(site, "GET", f"{BASE}/turns/{turn_id}")["expires_at"].endswith("Z")


@pytest.mark.parametrize("form", [{}, {"jsonrpc": "2.0", "id": 1}])
def test_a_message_says_whether_a_lost_session_delivers_it_again(
    site: Web, form: dict[str, Any]
) -> None:
    site.ask("POST", "/workspaces", {"id": "w1"})
    message = {"role": "user", "parts": [{"kind": "text", "text": "x"}]}
    params: dict[str, Any] = {}
    for said in ("never", "on_loss"):
        params |= {"message": {**message, "messageId": said}, "metadata": {"redeliver": said}}
        site.ask("POST", f"{BASE}/a2a", form | {"method": "message/send", "params": params})
    stored = site.platform.clients.data.hvals(keys.of("w1")["turns"])
    assert sorted(json.loads(text)["redeliver"] for text in stored) == ["never", "on_loss"]
    params["metadata"] = {"redeliver": "maybe"}
    call = form | {"method": "message/send", "params": params}
    assert "params.metadata.redeliver" in site.ask("POST", f"{BASE}/a2a", call).text


def test_json_rpc_is_answered_as_json_rpc(site: Web) -> None:
    site.workspace()
    message = {"role": "user", "parts": [{"kind": "text", "text": "hi"}], "messageId": "m1"}
    call = {"jsonrpc": "2.0", "id": 7, "method": "message/send", "params": {"message": message}}
    told = asked(site, "POST", f"{BASE}/a2a", call)
    assert (told["id"], told["result"]["status"]["state"]) == (7, "submitted")
    named = {"id": told["result"]["id"]}
    got = asked(site, "POST", f"{BASE}/a2a", call | {"method": "tasks/get", "params": named})
    assert got["result"]["history"][0]["messageId"] == "m1"


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (b"{", -32700, 400),
        ([], -32600, 200),
        ({"jsonrpc": "1.0", "method": "x"}, -32600, 200),
        ({"jsonrpc": "2.0", "id": {}, "method": "x"}, -32600, 200),
        ({"jsonrpc": "2.0", "method": "no/such"}, -32601, 200),
        ({"jsonrpc": "2.0", "method": "message/send", "params": []}, -32602, 200),
        ({"jsonrpc": "2.0", "method": "message/send", "params": {"message": {}}}, -32602, 200),
        ({"jsonrpc": "2.0", "method": "tasks/get", "params": {"id": "trn_no"}}, -32001, 200),
    ],
)
def test_json_rpc_errors(fake: Web, body: Any, code: int, status: int) -> None:
    fake.workspace()
    response = fake.ask("POST", f"{BASE}/a2a", body)
    assert (response.status_code, response.get_json()["error"]["code"]) == (status, code)


def test_a_runtime_takes_starts_reports_and_finishes(site: Web) -> None:
    site.workspace()
    turn_id = site.send("w1", "work")
    site.bound("w1")
    turn = asked(site, "GET", f"{BASE}/turns/next?wait_s=0&instance=i1")["turn"]
    assert (turn["turn_id"], turn["prompt"]) == (turn_id, "work")
    session, fence = f"{BASE}/sessions/{turn['session_id']}", {"fence": turn["fence"]}
    asked(site, "POST", f"{session}/start", fence | {"instance": "i1"})
    asked(site, "POST", f"{session}/progress", fence | {"kind": "tool_start", "tool": "sh"})
    shown = asked(site, "POST", f"{session}/checkpoint", {"reason": "long enough"})
    assert shown["checkpoint_requested_at"]
    told = asked(site, "POST", f"{session}/progress", fence)["directives"]
    assert [item["type"] for item in told] == ["checkpoint"]
    finish = fence | {"outcome": "completed", "result": {"text": "done"}, "checkpoint": {}}
    assert asked(site, "POST", f"{session}/finish", finish)["state"] == "completed"
    assert asked(site, "POST", f"{session}/finish", finish)["state"] == "completed"
    assert asked(site, "GET", f"{BASE}/turns/{turn_id}")["result"]["text"] == "done"
    late = site.ask("POST", f"{session}/progress", fence)
    assert (late.status_code, late.get_json()["code"]) == (409, "stale_fence")
    rows = asked(site, "GET", f"{BASE}/sessions")["sessions"]
    assert [row["turn_state"] for row in rows] == ["completed"]
    replay = asked(site, "POST", f"{BASE}/turns/{turn_id}/replay")
    assert (replay["state"], replay["replay_of"]) == ("queued", turn_id)
    assert site.ask("POST", f"{BASE}/turns/{replay['id']}/replay").status_code == 409
    assert asked(site, "POST", f"{BASE}/turns/{replay['id']}/cancel")["state"] == "canceled"


def test_a_session_is_ended_by_id_and_never_twice(site: Web) -> None:
    site.workspace()
    site.send("w1")
    session = f"{BASE}/sessions/{site.bound('w1').session.id}"
    first = asked(site, "POST", f"{session}/end", {"reason": "enough"})
    assert first["ended_at"]
    assert asked(site, "POST", f"{session}/end", {})["ended_at"] == first["ended_at"]
    assert asked(site, "POST", f"{session}/checkpoint", {})["checkpoint_requested_at"] is None
    assert asked(site, "GET", session)["bound"]["prompt"] == "hello"


def test_a_session_is_released_and_a_spool_is_taken_whole_or_not(site: Web) -> None:
    site.workspace()
    site.send("w1")
    claim = site.bound("w1")
    fence = {"fence": claim.session.fence}
    asked(site, "POST", f"{BASE}/sessions/{claim.session.id}/release", fence)
    again = site.bound("w1")
    session, fence = f"{BASE}/sessions/{again.session.id}", {"fence": again.session.fence}
    asked(site, "POST", f"{session}/start", fence)
    finish = {"type": "finish", "outcome": "completed", "result": {"text": "late"}}
    for bad in ({"type": "no"}, {}, {"type": "progress", "percent": 300}):
        refused = site.ask("POST", f"{session}/spool", fence | {"reports": [finish, bad]})
        assert refused.status_code == 422
        assert refused.get_json()["errors"][0]["field"].startswith("reports.1")
    assert asked(site, "GET", session)["ended_at"] is None
    reports = [{"type": "progress", "text": "half"}, finish]
    assert asked(site, "POST", f"{session}/spool", fence | {"reports": reports})["state"]


def test_schedules_as_on_the_field_platform(site: Web) -> None:
    site.workspace()
    fields = {"name": "tick", "cron_expr": "*/30 * * * *", "prompt": "go"}
    made = asked(site, "POST", f"{BASE}/schedules", fields)
    assert not SCHEDULE_ROW - made.keys()
    path = f"{BASE}/schedules/{made['id']}"
    assert (made["timezone"], made["enabled"], made["run_count"]) == ("UTC", True, 0)
    assert asked(site, "GET", path) == made
    assert asked(site, "GET", f"{BASE}/schedules")["schedules"] == [made]
    changed = asked(site, "PATCH", path, {"prompt": "new", "ttl_s": 60})
    assert (changed["prompt_version"], changed["ttl_s"]) == (2, 60)
    assert asked(site, "PATCH", path, {"ttl_s": None})["ttl_s"] is None
    fire = asked(site, "POST", f"{path}/run")
    assert fire["state"] == "queued"
    assert asked(site, "GET", f"{path}/history?limit=5")["history"] == [fire]
    assert asked(site, "GET", f"{path}/fires")["fires"] == [fire]
    assert len(asked(site, "GET", f"{path}/preview?count=7")["next"]) == 7
    paused = asked(site, "POST", f"{path}/pause", {"reason": "holiday"})
    assert (paused["enabled"], paused["paused_reason"], paused["next_run_at"]) == (
        False,
        "holiday",
        None,
    )
    resumed = asked(site, "POST", f"{path}/resume")
    assert (resumed["enabled"], resumed["paused_reason"]) == (True, "")
    assert resumed["next_run_at"]
    rows = asked(site, "GET", f"{BASE}/schedules/health")["schedules"]
    assert [row["status"] for row in rows] == ["ok"]
    assert asked(site, "GET", "/admin/schedules/health")["schedules"] == rows
    asked(site, "DELETE", path)
    assert site.ask("GET", path).status_code == 404
    turn = asked(site, "GET", f"{BASE}/turns/{fire['turn_id']}")
    assert turn["state"] == "canceled"


def test_a_backfill_is_made_refused_and_listed(site: Web) -> None:
    path = f"{BASE}/schedules/{site.schedule(site.workspace())}"
    body = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T02:00:00+00:00"}
    dry = asked(site, "POST", f"{path}/backfill", body | {"dry_run": True})
    assert (dry["requested"], dry["made"], dry["start"]) == (4, 0, "2026-01-01T00:00:00.000Z")
    made = asked(site, "POST", f"{path}/backfill", body | {"overlap_policy": "skip"})
    assert (made["made"], made["waiting"], made["share_done"]) == (4, 4, 0)
    (listed,) = asked(site, "GET", f"{path}/backfill")["backfills"]
    assert listed == made
    rows = asked(site, "GET", f"{path}/fires")["fires"]
    assert {(row["state"], row["origin"], row["attempt"]) for row in rows} == {
        ("queued", "backfill", 0)
    }
    wrong = [{"start": 1, "end": 2}, body | {"start": "2026-01-01T00:00:00"}, {"start": "now"}]
    wrong += [body | {"end": "2025-01-01T00:00:00Z"}, body | {"end": "2126-01-01T00:00:00Z"}]
    wrong += [body | {"end": "2026-07-01T00:00:00Z"}, body | {"overlap_policy": "maybe"}]
    for bad in wrong:
        assert site.ask("POST", f"{path}/backfill", bad).status_code == 422, bad
    too_many = site.ask("POST", f"{path}/backfill", body | {"end": "2026-07-01T00:00:00Z"})
    problem = too_many.get_json()
    assert (problem["limit_count"], problem["measured_count"]) == (1000, 1001)
    assert problem["setting"] == "TURNKEEPER_BACKFILL_MAX_COUNT"


def test_activity_is_written_filtered_and_kept_exactly(site: Web) -> None:
    site.workspace()
    extra = {"summary": "s", "list": [], "number": 1234567890123456, "deep": {"a": [[]]}}
    for kind in ("agent_log", "memory_write", "error"):
        asked(site, "POST", f"{BASE}/activity", {"type": kind, **extra})
    asked(site, "POST", f"{BASE}/notify", {"message": "look here"})
    rows = asked(site, "GET", f"{BASE}/activity")["activities"]
    assert [row["type"] for row in rows] == ["a2a_send", "error", "memory_write", "agent_log"]
    assert rows[0]["payload"]["text"] == "look here"
    found = asked(site, "GET", f"{BASE}/activity?type=error&limit=1")["activities"]
    assert [row["payload"] for row in found] == [{"type": "error", **extra}]
    kept = asked(site, "GET", f"{BASE}/events?since=1h")["events"]
    assert [event["event"] for event in kept][-1] == "AGENT_MESSAGE"


def test_tokens_are_made_once_listed_by_prefix_and_revoked(site: Web) -> None:
    body = {"name": "ci", "scopes": ["read"], "workspaces": ["w1"], "expires_in_s": 60}
    made = asked(site, "POST", "/admin/tokens", body)
    listed = asked(site, "GET", "/admin/tokens")
    assert [row["prefix"] for row in listed["tokens"]] == [made["token"][:8]]
    assert asked(site, "DELETE", f"/admin/tokens/{made['id']}") == {"status": "ok"}
    assert site.ask("DELETE", f"/admin/tokens/{made['id']}").status_code == 404


def test_probes_metrics_and_liveness(site: Web) -> None:
    site.workspace()
    assert asked(site, "GET", "/healthz", token=None) == {"status": "ok"}
    assert asked(site, "GET", "/readyz", token=None) == {"status": "ready"}
    metrics = site.ask("GET", "/metrics")
    assert metrics.status_code == 200 and "turnkeeper_workspaces{" in metrics.text
    assert asked(site, "GET", "/admin/liveness")["ready"] >= 0


def test_the_operator_sees_what_cannot_be_and_may_look_now(site: Web) -> None:
    site.workspace()
    turn_id = site.send("w1")
    well = asked(site, "POST", "/admin/invariants/w1/run")
    assert (well["violation_count"], well["checked"], well["total"]) == (0, 1, 1)
    site.platform.clients.data.hdel(keys.of("w1")["bodies"], turn_id)
    assert asked(site, "GET", "/admin/invariants")["violations"] == 0, "nobody has looked"
    (row,) = asked(site, "POST", "/admin/invariants/w1/run")["violations"]
    assert (row["code"], row["subject"]) == ("turn_body_missing", turn_id)
    told = asked(site, "GET", "/admin/invariants?limit=1")
    assert (told["violations"], told["round_ended_at"]) == (1, None)
    assert told["workspaces"][0]["violations"] == [row]
    assert "turnkeeper_invariant_violations 1.0" in site.ask("GET", "/metrics").text
    assert site.ask("POST", "/admin/invariants/nobody/run").status_code == 404


def test_why_says_what_everything_waits_for(site: Web) -> None:
    site.workspace()
    site.send("w1")
    told = asked(site, "GET", f"{BASE}/why")
    assert (told["code"], told["depth"]) == ("heartbeat_expired", 1)


def test_the_openapi_document_names_scope_and_problems_of_each_operation(fake: Web) -> None:
    document = fake.ask("GET", "/openapi.json", token=None).get_json()
    assert document["openapi"].startswith("3.1")
    declared = {name: view for name, view in views(fake).items() if hasattr(view, "replies")}
    for name, view in declared.items():  # not the pages
        method, _, path = name.partition(" ")
        told = document["paths"][path.replace("<", "{").replace(">", "}")][method.lower()]
        assert told["operationId"] == view.__name__ and told["tags"] and told["summary"]
        public = view.scope == "public"
        assert told["security"] == (
            [] if public else [{"bearer": [one]} for one in view.scope.split(" or ")]
        )
        expected = set() if public else {"401", "403", "429", "503"}
        expected |= {"404"} if "<" in path else set()
        expected |= {"400", "413", "422"} if "requestBody" in told else set()
        assert not expected - told["responses"].keys(), name
        for status, answer in told["responses"].items():
            if int(status) >= 400:
                # JSON-RPC has a form of its own for what goes wrong behind the door.
                is_rpc = ".a2a." in view.__module__ or ".mcp." in view.__module__
                own = {"application/json"} if is_rpc else set()
                assert answer["content"].keys() - own == {"application/problem+json"}, name
        if method in ("POST", "PATCH") and "requestBody" not in told:
            ends = ("/resume", "/run", "/replay", "/login-links", "/rotate", "/test", ":subscribe")
            # What an agent pushes is only a hint: its body is not read.
            assert path.endswith(ends) or "/a2a/push/" in path, name
    assert len(declared) > 40
