"""``turnkeeper dead`` against a stand-in for the API."""

from typing import Any

from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_api import FakeApi

BASE = "/admin/dead-letters"


def run_row(**fields: Any) -> dict[str, Any]:
    usual = {"id": "rpl_1", "state": "running", "reason": "", "total": 5, "settled": 0, "bad": 0}
    return {**usual, "under_way": [], **fields}


def test_letters_are_listed_by_filter(api: FakeApi, run: Run) -> None:
    rows = [{"workspace_id": "w", "id": "trn_1", "mechanism": "lost"}]
    api.on("GET", BASE, (200, {"dead_letters": rows, "total": 7}))
    result = run("dead", "ls", "--reason", "lost", "--newer-than", "2h")
    assert "trn_1" in result.stdout
    assert "7 in all" in result.stderr
    assert api.last().query == {"reason": ["lost"], "newer_than_s": ["7200.0"], "limit": ["50"]}


def test_a_run_is_followed_to_its_end(api: FakeApi, run: Run) -> None:
    api.on("POST", f"{BASE}/replay", (202, run_row()))
    done = run_row(state="done", settled=5, reason="all seen to")
    api.on("GET", f"{BASE}/replays/rpl_1", (200, done))
    result = run("dead", "replay", "--workspace", "w", "--at-once", "5")
    assert result.exit_code == 0
    assert "done: all seen to" in result.stdout
    assert "0 of 5 ended" in result.stderr
    told = {"workspace_id": "w", "at_once": 5, "stop_after": 3, "dry_run": False}
    assert next(one for one in api.asked if one.method == "POST").body == told


def test_a_run_that_was_stopped_is_a_failure_that_says_why(api: FakeApi, run: Run) -> None:
    stopped = run_row(state="stopped", reason="3 replays in a row ended badly")
    api.on("GET", f"{BASE}/replays/rpl_1", (200, stopped))
    result = run("dead", "watch", "rpl_1")
    assert result.exit_code == 1
    assert "3 replays in a row ended badly" in result.stderr


def test_a_dry_run_only_says_how_many(api: FakeApi, run: Run) -> None:
    api.on("POST", f"{BASE}/replay", (200, run_row(state="planned")))
    assert run("dead", "replay", "--all", "--dry-run").stdout.startswith("5 dead letters would")
    api.on("POST", f"{BASE}/discard", (200, {"discarded": 1000, "left": 5, "dry_run": True}))
    result = run("dead", "discard", "--older-than", "30d", "--dry-run")
    assert result.stdout == "1005 dead letters would be discarded\n"
    assert api.last().body["older_than_s"] == 2_592_000.0


def test_discarding_goes_on_until_none_is_left(api: FakeApi, run: Run) -> None:
    first, last = ({"discarded": n, "left": left, "dry_run": False} for n, left in ((9, 4), (4, 0)))
    api.on("POST", f"{BASE}/discard", (200, first), (200, last))
    assert run("dead", "discard", "--all").stdout == "13 dead letters discarded\n"


def test_which_letters_must_be_said(api: FakeApi, run: Run) -> None:
    for words in (("replay",), ("discard",), ("replay", "w"), ("replay", "w", "t", "--all")):
        assert run("dead", *words).exit_code == 2, words
    assert api.asked == []


def test_a_run_is_stopped_and_runs_are_listed(api: FakeApi, run: Run) -> None:
    row = run_row(state="canceled", reason="canceled by an operator")
    api.on("POST", f"{BASE}/replays/rpl_1/cancel", (200, row))
    assert "is canceled" in run("dead", "stop", "rpl_1", "--reason", "enough").stdout
    assert api.last().body == {"reason": "enough"}
    api.on("GET", f"{BASE}/replays", (200, {"runs": [row]}))
    assert "rpl_1" in run("dead", "runs").stdout
