"""The kind ``claude``, against a scripted command that behaves as the real one was measured to."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime.agents.base import Command, Resume
from runtime.agents.claude import ClaudeAgent, completed
from runtime.agents.flags import without_place
from runtime.settings import RuntimeSettings
from runtime.wire import parse_turn

from .conftest import Start
from .fake_claude import SESSION
from .fake_platform import FakePlatform, Json, is_alive, wait_until

PY = sys.executable
FAKE = str(Path(__file__).with_name("fake_claude.py"))


@pytest.fixture
def argv_file(tmp_path: Path) -> Path:
    return tmp_path / "argv"


@pytest.fixture
def settings(argv_file: Path, settings: RuntimeSettings) -> RuntimeSettings:
    environ = {**settings.child_environ, "FAKE_ARGV": str(argv_file)}
    return replace(settings, child_environ=environ)


@pytest.fixture
def claude(start: Start) -> Callable[..., Any]:
    return partial(start, PY, FAKE, "-p", "{prompt}", agent="claude")


def finish(platform: FakePlatform, prompt: str, timeout_s: float = 8.0, **fields: Any) -> Json:
    return platform.finish_of(platform.offer(prompt, **fields), timeout_s)


def starts(argv_file: Path) -> list[list[str]]:
    return [json.loads(line) for line in argv_file.read_text().splitlines()]


def told_of(platform: FakePlatform) -> list[tuple[str, str | None]]:
    return [(one["kind"], one.get("tool") or one.get("text")) for one in platform.of("progress")]


def test_an_answer_with_its_usage_its_cost_and_its_session(
    platform: FakePlatform, claude: Any
) -> None:
    claude()
    report = finish(platform, "answer")
    assert (report["outcome"], report["exit_code"], report["limits"]) == ("completed", 0, [])
    assert report["result"] == {
        "text": "the answer",
        "usage": {"input_tokens": 100, "output_tokens": 20, "cost_usd": 0.001, "num_turns": 1},
        "agent_session_id": SESSION,
    }


def test_the_prompt_arrives_whole_whatever_is_in_it(platform: FakePlatform, claude: Any) -> None:
    claude()
    prompt = 'echo "quotes"\nlines \0 \u2028 ' + "grüße " * 40_000
    assert finish(platform, prompt)["result"]["text"] == prompt.strip()


def test_tools_and_words_are_reported_as_they_happen(platform: FakePlatform, claude: Any) -> None:
    claude(output_interval_s=0.05)
    session_id = platform.offer("until_wrap_up")
    wait_until(lambda: ("tool_end", "Bash") in told_of(platform))
    assert told_of(platform) == [("tool_start", "Bash"), ("tool_end", "Bash")]
    platform.direct("checkpoint", session_id)
    platform.finish_of(session_id)


def test_a_result_with_is_error_fails_whatever_its_subtype_and_the_exit_status(
    platform: FakePlatform, claude: Any
) -> None:
    claude()
    report = finish(platform, "api_error")
    assert report["outcome"] == "failed"
    assert report["error"] == {"code": "api_error", "message": "API Error: 400 no", "exit_code": 1}
    report = finish(platform, "max_turns")
    assert report["error"]["code"] == "error_max_turns"
    assert report["error"]["message"] == "Reached 3 turns"


def test_without_a_result_the_exit_status_decides(platform: FakePlatform, claude: Any) -> None:
    claude()
    report = finish(platform, "crash")
    assert (report["outcome"], report["error"]["exit_code"]) == ("failed", 9)
    assert report["error"]["stderr"] == "out of memory\n"
    report = finish(platform, "exits_143")
    assert (report["outcome"], report["error"]["exit_code"]) == ("failed", 143)
    report = finish(platform, "no_result")
    assert (report["outcome"], report["result"]["text"]) == ("completed", "nearly")


def test_a_cancel_that_ends_in_an_error_result_and_exit_0_is_canceled(
    platform: FakePlatform, claude: Any
) -> None:
    claude(output_interval_s=0.05, kill_grace_s=5.0)
    session_id = platform.offer("interrupted")
    wait_until(lambda: ("tool_end", "Bash") in told_of(platform))
    platform.direct("cancel", session_id, reason="by the operator")
    report = platform.finish_of(session_id)
    assert (report["outcome"], report["exit_code"]) == ("canceled", 0)
    assert report["error"] == {"code": "canceled", "message": "by the operator"}
    assert report["result"]["agent_session_id"] == SESSION
    (ladder,) = report["limits"]
    assert (ladder["mechanism"], ladder["reason"]) == ("cancel", "by the operator")
    assert [one["signal"] for one in ladder["signaled"]] == ["SIGINT"]
    assert ladder["left"] == []


def test_one_that_ignores_sigint_is_ended_by_sigterm_and_both_are_reported(
    platform: FakePlatform, claude: Any
) -> None:
    claude(output_interval_s=0.05, kill_grace_s=3.0)
    session_id = platform.offer("deaf_to_sigint")
    wait_until(lambda: ("tool_end", "Bash") in told_of(platform))
    platform.direct("cancel", session_id)
    report = platform.finish_of(session_id)
    assert (report["outcome"], report["exit_code"]) == ("canceled", 143)
    (ladder,) = report["limits"]
    assert [one["signal"] for one in ladder["signaled"]] == ["SIGINT", "SIGTERM"]
    assert ladder["limit_s"] == 3
    assert ladder["elapsed_s"] >= 3


def test_one_that_never_exits_after_its_result_is_ended_and_its_outcome_stands(
    platform: FakePlatform, claude: Any
) -> None:
    claude(exit_wait_s=0.3, kill_grace_s=0.1)
    report = finish(platform, "never_exits")
    assert (report["outcome"], report["result"]["text"]) == ("completed", "the answer")
    assert report["exit_code"] == -9
    assert [hit["mechanism"] for hit in report["limits"]] == ["lingers_after_terminal_event"]


def test_a_line_of_two_megabytes_is_skipped_and_reported(
    platform: FakePlatform, claude: Any
) -> None:
    claude()
    report = finish(platform, "long_line")
    assert (report["outcome"], report["result"]["text"]) == ("completed", "the answer")
    hits = {hit["mechanism"]: hit for hit in report["limits"]}
    assert hits["line_length"]["count"] == 1
    assert hits["line_length"]["measured_bytes"] > 2_000_000
    assert hits["line_length"]["setting"] == "TURNKEEPER_LINE_MAX_BYTES"


def test_a_result_too_long_to_read_still_ends_the_turn(platform: FakePlatform, claude: Any) -> None:
    claude()
    report = finish(platform, "long_result")
    assert (report["outcome"], report["result"]["text"]) == ("completed", "short words")
    assert "line_length" in [hit["mechanism"] for hit in report["limits"]]
    assert finish(platform, "long_error")["outcome"] == "failed"


def test_progress_is_bounded_and_the_answer_is_not(platform: FakePlatform, claude: Any) -> None:
    claude(output_interval_s=0.05)
    report = finish(platform, "long_text")
    assert report["result"]["text"] == "w" * 20_000
    assert [hit["mechanism"] for hit in report["limits"]] == ["progress_text"]


def test_characters_split_between_reads_arrive_whole(platform: FakePlatform, claude: Any) -> None:
    claude()
    assert finish(platform, "split")["result"]["text"] == "grüße 漢字 🎏"


def test_lines_that_are_no_events_are_counted_and_wedge_nothing(
    platform: FakePlatform, claude: Any
) -> None:
    claude()
    report = finish(platform, "malformed")
    assert report["outcome"] == "completed"
    assert {"mechanism": "malformed_lines", "count": 5} in report["limits"]


def test_a_tools_orphan_in_its_own_session_is_ended_and_reported(
    platform: FakePlatform, claude: Any
) -> None:
    claude()
    report = finish(platform, "orphan")
    assert report["outcome"] == "completed"
    assert not is_alive(int(report["result"]["text"]))
    (hit,) = report["limits"]
    assert hit["mechanism"] == "leftover_processes"
    assert [one["name"] for one in hit["signaled"]] == ["sleep"]


def test_a_checkpoint_reaches_the_model_and_its_answer_is_the_note(
    platform: FakePlatform, claude: Any
) -> None:
    claude(output_interval_s=0.05)
    session_id = platform.offer("until_wrap_up")
    wait_until(lambda: ("tool_end", "Bash") in told_of(platform))
    platform.direct("checkpoint", session_id, deadline_at="2030-01-01T00:00:00Z", reason="ceiling")
    report = platform.finish_of(session_id)
    assert report["outcome"] == "yielded"
    text = report["result"]["text"]
    assert "WRAP-UP" in text and "2030-01-01T00:00:00Z" in text and "ceiling" in text
    assert report["checkpoint"] == {"summary": text, "next_step": "", "artifacts": []}


def test_an_answer_that_was_finished_before_the_wrap_up_was_read_is_no_checkpoint(
    platform: FakePlatform, claude: Any
) -> None:
    claude(output_interval_s=0.05)
    session_id = platform.offer("late_wrap_up")
    wait_until(lambda: ("text", "the answer") in told_of(platform))
    platform.direct("checkpoint", session_id)
    report = platform.finish_of(session_id)
    assert (report["outcome"], report["result"]["text"]) == ("completed", "the answer")
    assert report["checkpoint"] is None
    assert report["result"]["usage"]["input_tokens"] == 200


@pytest.mark.parametrize(("how", "note"), [("answers", "half done"), ("silent", "working")])
def test_one_that_the_hook_stopped_at_the_deadline_has_yielded(
    platform: FakePlatform, claude: Any, how: str, note: str
) -> None:
    claude(output_interval_s=0.05)
    session_id = platform.offer(f"stopped_by_the_hook {how}")
    wait_until(lambda: ("text", "working") in told_of(platform))
    platform.direct("checkpoint", session_id)
    report = platform.finish_of(session_id)
    assert report["outcome"] == "yielded"
    assert report["checkpoint"]["summary"] == note


def test_a_chat_resumes_by_choice_and_a_cron_turn_is_always_fresh(
    platform: FakePlatform, claude: Any, argv_file: Path
) -> None:
    claude(resumes_chat=True)
    for fields in ({"origin": "chat"}, {"origin": "chat"}, {"origin": "cron"}):
        finish(platform, "answer", context_id="ctx/ü 1", **fields)
    finish(platform, "answer", context_id="ctx/ü 1", origin="chat", schedule_id="sch_1")
    finish(platform, "answer", context_id="another")
    finish(platform, "answer")
    resumed = [argv[-2:] == ["--resume", SESSION] for argv in starts(argv_file)]
    assert resumed == [False, True, False, False, False, False]


def test_a_fire_resumes_its_schedules_last_session_where_the_schedule_says_so(
    platform: FakePlatform, claude: Any, argv_file: Path
) -> None:
    claude()
    for schedule_id, mode in [
        *(("sch_1", "resume"), ("sch_1", "resume"), ("sch_2", "resume")),
        *(("sch_1", "fresh"), ("sch_1", None), ("sch_1", "resume")),
    ]:
        finish(platform, "answer", origin="cron", schedule_id=schedule_id, session_mode=mode)
    resumed = ["--resume" in argv for argv in starts(argv_file)]
    assert resumed == [False, True, False, False, False, True]


def test_a_chat_is_not_resumed_without_the_choice(
    platform: FakePlatform, claude: Any, argv_file: Path, tmp_path: Path
) -> None:
    claude()
    for _ in range(2):
        finish(platform, "answer", context_id="ctx")
    assert not any("--resume" in argv for argv in starts(argv_file))
    assert not (tmp_path / "state").exists()


def test_a_chat_that_the_agent_lost_is_begun_afresh_in_the_same_turn(
    platform: FakePlatform, claude: Any, argv_file: Path
) -> None:
    claude(resumes_chat=True)
    finish(platform, "answer", context_id="ctx")
    report = finish(platform, "echo gone", context_id="ctx")
    assert (report["outcome"], report["result"]["text"]) == ("completed", "echo gone")
    assert ["--resume" in argv for argv in starts(argv_file)] == [False, True, False]


def test_what_is_missing_of_the_command_is_added_and_what_is_there_stays() -> None:
    bare = completed(["claude"], None)
    assert bare[:7] == [
        *("claude", "-p", "--output-format", "stream-json"),
        *("--verbose", "--input-format", "stream-json"),
    ]
    hooks = json.loads(bare[bare.index("--settings") + 1])["hooks"]
    assert set(hooks) == {"PostToolUse", "PostToolUseFailure"}
    own = ["claude", "--print", "--output-format=json", "--settings", "{}", "-c"]
    assert completed(own, Resume("sid")) == own
    text = completed(["claude", "-p", "--input-format", "text", "--bare"], Resume("sid"))
    assert text[-5:] == ["--output-format", "stream-json", "--verbose", "--resume", "sid"]


def test_the_argument_with_the_prompt_becomes_the_message() -> None:
    assert without_place(["claude", "-p", "Do: {prompt}"]) == (["claude", "-p"], "Do: {prompt}")
    assert without_place(["claude", "-p", "--", "{prompt}"]) == (["claude", "-p"], "{prompt}")
    assert without_place(["claude", "-p"]) == (["claude", "-p"], "{prompt}")
    agent = ClaudeAgent(Command(("claude", "-p", "Do: {prompt}")))
    turn = parse_turn({"turn_id": "t", "session_id": "s", "fence": 1, "prompt": "it"})
    launch = agent.launch(turn, "/f", None)
    assert launch.keeps_stdin
    assert json.loads(launch.stdin or b"")["message"]["content"][0]["text"] == "Do: it"
    plain = ClaudeAgent(Command(("claude", "-p", "--input-format", "text")))
    launch = plain.launch(turn, "/f", None)
    assert (launch.stdin, launch.keeps_stdin) == (b"it", False)
    assert launch.environ["DISABLE_AUTOUPDATER"] == "1"


def test_a_home_of_its_own_and_no_way_around_it(
    platform: FakePlatform, start: Start, tmp_path: Path, settings: Any
) -> None:
    environ = {**settings.child_environ, "CLAUDE_CONFIG_DIR": "/elsewhere", "HOME": "/root"}
    start("env", home=str(tmp_path / "home"), child_environ=environ)
    seen = finish(platform, "")["result"]["text"].splitlines()
    assert f"HOME={tmp_path / 'home'}" in seen
    assert not any(line.startswith("CLAUDE_CONFIG_DIR") for line in seen)
