"""The hook of Claude Code: silent until a wrap-up is wished, then a word at each tool call."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtime.hook import answer, main
from runtime.settings import process_environ

BEFORE = datetime(2030, 1, 1, 11, 59, tzinfo=UTC)
AFTER = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def control(tmp_path: Path) -> str:
    wish = {"action": "checkpoint", "deadline_at": "2030-01-01T12:00:00Z", "reason": "ceiling"}
    (tmp_path / "control.json").write_text(json.dumps(wish))
    return str(tmp_path / "control.json")


def test_nothing_is_said_while_nothing_is_wished(tmp_path: Path) -> None:
    assert answer("PostToolUse", str(tmp_path / "none"), BEFORE) == {}
    assert answer("PostToolUse", "", BEFORE) == {}
    (tmp_path / "c").write_text('{"action": "dance"}')
    assert answer("PostToolUse", str(tmp_path / "c"), BEFORE) == {}


def test_the_model_is_told_in_full_once_and_reminded_after(control: str) -> None:
    assert answer("PreToolUse", control, BEFORE) == {}
    first = answer("PostToolUse", control, BEFORE)["hookSpecificOutput"]
    assert first["hookEventName"] == "PostToolUse"
    assert "WRAP-UP now (ceiling)" in first["additionalContext"]
    assert "2030-01-01T12:00:00Z" in first["additionalContext"]
    again = answer("PostToolUse", control, BEFORE)["hookSpecificOutput"]["additionalContext"]
    assert len(again) < len(first["additionalContext"]) / 2
    assert "WRAP-UP" in answer("Notification", control, BEFORE)["systemMessage"]


def test_past_the_deadline_the_agent_is_stopped_before_its_next_step(control: str) -> None:
    assert answer("PreToolUse", control, AFTER) == {}
    for event in ("PostToolUse", "PostToolUseFailure"):
        assert answer(event, control, AFTER)["continue"] is False
        assert "12:00:00Z" in answer(event, control, AFTER)["stopReason"]


def test_a_stopping_agent_is_let_go(control: str) -> None:
    for event in ("Stop", "SubagentStop"):
        assert answer(event, control, BEFORE) == answer(event, control, AFTER) == {}


@pytest.mark.parametrize("data", [b"", b"[]", b"not json", b'{"hook_event_name": "PostToolUse"}'])
@pytest.mark.parametrize("text", [None, "{half", "[]", '{"action": "checkpoint"}'])
def test_the_command_never_breaks_the_agent(data: bytes, text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    if text is not None:
        file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "runtime.hook"],
        input=data,
        capture_output=True,
        env={**process_environ(), "TURNKEEPER_CONTROL_FILE": str(file)},
        check=False,
        timeout=10,
    )
    assert done.returncode == 0
    assert done.stdout == b"" or json.loads(done.stdout)


def test_it_runs_as_a_bare_file_without_the_package() -> None:
    file = sys.modules[main.__module__].__file__
    assert file is not None
    argv = [sys.executable, "-S", "-E", "-X", "importtime", file]
    done = subprocess.run(argv, input=b"{}", capture_output=True, check=True, timeout=10)
    assert done.stdout == b""
    imported = done.stderr.decode()
    assert "runtime" not in imported
    assert "structlog" not in imported
