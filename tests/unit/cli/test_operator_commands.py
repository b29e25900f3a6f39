"""``top``, ``doctor``, ``login``, the ledger's commands, names, profiles, errors."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from app.cli.completion import VARIABLE
from app.cli.main import main
from app.cli.top import cells
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_api import TOKEN, FakeApi, problem

SESSION = {"id": "ses_1", "turn_id": "trn_1", "state": "running", "schedule": "tick",
           "age_s": 21_480.0, "ceiling_s": 3600.0, "heartbeat_age_s": 4.0,
           "progress_age_s": 60.0}  # fmt: skip
ROW: dict[str, Any] = {
    "id": "seo", "name": "SEO Agent", "status": "online", "live_sessions": 1, "max_concurrent": 1,
    "sessions": [SESSION], "heartbeat_age_s": 4.0, "waiting": 12, "waiting_by_lane": {"info": 12},
    "waiting_fires": 12, "oldest_wait_s": 19_800.0, "policy": None,
    "next_fire_at": "2026-01-01T12:30:00Z", "dead_letters": 0,
}  # fmt: skip
ITEM = {"workspace_id": "seo", "name": "SEO Agent", "severity": "critical", "mechanism": "x",
        "sentence": "SEO Agent: one session for 5 h 58 min.", "conditions": []}  # fmt: skip
FLEET = {"at": "2026-01-01T12:00:00Z", "total": 3, "attention": [ITEM], "workspaces": [ROW]}
CHECK = {"name": "scheduler", "status": "ok", "detail": "last ran 1 s ago", "next": ""}


def test_top_prints_once_off_a_terminal_attention_first(api: FakeApi, run: Run) -> None:
    api.on("GET", "/fleet", (200, FLEET))
    result = run("top")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[1] == "!! SEO Agent: one session for 5 h 58 min."
    assert "5 h 58 min / 1 h" in lines[3]
    assert "… and 2 more" in lines[-1]
    assert json.loads(run("top", "-o", "json").stdout) == FLEET


def test_a_row_without_a_session_or_a_heartbeat_has_no_clocks() -> None:
    row = ROW | {"sessions": [], "heartbeat_age_s": None, "waiting": 0, "next_fire_at": None}
    assert cells(row)[3:8] == ["-", "never", "-", "0", "-"]


@pytest.mark.parametrize(("status", "exit_code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_doctor_fails_where_a_check_does(
    api: FakeApi, run: Run, status: str, exit_code: int
) -> None:
    check = CHECK | {"status": status, "next": "start the scheduler process"}
    api.on("GET", "/admin/checkup", (200, {"status": status, "checks": [check]}))
    result = run("doctor")
    assert result.exit_code == exit_code
    assert "start the scheduler process" in result.stdout


def test_login_prints_the_whole_address(api: FakeApi, run: Run) -> None:
    link = {"url": "/login?code=c", "absolute_url": "https://tk.example/login?code=c"}
    api.on("POST", "/admin/login-links", (201, link))
    assert run("login").stdout == "https://tk.example/login?code=c\n"
    link["absolute_url"] = link["url"]
    api.on("POST", "/admin/login-links", (201, link))
    said = run("login").stdout
    assert said.startswith("http") and said.endswith("/login?code=c\n")


@pytest.mark.parametrize("command", ["history", "fires"])
def test_the_ledger_is_listed(api: FakeApi, run: Run, command: str) -> None:
    row = {"nominal_at": "2026-01-01T00:00:00Z", "state": "completed", "turn_id": "trn_1",
           "duration_s": 4.0, "attempt": 1, "why": "finish"}  # fmt: skip
    api.on("GET", f"/workspaces/seo/schedules/sch_1/{command}", (200, {command: [row]}))
    assert "trn_1" in run("schedules", command, "seo", "sch_1").stdout


def test_a_paused_schedule_shows_no_next_fire(api: FakeApi, run: Run) -> None:
    row = {"id": "sch_1", "name": "t", "enabled": False, "next_run_at": "2026-01-01T00:00:00Z"}
    api.on("GET", "/workspaces/seo/schedules", (200, {"schedules": [row]}))
    listed = run("schedules", "ls", "seo").stdout
    assert "paused" in listed and "2026" not in listed


def test_a_second_schedule_of_a_name_is_told(api: FakeApi, run: Run) -> None:
    path = "/workspaces/seo/schedules"
    api.on("GET", path, (200, {"schedules": [{"id": "sch_1", "name": "tick"}]}))
    api.on("POST", path, (201, {"id": "sch_2", "name": "tick"}))
    add = ("schedules", "add", "seo", "--cron", "@daily", "--prompt", "p", "--name")
    assert "also named tick: sch_1" in run(*add, "tick").stderr
    assert "also named" not in run(*add, "tock").stderr


def test_a_kind_of_error_that_says_all_is_said_once(api: FakeApi, run: Run) -> None:
    answer = problem(404, "workspace_not_found", "No workspace has this id.")
    answer[1]["title"] = "No workspace has this id."
    api.on("GET", "/workspaces/seo", answer)
    told = run("workspaces", "show", "seo").stderr
    assert told.count("No workspace has this id") == 1
    assert "next: turnkeeper workspaces ls" in told


def test_waiting_with_a_token_that_only_sends_says_what_was_sent(api: FakeApi, run: Run) -> None:
    queued = {"queued": True, "queue_id": "trn_1", "queue_depth": 1, "message": "queued"}
    api.on("POST", "/workspaces/seo/a2a", (202, queued))
    api.on("GET", "/workspaces/seo/turns/trn_1", problem(403, "forbidden", "no"))
    result = run("send", "seo", "hi", "--wait")
    assert result.exit_code == 4
    assert "trn_1 is queued, but this token may not read" in result.stderr


def test_fields_of_a_field_stand_below_one_another(api: FakeApi, run: Run) -> None:
    row = {"id": "ses_1", "seen": {"prompt": {"version": 7}}, "empty": {}}
    api.on("GET", "/workspaces/seo/sessions/ses_1", (200, row))
    lines = run("sessions", "show", "seo", "ses_1").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["id", "ses_1"],
        ["seen.prompt.version", "7"],
        ["empty", "{}"],
    ]


def completions(api: FakeApi, *words: str) -> list[str]:
    class Typed(ShellComplete):
        name = "typed"

    shell = Typed(main, {}, "turnkeeper", VARIABLE)
    before = dict(os.environ)
    os.environ.update({"TURNKEEPER_URL": api.url, "TURNKEEPER_TOKEN": TOKEN})
    try:
        return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_names_of_workspaces_and_schedules_are_completed(api: FakeApi) -> None:
    api.on("GET", "/workspaces", (200, {"workspaces": [{"id": "seo"}, {"id": "sales"}]}))
    rows = [{"id": "sch_1", "name": "tick"}]
    api.on("GET", "/workspaces/seo/schedules", (200, {"schedules": rows}))
    assert completions(api, "send", "se") == ["seo"]
    assert completions(api, "run", "-w", "") == ["seo", "sales"]
    assert completions(api, "schedules", "run", "seo", "") == ["tick", "sch_1"]
    api.on("GET", "/workspaces", problem(503, "store_unavailable", "no"))
    assert completions(api, "send", "se") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_completion(run: Run, shell: str) -> None:
    assert VARIABLE in run("completion", shell).stdout


@pytest.fixture
def profiles(api: FakeApi, tmp_path: Path) -> Path:
    folder = tmp_path / "turnkeeper"
    folder.mkdir()
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "profiles.toml").write_text(
        f'[lab]\nurl = "{api.url}/"\ntoken_file = "token"\n[bare]\nurl = "{api.url}"\n'
        "[odd]\nport = 1\n"
    )
    api.on("GET", "/workspaces", (200, {"workspaces": []}))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "env", "exit_code"),
    [
        (["--profile", "lab"], {}, 0),
        ([], {"TURNKEEPER_PROFILE": "lab"}, 0),
        # On the command line it wins over the environment.
        (["--profile", "lab"], {"TURNKEEPER_URL": "http://127.0.0.1:1"}, 0),
        ([], {"TURNKEEPER_PROFILE": "lab", "TURNKEEPER_URL": "http://127.0.0.1:1"}, 5),
        # A token of another platform is not shown to the profile's.
        (["--profile", "bare"], {"TURNKEEPER_TOKEN": TOKEN}, 4),
        (["--profile", "bare", "--token", TOKEN], {}, 0),
        (["--profile", "none"], {}, 2),
        (["--profile", "odd"], {}, 2),
    ],
)
def test_a_profile_says_where_and_with_which_token(
    profiles: Path, arguments: list[str], env: dict[str, str], exit_code: int
) -> None:
    given = {"XDG_CONFIG_HOME": str(profiles), **env}
    result = CliRunner().invoke(main, [*arguments, "workspaces", "ls"], env=given)
    assert result.exit_code == exit_code, result.output


def test_an_address_beside_a_profile_never_gets_its_token(profiles: Path, api: FakeApi) -> None:
    env = {"XDG_CONFIG_HOME": str(profiles)}
    other = api.url.replace("127.0.0.1", "localhost")
    arguments = ["--profile", "lab", "--url", other, "workspaces", "ls"]
    result = CliRunner().invoke(main, arguments, env=env)
    assert result.exit_code == 4
    assert "Authorization" not in api.last().headers
