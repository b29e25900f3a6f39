"""Forecast, cron in words and crontabs over HTTP: shapes, all or nothing, twice the same."""

from typing import Any

import pytest

from tests.unit.api.test_routes import asked
from tests.unit.api.web import Web

BASE = "/workspaces/w1/schedules"
CRONTAB = """\
MAILTO=me
# seo-tick
# one piece of work
*/30 * * * * Do one bounded piece of work.
CRON_TZ=Europe/Berlin
0 9 * * 1-5 Greet the team.
"""


def imported(site: Web, text: str, **fields: Any) -> Any:
    return asked(site, "POST", f"{BASE}/import", {"crontab": text, **fields})


def actions(answer: Any) -> list[str]:
    return [row["action"] for row in answer["lines"]]


def rows(site: Web) -> dict[str, Any]:
    return {row["name"]: row for row in asked(site, "GET", BASE)["schedules"]}


def test_a_crontab_is_shown_then_made_and_the_same_again_changes_nothing(site: Web) -> None:
    site.workspace()
    shown = imported(site, CRONTAB, dry_run=True)
    assert (shown["dry_run"], actions(shown), rows(site)) == (True, ["create", "create"], {})
    assert [row["text"].split()[0] for row in shown["passed"]] == ["MAILTO"]
    first = shown["lines"][0]
    assert (first["line"], first["name"], len(first["next"])) == (4, "seo-tick", 3)
    assert first["words"] == "At every 30th minute (UTC)" or "30" in first["words"]
    made = imported(site, CRONTAB)
    assert actions(made) == ["create", "create"]
    before = rows(site)
    assert before["seo-tick"]["id"] == made["lines"][0]["schedule_id"]
    assert before["seo-tick"]["notes"] == "one piece of work"
    assert before["Greet the team."]["timezone"] == "Europe/Berlin"
    again = imported(site, CRONTAB)
    assert actions(again) == ["unchanged", "unchanged"]
    assert rows(site) == before
    assert again["forecast"].startswith("The workspace needs at most")


def test_a_changed_line_changes_its_schedule_and_leaves_what_it_does_not_say(site: Web) -> None:
    site.workspace()
    imported(site, CRONTAB)
    tick = rows(site)["seo-tick"]
    path = f"{BASE}/{tick['id']}"
    asked(site, "PATCH", path, {"ceiling_s": 60, "overlap_policy": "skip"})
    asked(site, "POST", f"{path}/pause", {"reason": "night"})
    answer = imported(site, CRONTAB.replace("*/30 *", "*/20 *"))
    assert actions(answer) == ["update", "unchanged"]
    assert answer["lines"][0]["changed"] == ["cron_expr"]
    after = rows(site)["seo-tick"]
    assert (after["cron_expr"], after["ceiling_s"], after["overlap_policy"], after["enabled"]) == (
        "*/20 * * * *",
        60,
        "skip",
        False,
    )
    assert after["paused_reason"] == "night"


def test_one_bad_line_stops_all_unless_asked_otherwise(site: Web) -> None:
    site.workspace()
    text = CRONTAB + "61 * * * * no\n@reboot no\n0 0 30 2 * no\n"
    refused = site.ask("POST", f"{BASE}/import", {"crontab": text})
    assert refused.status_code == 422
    assert [(row["field"], row["rule"].split(" (")[0]) for row in refused.get_json()["errors"]] == [
        ("crontab line 7: minute", "'61' is not a valid minute"),
        ("crontab line 8: cron_expr", refused.get_json()["errors"][1]["rule"]),
        ("crontab line 9: cron_expr", "never fires: no day 30 in month 2"),
    ]
    assert rows(site) == {}
    shown = imported(site, text, dry_run=True)
    assert actions(shown) == ["create", "create", "error", "error", "error"]
    assert actions(imported(site, text, skip_bad=True)) == actions(shown)
    assert len(rows(site)) == 2


def test_a_name_that_two_schedules_bear_is_refused_with_both_ids(fake: Web) -> None:
    fake.workspace()
    ids = [fake.schedule("w1", name="seo-tick") for _ in range(2)]
    refused = fake.ask("POST", f"{BASE}/import", {"crontab": CRONTAB}).get_json()
    assert refused["errors"][0]["field"] == "crontab line 4: name"
    assert all(one in refused["errors"][0]["rule"] for one in ids)


def test_a_template_wraps_each_command_and_must_name_it(fake: Web) -> None:
    fake.workspace()
    imported(fake, "@daily go", prompt_template="Run {command} now")
    assert rows(fake)["go"]["prompt"] == "Run go now"
    body = {"crontab": "@daily go", "prompt_template": "Run"}
    assert "{command}" in fake.ask("POST", f"{BASE}/import", body).get_json()["detail"]


def test_a_crontab_is_written_and_read_back_unchanged(fake: Web) -> None:
    fake.workspace()
    imported(fake, CRONTAB)
    asked(fake, "POST", BASE, {"name": "two", "cron_expr": "@daily", "prompt": "a 50 %\nb"})
    text = asked(fake, "GET", f"{BASE}/export")["crontab"]
    assert actions(imported(fake, text)) == ["unchanged"] * 3


def test_a_schedule_shows_what_it_and_its_workspace_need(site: Web) -> None:
    site.workspace()
    body = {"name": "tick", "cron_expr": "*/30 * * * *", "prompt": "go", "ceiling_s": 2700}
    made = asked(site, "POST", BASE, body)
    need = made["forecast"]
    assert (need["basis"], need["fires_per_day"], need["share_percent"]) == ("ceiling", 48, 150)
    assert "needs at most 150 % of its slot" in need["sentence"]
    assert any("ceiling_s 1800 or less" in text for text in need["advice"])
    slower = asked(site, "PATCH", f"{BASE}/{made['id']}", {"cron_expr": "@hourly"})["forecast"]
    assert (slower["share_percent"], slower["advice"]) == (75, [])
    whole = asked(site, "GET", f"{BASE}/forecast")
    assert (whole["share_percent"], whole["is_over"], whole["slots"]) == (75, False, 1)
    assert whole["schedules"][0]["name"] == "tick"
    paused = asked(site, "POST", f"{BASE}/{made['id']}/pause", {"reason": ""})
    assert paused["forecast"] is None
    assert asked(site, "GET", f"{BASE}/forecast")["schedules"] == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("expr=*/30 * * * *", "30"),
        ("expr=@daily&timezone=Asia/Tokyo&count=2", "At 00:00 every day (Asia/Tokyo)"),
    ],
)
def test_an_expression_is_explained(fake: Web, query: str, words: str) -> None:
    found = asked(fake, "GET", f"/cron/explain?{query}")
    assert words in found["description"]
    assert len(found["next"]) == (2 if "count" in query else 5)


def test_a_bad_expression_is_refused_by_name(fake: Web) -> None:
    for query, field in (("expr=61 * * * *", "cron_expr"), ("expr=@daily&timezone=X", "timezone")):
        answer = fake.ask("GET", f"/cron/explain?{query}")
        assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, field)


def test_an_impossible_date_is_refused_at_create(fake: Web) -> None:
    fake.workspace()
    for expr, rule in (("0 0 31 2 *", "never fires"), ("* * * * * *", "not 6 fields")):
        body = {"name": "n", "cron_expr": expr, "prompt": "p"}
        assert rule in fake.ask("POST", BASE, body).get_json()["detail"]
