"""The kind ``codex``, against a scripted command that behaves as the real one was measured to."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime.agents.base import Command, Resume
from runtime.agents.codex import CodexAgent, completed
from runtime.rings import Line
from runtime.settings import RuntimeSettings
from runtime.wire import parse_turn

from .conftest import Start
from .fake_codex import THREAD
from .fake_platform import FakePlatform, Json, wait_until

PY = sys.executable
FAKE = str(Path(__file__).with_name("fake_codex.py"))


@pytest.fixture
def settings(settings: RuntimeSettings, tmp_path: Path) -> RuntimeSettings:
    environ = {**settings.child_environ, "FAKE_ARGV": str(tmp_path / "argv")}
    return replace(settings, child_environ=environ)


@pytest.fixture
def codex(start: Start) -> Callable[..., Any]:
    return partial(start, PY, FAKE, "exec", "{prompt}", agent="codex")


def finish(platform: FakePlatform, prompt: str, **fields: Any) -> Json:
    return platform.finish_of(platform.offer(prompt, **fields))


def told_of(platform: FakePlatform) -> list[tuple[str, str | None]]:
    return [(one["kind"], one.get("tool") or one.get("text")) for one in platform.of("progress")]


def test_the_last_message_is_the_answer_and_usage_and_thread_are_reported(
    platform: FakePlatform, codex: Any
) -> None:
    codex()
    report = finish(platform, "answer")
    assert (report["outcome"], report["exit_code"], report["limits"]) == ("completed", 0, [])
    assert report["result"] == {
        "text": "the answer",
        "usage": {"input_tokens": 100, "output_tokens": 20},
        "agent_session_id": THREAD,
    }


def test_items_become_tool_events_in_pairs(
    platform: FakePlatform, codex: Any, tmp_path: Path
) -> None:
    codex(output_interval_s=0.05)
    session_id = platform.offer(f"uses_tools {tmp_path}/go")
    wait_until(lambda: ("text", "last words") in told_of(platform))
    (tmp_path / "go").touch()
    assert platform.finish_of(session_id)["result"]["text"] == "last words"
    assert told_of(platform) == [
        ("output", None),
        ("tool_start", "command_execution"),
        ("tool_end", "command_execution"),
        ("tool_start", "file_change"),
        ("tool_end", "file_change"),
        ("tool_start", "mcp__a2a__recall_memory"),
        ("tool_end", "mcp__a2a__recall_memory"),
        ("text", "first words"),
        ("text", "last words"),
    ]


def test_turn_failed_fails_and_an_error_that_was_mended_does_not(
    platform: FakePlatform, codex: Any
) -> None:
    codex()
    error = finish(platform, "failed")["error"]
    assert error == {"code": "agent_error", "message": "the model says no", "exit_code": 1}
    assert finish(platform, "mended")["outcome"] == "completed"
    report = finish(platform, "error_only")
    assert (report["outcome"], report["error"]["message"]) == ("failed", "stream disconnected")


def test_a_cancel_without_a_final_event_is_canceled(platform: FakePlatform, codex: Any) -> None:
    codex(output_interval_s=0.05, kill_grace_s=5.0)
    session_id = platform.offer("interrupted")
    wait_until(lambda: ("tool_start", "command_execution") in told_of(platform))
    platform.direct("terminate", session_id, reason="overlap")
    report = platform.finish_of(session_id)
    assert (report["outcome"], report["error"]["code"]) == ("canceled", "terminated")
    (ladder,) = report["limits"]
    assert ladder["mechanism"] == "terminate"
    assert {one["signal"] for one in ladder["signaled"]} == {"SIGKILL"}


def test_a_final_message_after_the_wrap_up_is_the_checkpoint(
    platform: FakePlatform, codex: Any
) -> None:
    codex(output_interval_s=0.05)
    session_id = platform.offer("wraps_up")
    wait_until(lambda: ("tool_start", "command_execution") in told_of(platform))
    platform.direct("checkpoint", session_id)
    report = platform.finish_of(session_id)
    assert report["outcome"] == "yielded"
    assert report["checkpoint"] == {"summary": "half done", "next_step": "", "artifacts": []}


def test_lines_that_are_no_events_are_counted_and_wedge_nothing(
    platform: FakePlatform, codex: Any
) -> None:
    codex()
    report = finish(platform, "malformed")
    assert report["outcome"] == "completed"
    assert report["limits"] == [{"mechanism": "malformed_lines", "count": 3}]


def test_a_long_prompt_and_one_like_an_option_go_by_stdin_which_is_closed(
    platform: FakePlatform, codex: Any, tmp_path: Path
) -> None:
    codex()
    for prompt in ("echo " + "é" * 60_000, "echo nul\0byte"):
        assert finish(platform, prompt)["result"]["text"] == prompt
    turn = parse_turn({"turn_id": "t", "session_id": "s", "fence": 1, "prompt": "--help"})
    launch = CodexAgent(Command(("codex", "exec", "{prompt}"))).launch(turn, "/f", None)
    assert (launch.argv, launch.stdin) == (("codex", "exec", "--json", "-"), b"--help")
    argvs = [json.loads(line) for line in (tmp_path / "argv").read_text().splitlines()]
    assert [argv[2] for argv in argvs] == ["-", "-"]


def test_a_chat_resumes_its_thread_and_its_usage_counts_from_there(
    platform: FakePlatform, codex: Any, tmp_path: Path
) -> None:
    codex(resumes_chat=True)
    finish(platform, "answer", context_id="ctx")
    report = finish(platform, "answer", context_id="ctx")
    assert report["result"]["usage"] == {"input_tokens": 200, "output_tokens": 40}
    argv = json.loads((tmp_path / "argv").read_text().splitlines()[-1])
    assert argv == ["exec", "--json", "resume", THREAD, "answer", "answer"]
    lost = finish(platform, "echo gone", context_id="ctx")
    assert lost["result"]["text"] == "echo gone"


def test_a_fire_resumes_its_schedules_thread_where_the_schedule_says_so(
    platform: FakePlatform, codex: Any, tmp_path: Path
) -> None:
    codex()
    for mode in ("resume", "resume", "fresh"):
        finish(platform, "answer", origin="cron", schedule_id="sch_1", session_mode=mode)
    argvs = [json.loads(line) for line in (tmp_path / "argv").read_text().splitlines()]
    assert ["resume" in argv for argv in argvs] == [False, True, False]


def test_the_usage_of_a_chat_is_kept_through_a_turn_that_did_not_say_it() -> None:
    turn = parse_turn({"turn_id": "t", "session_id": "s", "fence": 1, "prompt": "p"})
    agent = CodexAgent(Command(("codex", "exec")))
    assert agent.chat is None
    agent.launch(turn, "/f", Resume(THREAD, {"input_tokens": 100}))
    line = json.dumps({"type": "thread.started", "thread_id": THREAD})
    agent.on_line(Line(line, len(line), False))
    assert agent.chat == Resume(THREAD, {"input_tokens": 100})


def test_what_is_missing_of_the_command_is_added_and_what_is_there_stays() -> None:
    assert completed(["codex"], None) == ["codex", "exec", "--json"]
    assert completed(["/bin/codex", "-m", "x"], None) == ["/bin/codex", "exec", "-m", "x", "--json"]
    hooked = completed(["codex", "exec", "--dangerously-bypass-hook-trust"], Resume("id"))
    assert hooked[3:5] == ["--json", "-c"]
    assert hooked[5].startswith("hooks.PostToolUse=")
    assert hooked[6:] == ["resume", "id"]
    own = ["env", "A=1", "codex", "exec", "--json", "resume", "mine"]
    assert completed(own, Resume("other")) == own
