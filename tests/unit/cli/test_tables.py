"""Tables in a terminal of 80 columns: no longer line, no folded id, what is left out is said."""

import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from app.cli import connection
from app.cli.tables import Column, fitting, widths
from tests.unit.cli.fake_api import TOKEN, FakeApi

COMMAND = Path(sys.executable).parent / "turnkeeper"
WIDTH = 80
ID = "ses_01KAKZ9M2TB4X8T2Q6GJ5R7W3V"
AT = "2026-11-21T18:00:37.123Z"
SESSION = {
    "id": ID,
    "turn_id": ID.replace("ses", "trn"),
    "state": "checkpointing",
    "fence": 1204,
    "started_at": AT,
    "age_s": 21_480.0,
    "ceiling_at": AT,
    "mechanism": "idle_timeout",
}
TURN = {
    "id": ID,
    "state": "input_required",
    "lane": "urgent",
    "origin": "schedule",
    "attempt": 3,
    "accepted_at": AT,
    "ended_at": AT,
    "mechanism": "delivery_failed",
    "workspace_id": "seo-agent",
    "schedule_id": ID,
}
WORKSPACE = {
    "id": "seo-agent",
    "name": "SEO Agent of the shop",
    "status": "degraded",
    "live_sessions": 1,
    "max_concurrent": 1,
    "waiting": 1200,
    "oldest_wait_s": 21_480.0,
    "current_task": "writes the third article of a long series on winter tyres",
}
SCHEDULE = {
    "id": ID,
    "name": "nightly report",
    "cron_expr": "*/30 8-18 * * 1-5",
    "enabled": True,
    "timezone": "Europe/Berlin",
    "next_run_at": AT,
    "run_count": 1200,
    "last_status": "force_idled",
    "paused_reason": "until the fair is over",
}
FIRE = {
    "nominal_at": AT,
    "state": "force_idled",
    "turn_id": ID,
    "duration_s": 1800.0,
    "attempt": 1,
    "why": "mechanism ceiling: 1800 s of 1800 s",
}
HEALTH = {
    "name": "nightly report",
    "status": "never_run",
    "enabled": True,
    "interval_s": 86_400.0,
    "last_fire_at": AT,
    "last_state": "force_idled",
    "waiting_fires": 12,
}
NEED = {
    "name": "nightly report",
    "basis": "sessions",
    "fires_per_day": 48,
    "samples": 120,
    "mean_duration_s": 1800.0,
    "p90_duration_s": 2400.0,
    "share_percent": 140.0,
    "worst_share_percent": 200.0,
}
MEMORY = {
    "id": ID,
    "scope": "GLOBAL",
    "namespace": "default",
    "key": "prices",
    "version": 3,
    "at": AT,
    "author": "ada",
    "content": "No posts about prices, " * 8,
}
STORED_TOKEN = {
    "id": ID,
    "name": "ci of the shop",
    "prefix": "tk_abcdef",
    "scopes": ["read", "send"],
    "workspaces": ["seo-agent"],
    "teams": ["content"],
    "created_at": AT,
    "expires_at": AT,
}
WEBHOOK = {
    "id": ID,
    "url": "https://hooks.example.com/turnkeeper/of/the/shop/and/its/friends",
    "events": ["AGENT_MESSAGE"],
    "workspaces": ["*"],
    "enabled": False,
    "disabled_reason": "failed 16 times",
    "last_delivered_at": AT,
}
DELIVERY = {
    "at": AT,
    "workspace_id": "seo-agent",
    "event": "SESSION_CHECKPOINT_REQUESTED",
    "event_id": "1795261650654-0",
    "outcome": "disabled",
    "attempt": 16,
    "status": 503,
    "duration_s": 0.2,
    "code": "unreachable",
}
RUN = {
    "id": ID,
    "state": "running",
    "settled": 12,
    "total": 1200,
    "good": 10,
    "bad": 2,
    "reason": "",
}
CHECK = {
    "name": "scheduler",
    "status": "fail",
    "detail": "last heard 2 h ago, which is longer than 15 s",
    "next": "start the scheduler process: python -m scheduler",
}
LISTS: dict[str, tuple[str, dict[str, Any]]] = {
    "sessions ls seo": ("/workspaces/seo/sessions", {"sessions": [SESSION]}),
    "turns ls seo": ("/workspaces/seo/turns", {"turns": [TURN]}),
    "workspaces ls": ("/workspaces", {"workspaces": [WORKSPACE]}),
    "schedules ls seo": ("/workspaces/seo/schedules", {"schedules": [SCHEDULE]}),
    "schedules fires seo sch_1": ("/workspaces/seo/schedules/sch_1/fires", {"fires": [FIRE]}),
    "schedules health seo": ("/workspaces/seo/schedules/health", {"schedules": [HEALTH]}),
    "schedules forecast seo": (
        "/workspaces/seo/schedules/forecast",
        {"sentence": "Fits.", "advice": [], "schedules": [NEED]},
    ),
    "memories ls seo": (
        "/workspaces/seo/memories", {"memories": [MEMORY], "total": 1, "next": None},
    ),
    "tokens ls": ("/admin/tokens", {"tokens": [STORED_TOKEN]}),
    "webhooks ls": ("/admin/webhooks", {"webhooks": [WEBHOOK]}),
    f"webhooks deliveries {ID}": (f"/admin/webhooks/{ID}/deliveries", {"deliveries": [DELIVERY]}),
    "dead ls": ("/admin/dead-letters", {"dead_letters": [TURN], "total": 1, "groups": []}),
    "dead runs": ("/admin/dead-letters/replays", {"runs": [RUN]}),
    "doctor": ("/admin/checkup", {"status": "warn", "checks": [CHECK]}),
    f"sessions show seo {ID}": (f"/workspaces/seo/sessions/{ID}", SESSION),
}  # fmt: skip
# Known by the name in every command, so that the id may be left out.
WITHOUT_ID = {"schedules ls seo", "schedules fires seo sch_1"}


def on_terminal(api: FakeApi, command: str, columns: int) -> list[str]:
    """The lines that a command writes to a terminal of that width."""
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "NO_COLOR": "1"}
    env |= {"TURNKEEPER_URL": api.url, "TURNKEEPER_TOKEN": TOKEN}
    child = pexpect.spawn(
        str(COMMAND), command.split(), env=env, timeout=30,
        dimensions=(50, columns), encoding="utf-8",
    )  # fmt: skip
    said = child.read()
    child.wait()
    child.close()
    assert child.exitstatus == 0, said
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in said.splitlines()]


@pytest.mark.parametrize("command", LISTS)
def test_a_table_fits_80_columns_and_folds_no_id(api: FakeApi, command: str) -> None:
    path, answer = LISTS[command]
    api.on("GET", path, (200, answer))
    lines = on_terminal(api, command, WIDTH)
    table = [line for line in lines if not line.startswith("not shown at this width")]
    assert [line for line in table if len(line) > WIDTH] == []
    said = "\n".join(table)
    cut = [word for word in re.findall(r"(?:ses|trn)_\w*", said) if len(word) != len(ID)]
    assert cut == [], said
    assert ID in said or command in WITHOUT_ID or ID not in str(answer), said


def test_what_is_left_out_is_named_and_a_wide_terminal_has_it(api: FakeApi) -> None:
    api.on("GET", "/workspaces/seo/sessions", (200, {"sessions": [SESSION]}))
    narrow = on_terminal(api, "sessions ls seo", WIDTH)
    assert narrow[-1] == (
        "not shown at this width: turn id, fence, started at, ceiling at (-o json has every field)"
    )
    wide = on_terminal(api, "sessions ls seo", 200)
    assert SESSION["turn_id"] in wide[1] and len(wide) == 2


def test_control_without_spare_columns_a_wide_row_does_not_fit() -> None:
    columns = [Column(name, name, [str(value)]) for name, value in SESSION.items()]
    kept = fitting(columns, (), WIDTH)
    assert sum(widths(kept, WIDTH)) > WIDTH
    assert (
        sum(widths(fitting(columns, ("turn_id", "ceiling_at", "started_at"), WIDTH), WIDTH))
        <= WIDTH
    )


def test_the_widest_text_is_folded_first_and_never_an_id() -> None:
    text, name = Column("content", "content", ["word " * 30]), Column("id", "id", [ID])
    short = Column("scope", "scope", ["GLOBAL"])
    found = widths([name, short, text], WIDTH)
    assert found[:2] == [len(ID), len("GLOBAL")]
    assert sum(found) + 4 == WIDTH
    assert widths([name, text], 40) == [len(ID), 20]


def test_top_fits_80_columns(api: FakeApi) -> None:
    session = SESSION | {"ceiling_s": 3600.0, "heartbeat_age_s": 4.0, "progress_age_s": 4000.0}
    row = WORKSPACE | {
        "sessions": [session], "heartbeat_age_s": 86_000.0, "waiting_fires": 1200,
        "next_fire_at": AT, "dead_letters": 12,
    }  # fmt: skip
    answer = {"at": AT, "total": 1, "attention": [], "workspaces": [row]}
    api.on("GET", "/fleet", (200, answer))
    lines = on_terminal(api, "top --once", WIDTH)
    assert [line for line in lines if len(line) > WIDTH or "…" in line] == []
    assert "5 h 58 min / 1 h" in "\n".join(lines)


def test_every_list_says_which_columns_may_be_left_out() -> None:
    """But the doctor's: its columns are text, which is folded."""
    folder = Path(connection.__file__).parent
    calls = [
        (path.name, len(node.args))
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "show_rows"
    ]
    assert len(calls) >= len(LISTS) - 1
    assert [name for name, count in calls if count < 5] == ["doctor.py"]
