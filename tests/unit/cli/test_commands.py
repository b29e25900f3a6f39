import json

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_api import FakeApi, problem

ROW = {"id": "seo", "name": "SEO", "status": "online", "live_sessions": 1, "max_concurrent": 1,
       "waiting": 12, "oldest_wait_s": 7800.0, "current_task": None}  # fmt: skip
QUEUED = {"queued": True, "queue_id": "trn_1", "queue_depth": 1, "message": "queued"}


def test_a_list_is_a_table_with_readable_durations(api: FakeApi, run: Run) -> None:
    api.on("GET", "/workspaces", (200, {"workspaces": [ROW]}))
    result = run("workspaces", "ls")
    assert result.exit_code == 0
    assert "2 h 10 min" in result.stdout
    assert api.last().headers["Authorization"] == "Bearer tk_test"


def test_the_output_option_works_before_and_after_the_command(api: FakeApi, run: Run) -> None:
    api.on("GET", "/workspaces", (200, {"workspaces": [ROW]}))
    assert json.loads(run("-o", "json", "workspaces", "ls").stdout) == [ROW]
    assert json.loads(run("workspaces", "ls", "-o", "json").stdout) == [ROW]
    assert 'id: "seo"' in run("workspaces", "ls", "-o", "yaml").stdout


def test_an_empty_list_names_the_next_command(api: FakeApi, run: Run) -> None:
    api.on("GET", "/workspaces", (200, {"workspaces": []}))
    assert "workspaces create" in run("workspaces", "ls").stderr


def test_create_sends_only_what_was_given(api: FakeApi, run: Run) -> None:
    api.on("POST", "/workspaces", (201, ROW))
    run("workspaces", "create", "seo", "--ceiling", "30m", "--field", "legacy_card=false")
    assert api.last().body == {"id": "seo", "ceiling_s": 1800.0, "legacy_card": False}


@pytest.mark.parametrize(
    ("more", "next_command"),
    [({}, "run -w seo"), ({"agent_url": "https://agents.example.com/"}, "send seo")],
)
def test_create_says_how_to_go_on(
    api: FakeApi, run: Run, more: dict[str, str], next_command: str
) -> None:
    api.on("POST", "/workspaces", (201, ROW | more))
    told = run("workspaces", "create", "seo")
    assert f"next: turnkeeper {next_command}" in told.stdout + told.stderr


def test_set_without_a_change_is_a_usage_error(run: Run) -> None:
    assert run("workspaces", "set", "seo").exit_code == 2


def test_rm_asks_and_says_how_many_things_go(api: FakeApi, run: Run) -> None:
    api.on("GET", "/workspaces/seo", (200, ROW))
    api.on("DELETE", "/workspaces/seo", (204, None))
    refused = run("workspaces", "rm", "seo", stdin="n\n")
    assert refused.exit_code == 1
    assert "12 waiting turns" in refused.stderr
    assert run("workspaces", "rm", "seo", "--yes").exit_code == 0
    assert api.last().method == "DELETE"


def test_an_id_with_a_slash_stays_one_path_segment(api: FakeApi, run: Run) -> None:
    run("workspaces", "show", "../admin/tokens")
    assert api.last().path == "/workspaces/..%2Fadmin%2Ftokens"


@pytest.mark.parametrize(
    ("answer", "exit_code"),
    [
        (problem(404, "workspace_not_found", "none"), 3),
        (problem(401, "unauthorized", "no"), 4),
        (problem(403, "forbidden", "no"), 4),
        (problem(409, "illegal_transition", "no"), 4),
        (problem(422, "invalid_input", "no"), 4),
        (problem(429, "queue_full", "no"), 4),
        (problem(503, "store_unavailable", "no"), 5),
        (problem(500, "error", "no"), 1),
    ],
)
def test_each_status_has_its_exit_code(
    api: FakeApi, run: Run, answer: tuple[int, object], exit_code: int
) -> None:
    api.on("GET", "/workspaces/seo/why", answer)
    assert run("why", "seo").exit_code == exit_code


def test_an_error_says_what_why_and_the_next_command(api: FakeApi, run: Run) -> None:
    errors = [{"field": "cron_expr", "rule": "has 6 fields"}]
    refusal = problem(422, "invalid_input", "The body is refused.", errors=errors)
    api.on("POST", "/workspaces/seo/schedules", refusal)
    api.on("GET", "/workspaces/seo/schedules", (200, {"schedules": []}))
    result = run("schedules", "add", "seo", "--name", "n", "--cron", "* * * * * *", "--prompt", "p")
    assert "invalid_input" in result.stderr
    assert "The body is refused.; cron_expr: has 6 fields" in result.stderr
    api.on("POST", "/workspaces/seo/a2a", problem(429, "queue_full", "10000 wait"))
    assert "try again in 7 s; turnkeeper why" in run("send", "seo", "hi").stderr


def test_an_error_under_json_is_one_json_object_on_stderr(run: Run) -> None:
    result = run("workspaces", "show", "nope", "-o", "json")
    assert result.stdout == ""
    assert json.loads(result.stderr)["problem"]["code"] == "workspace_not_found"


def test_a_closed_port_is_unreachable_and_names_the_command_to_try(run: Run) -> None:
    result = run("--url", "http://127.0.0.1:1", "workspaces", "ls")
    assert result.exit_code == 5
    assert "turnkeeper up" in result.stderr


def test_an_address_that_is_none_is_a_usage_error(run: Run) -> None:
    assert run("--url", "ftp//nowhere", "workspaces", "ls").exit_code == 2


def test_another_server_on_that_port_is_named_as_such(api: FakeApi, run: Run) -> None:
    api.on("GET", "/workspaces", (200, "<html>hello</html>"))
    result = run("workspaces", "ls")
    assert result.exit_code == 1
    assert "not as Turnkeeper does" in result.stderr


def test_control_characters_of_a_message_do_not_reach_the_terminal(api: FakeApi, run: Run) -> None:
    sentence = {"code": "empty", "sentence": "x\x1b[2Jy"}
    api.on("GET", "/workspaces/seo/why", (200, sentence))
    assert run("why", "seo").stdout == "x\\x1b[2Jy (empty)\n"


def test_send_uses_the_short_form_and_the_key_as_both_identities(api: FakeApi, run: Run) -> None:
    api.on("POST", "/workspaces/seo/a2a", (202, QUEUED))
    result = run("send", "seo", "-", "--key", "k1", stdin="hello\n")
    assert result.exit_code == 0
    assert "trn_1" in result.stdout
    asked = api.last()
    assert "jsonrpc" not in asked.body
    assert asked.body["params"]["message"]["messageId"] == "k1"
    assert asked.body["params"]["message"]["parts"] == [{"kind": "text", "text": "hello\n"}]
    assert asked.headers["Idempotency-Key"] == "k1"


def test_send_wait_prints_the_answer_of_the_turn(api: FakeApi, run: Run) -> None:
    api.on("POST", "/workspaces/seo/a2a", (202, QUEUED))
    done = {"id": "trn_1", "state": "completed", "result": {"text": "forty-two"}}
    api.on("GET", "/workspaces/seo/turns/trn_1", (200, {"state": "running"}), (200, done))
    result = run("send", "seo", "hi", "--wait")
    assert (result.exit_code, result.stdout) == (0, "forty-two\n")


def test_send_wait_fails_with_the_reason_of_the_turn(api: FakeApi, run: Run) -> None:
    api.on("POST", "/workspaces/seo/a2a", (202, QUEUED))
    bad = {"state": "force_idled", "error": {"detail": "1800 s"}, "mechanism": "ceiling"}
    api.on("GET", "/workspaces/seo/turns/trn_1", (200, bad))
    result = run("send", "seo", "hi", "--wait")
    assert result.exit_code == 1
    assert "1800 s; mechanism=ceiling" in result.stderr


def test_send_wait_times_out_with_124_and_the_turn_goes_on(api: FakeApi, run: Run) -> None:
    api.on("POST", "/workspaces/seo/a2a", (202, QUEUED))
    api.on("GET", "/workspaces/seo/turns/trn_1", (200, {"state": "queued"}))
    result = run("send", "seo", "hi", "--wait", "--timeout", "0.2s")
    assert result.exit_code == 124
    assert "turnkeeper turns show seo trn_1" in result.stderr


def test_a_schedule_goes_by_its_name(api: FakeApi, run: Run) -> None:
    rows = [{"id": "sch_1", "name": "tick"}, {"id": "sch_2", "name": "twin"},
            {"id": "sch_3", "name": "twin"}]  # fmt: skip
    api.on("GET", "/workspaces/seo/schedules", (200, {"schedules": rows}))
    api.on("GET", "/workspaces/seo/schedules/sch_1/preview", (200, {"next": ["2026-01-01T00:00Z"]}))
    api.on("GET", "/workspaces/seo/schedules/sch_1", (200, {"id": "sch_1", "enabled": False}))
    result = run("schedules", "preview", "seo", "tick")
    assert result.stdout == "2026-01-01T00:00Z\n"
    assert "paused: none of these is made until turnkeeper schedules resume" in result.stderr
    (asked,) = [one for one in api.asked if one.path.endswith("/preview")]
    assert asked.query == {"count": ["5"]}
    assert run("schedules", "run", "seo", "twin").exit_code == 4


def test_a_schedule_takes_its_prompt_from_a_file_but_not_twice(api: FakeApi, run: Run) -> None:
    api.on("PATCH", "/workspaces/seo/schedules/sch_1", (200, {}))
    command = ("schedules", "set", "seo", "sch_1", "--prompt-file", "-")
    assert run(*command, stdin="new words").exit_code == 0
    assert api.last().body == {"prompt": "new words"}
    assert run(*command, "--prompt", "x", stdin="y").exit_code == 2


def test_a_new_token_stands_alone_on_stdout(api: FakeApi, run: Run) -> None:
    api.on("POST", "/admin/tokens", (201, {"id": "tok_1", "prefix": "tk_a", "token": "tk_abc"}))
    result = run("tokens", "create", "--name", "ci", "--scope", "send", "--expires-in", "30d")
    assert result.stdout == "tk_abc\n"
    assert api.last().body == {"name": "ci", "scopes": ["send"], "expires_in_s": 2_592_000.0}


def test_a_rotated_token_is_printed_alone(api: FakeApi, run: Run) -> None:
    api.on("POST", "/admin/tokens/tok_1/rotate", (201, {"id": "tok_2", "token": "tk_new"}))
    result = run("tokens", "rotate", "tok_1", "--grace", "2h")
    assert result.stdout == "tk_new\n"
    assert api.last().body == {"grace_s": 7200}


@pytest.mark.parametrize(
    ("arguments", "method", "path"),
    [
        (("workspaces", "pause", "w", "--reason", "r"), "POST", "/workspaces/w/pause"),
        (("workspaces", "resume", "w"), "POST", "/workspaces/w/resume"),
        (("sessions", "show", "w", "s"), "GET", "/workspaces/w/sessions/s"),
        (("sessions", "checkpoint", "w", "s"), "POST", "/workspaces/w/sessions/s/checkpoint"),
        (("sessions", "end", "w", "s"), "POST", "/workspaces/w/sessions/s/end"),
        (("turns", "show", "w", "t"), "GET", "/workspaces/w/turns/t"),
        (("turns", "cancel", "w", "t"), "POST", "/workspaces/w/turns/t/cancel"),
        (("dead", "show", "w", "t"), "GET", "/workspaces/w/turns/t"),
        (("dead", "replay", "w", "t"), "POST", "/workspaces/w/turns/t/replay"),
        (("dead", "discard", "w", "t"), "POST", "/workspaces/w/turns/t/discard"),
        (("turns", "replay", "w", "t"), "POST", "/workspaces/w/turns/t/replay"),
        (("schedules", "pause", "w", "sch_1"), "POST", "/workspaces/w/schedules/sch_1/pause"),
        (("schedules", "resume", "w", "sch_1"), "POST", "/workspaces/w/schedules/sch_1/resume"),
        (("schedules", "run", "w", "sch_1"), "POST", "/workspaces/w/schedules/sch_1/run"),
        (("schedules", "rm", "w", "sch_1"), "DELETE", "/workspaces/w/schedules/sch_1"),
        (("tokens", "revoke", "tok_1"), "DELETE", "/admin/tokens/tok_1"),
    ],
)
def test_each_command_calls_its_route(
    api: FakeApi, run: Run, arguments: tuple[str, ...], method: str, path: str
) -> None:
    api.on(method, path, (200, {"id": "x"}))
    assert run(*arguments).exit_code == 0
    assert (api.last().method, api.last().path) == (method, path)


@pytest.mark.parametrize(
    ("arguments", "path", "key"),
    [
        (("sessions", "ls", "w"), "/workspaces/w/sessions", "sessions"),
        (("turns", "ls", "w", "--state", "dead"), "/workspaces/w/turns", "turns"),
        (("schedules", "ls", "w"), "/workspaces/w/schedules", "schedules"),
        (("tokens", "ls"), "/admin/tokens", "tokens"),
    ],
)
def test_each_list_shows_the_ids(
    api: FakeApi, run: Run, arguments: tuple[str, ...], path: str, key: str
) -> None:
    api.on("GET", path, (200, {key: [{"id": "the_id", "age_s": 61}]}))
    assert "the_id" in run(*arguments).stdout


BACKFILL = {
    "id": "bkf_1",
    "requested": 4,
    "created_at": "2026-01-03T00:00:00Z",
    "made": 3,
    "already": 1,
    "waiting": 3,
    "running": 0,
    "ended": {},
    "share_done": 0.25,
    "stopped": None,
}
RANGE = ("--start", "2026-01-01T00:00:00Z", "--end", "2026-01-02T00:00:00Z")


def test_a_backfill_is_asked_for_and_waited_for(api: FakeApi, run: Run) -> None:
    path = "/workspaces/seo/schedules/sch_1/backfill"
    done = BACKFILL | {"waiting": 0, "ended": {"completed": 3}, "share_done": 1}
    api.on("POST", path, (202, BACKFILL))
    api.on("GET", path, (200, {"backfills": []}), (200, {"backfills": [done]}))
    command = ("schedules", "backfill", "seo", "sch_1", *RANGE)
    assert run(*command).stdout == "made 3 of 4 fires, 1 were there\n"
    assert run(*command).stdout.startswith(
        "nothing new: this backfill of 2026-01-03T00:00:00Z made 3"
    )
    assert api.last().body == {"start": RANGE[1], "end": RANGE[3]}
    result = run("schedules", "backfill", "seo", "sch_1", *RANGE, "--wait")
    assert "ended: 3 completed" in result.stdout
    assert result.exit_code == 0


def test_a_dry_backfill_counts_and_a_stopped_one_says_at_which_limit(
    api: FakeApi, run: Run
) -> None:
    api.on("GET", "/workspaces/seo/schedules/sch_1/backfill", (200, {"backfills": []}))
    hit = {"mechanism": "queue_depth", "limit_count": 9, "setting": "TURNKEEPER_QUEUE_DEPTH_MAX"}
    api.on("POST", "/workspaces/seo/schedules/sch_1/backfill", (202, BACKFILL | {"stopped": hit}))
    command = ("schedules", "backfill", "seo", "sch_1", *RANGE)
    assert run(*command, "--dry-run").stdout == "would make 3 of 4 fires\n"
    assert api.last().body["dry_run"] is True
    assert "stopped at 9 by TURNKEEPER_QUEUE_DEPTH_MAX: repeat it" in run(*command).stdout
