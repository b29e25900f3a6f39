"""``turnkeeper schedules import|export|explain|forecast``, and what a change says of the need."""

import json
from typing import Any

from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_api import FakeApi

BASE = "/workspaces/seo/schedules"
LINE = {
    "line": 1, "action": "create", "name": "tick", "schedule_id": None, "cron_expr": "@daily",
    "timezone": "UTC", "words": "At 00:00 every day (UTC)", "next": ["2026-01-01T00:00:00.000Z"],
    "changed": [], "field": "", "rule": "",
}  # fmt: skip
BAD = {**LINE, "line": 2, "action": "error", "cron_expr": "", "next": [], "words": "",
       "field": "minute", "rule": "'61' is not a valid minute (0-59)"}  # fmt: skip
NEED = {"share_percent": 140.0, "sentence": "The workspace needs 140 % of its slot.",
        "advice": ["tick: ceiling_s 1800 or less"]}  # fmt: skip


def plans(api: FakeApi, *lines: dict[str, Any]) -> None:
    passed = [{"line": 9, "text": "SHELL is passed over"}]
    said = {"lines": list(lines), "passed": passed, "forecast": NEED["sentence"]}
    body = {"dry_run": True, **said}
    api.on("POST", f"{BASE}/import", (200, body), (200, {**body, "dry_run": False}))


def test_a_crontab_is_planned_and_then_made(api: FakeApi, run: Run) -> None:
    plans(api, LINE)
    result = run("schedules", "import", "seo", "-", stdin="@daily go")
    assert result.exit_code == 0
    assert "At 00:00 every day" in result.stdout and "needs 140 %" in result.stdout
    assert "line 9: SHELL" in result.stderr
    assert [one.body.get("dry_run") for one in api.asked] == [True, None]
    assert api.last().body == {"crontab": "@daily go", "skip_bad": False}


def test_a_dry_run_only_plans(api: FakeApi, run: Run) -> None:
    plans(api, LINE)
    result = run("schedules", "import", "seo", "-", "--dry-run", stdin="@daily go")
    assert "nothing was changed" in result.stderr
    assert len(api.asked) == 1


def test_a_bad_line_stops_all_unless_it_is_to_be_passed_over(api: FakeApi, run: Run) -> None:
    plans(api, LINE, BAD)
    result = run("schedules", "import", "seo", "-", stdin="x")
    assert result.exit_code == 4
    assert "line 2: minute: '61' is not a valid minute" in result.stderr
    assert len(api.asked) == 1
    plans(api, LINE, BAD)
    command = ("schedules", "import", "seo", "-", "--skip-bad", "--prompt-template", "Do {command}")
    assert run(*command, stdin="x").exit_code == 0
    assert api.last().body["prompt_template"] == "Do {command}"


def test_a_crontab_is_written_as_text_or_whole(api: FakeApi, run: Run) -> None:
    api.on("GET", f"{BASE}/export", (200, {"crontab": "# tick\n@daily go\x1b\n"}))
    assert run("schedules", "export", "seo").stdout == "# tick\n@daily go\\x1b\n"
    api.on("GET", BASE, (200, {"schedules": [{"id": "sch_1", "ceiling_s": 5}]}))
    shown = run("schedules", "export", "seo", "-o", "json").stdout
    assert json.loads(shown)["schedules"][0]["ceiling_s"] == 5


def test_an_expression_is_explained_without_a_workspace(api: FakeApi, run: Run) -> None:
    answer = {"description": "At 09:00 (Europe/Berlin)", "next": ["2026-01-01T08:00:00.000Z"]}
    api.on("GET", "/cron/explain", (200, answer))
    result = run("schedules", "explain", "0 9 * * *", "--tz", "Europe/Berlin", "--count", "1")
    assert result.stdout == "At 09:00 (Europe/Berlin)\n2026-01-01T08:00:00.000Z\n"
    assert api.last().query == {
        "expr": ["0 9 * * *"], "timezone": ["Europe/Berlin"], "count": ["1"]
    }  # fmt: skip


def test_the_need_is_shown_by_the_list_and_after_a_change(api: FakeApi, run: Run) -> None:
    row = {"id": "sch_1", "name": "tick", "forecast": NEED}
    api.on("GET", BASE, (200, {"schedules": [row, {"id": "sch_2", "forecast": None}]}))
    listed = run("schedules", "ls", "seo").stdout
    assert "140 %" in listed and listed.endswith("The workspace needs 140 % of its slot.\n")
    assert json.loads(run("schedules", "ls", "seo", "-o", "json").stdout)[0] == row
    api.on("POST", BASE, (201, row))
    api.on("PATCH", f"{BASE}/sch_1", (200, row))
    add = ("schedules", "add", "seo", "--name", "n", "--cron", "@daily", "--prompt", "p")
    for command in (add, ("schedules", "set", "seo", "sch_1", "--cron", "@hourly")):
        told = run(*command).stderr
        assert "needs 140 %" in told and "ceiling_s 1800 or less" in told


def test_the_forecast_is_a_table_with_advice(api: FakeApi, run: Run) -> None:
    part = {"name": "tick", "basis": "history", "fires_per_day": 48.0, "samples": 3,
            "mean_duration_s": 2520.0, "p90_duration_s": 2600.0, "share_percent": 140.0,
            "worst_share_percent": None}  # fmt: skip
    advice = [{"schedule_id": "s", "setting": "schedule.ceiling_s", "text": NEED["advice"][0]}]
    whole = {"schedules": [part], "sentence": NEED["sentence"], "advice": advice}
    api.on("GET", f"{BASE}/forecast", (200, whole))
    shown = run("schedules", "forecast", "seo").stdout
    assert "42 min" in shown and "140 %" in shown and "ceiling_s 1800" in shown


def test_a_name_that_two_bear_is_refused_with_both_ids(api: FakeApi, run: Run) -> None:
    rows = [{"id": "sch_2", "name": "twin"}, {"id": "sch_3", "name": "twin"}]
    api.on("GET", BASE, (200, {"schedules": rows}))
    for command in ("run", "pause", "resume", "rm", "preview"):
        result = run("schedules", command, "seo", "twin")
        assert result.exit_code == 4
        assert "sch_2, sch_3" in result.stderr and "2 schedules are named twin" in result.stderr
