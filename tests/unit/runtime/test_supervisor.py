"""Whole turns against the fake platform."""

import json
import signal
import sys
import threading
from pathlib import Path

import pytest

from app.cli import ports
from runtime.settings import RuntimeSettings

from .conftest import Start, until
from .fake_platform import FakePlatform, is_alive, wait_until

PY = sys.executable


def test_a_turn_is_started_run_and_finished_with_its_output(
    platform: FakePlatform, start: Start
) -> None:
    start("echo", "you said {prompt}")
    session_id = platform.offer("hello")
    finish = platform.finish_of(session_id)
    assert finish["outcome"] == "completed"
    assert finish["result"] == {"text": "you said hello"}
    assert finish["exit_code"] == 0
    assert finish["error"] is None
    assert finish["limits"] == []
    assert platform.of("start", session_id)[0]["fence"] == finish["fence"]


def test_a_failing_command_fails_with_its_status_and_its_last_words(
    platform: FakePlatform, start: Start
) -> None:
    start("sh", "-c", "echo no >&2; exit 3")
    finish = platform.finish_of(platform.offer())
    assert finish["outcome"] == "failed"
    assert finish["error"]["code"] == "exit_status"
    assert finish["error"]["message"] == "exit status 3"
    assert finish["error"]["exit_code"] == 3
    assert finish["error"]["stderr"] == "no\n"


def test_a_command_that_does_not_exist_fails_the_turn_and_the_next_is_still_taken(
    platform: FakePlatform, start: Start
) -> None:
    start("/nonexistent/agent")
    assert platform.finish_of(platform.offer())["error"]["code"] == "launch_failed"
    assert platform.finish_of(platform.offer())["error"]["code"] == "launch_failed"


def test_the_child_sees_its_turn_and_never_the_token(platform: FakePlatform, start: Start) -> None:
    start(PY, "-c", "import os, json; print(json.dumps(dict(os.environ)))")
    session_id = platform.offer(
        "p",
        ceiling_at="2030-01-01T00:00:00Z",
        traceparent="00-aa-bb-01",
        memories=[{"content": "m"}],
    )
    environ = json.loads(platform.finish_of(session_id)["result"]["text"])
    assert environ["TURNKEEPER_SESSION_ID"] == environ["TURNKEEPER_MARK"] == session_id
    assert environ["TURNKEEPER_WORKSPACE"] == "ws_test"
    assert environ["TURNKEEPER_DEADLINE"] == "2030-01-01T00:00:00Z"
    assert environ["TRACEPARENT"] == "00-aa-bb-01"
    assert "TURNKEEPER_TOKEN" not in environ
    assert "secret-token" not in json.dumps(environ)


def test_the_scoped_token_of_the_registration_is_used_from_then_on(
    platform: FakePlatform, start: Start
) -> None:
    platform.auth_token = "scoped"
    start("true")
    platform.finish_of(platform.offer())
    tokens = {path.split("/")[-1]: token for path, _, _, token in platform.requests}
    assert tokens["register"] == "Bearer secret-token"
    assert tokens["finish"] == tokens["heartbeat"] == "Bearer scoped"


def test_a_refused_registration_is_fatal_and_says_why(
    platform: FakePlatform, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    platform.refuse_register = 401
    running = start("true")
    running.thread.join(15)
    assert running.exit_code == 77
    assert "TURNKEEPER_TOKEN" in capfd.readouterr().err


def test_a_platform_that_is_down_at_start_is_waited_for(
    platform: FakePlatform, start: Start
) -> None:
    platform.is_down = True
    running = start("true")
    running.thread.join(0.5)
    assert running.thread.is_alive()
    platform.is_down = False
    assert platform.finish_of(platform.offer())["outcome"] == "completed"


def test_a_restart_of_the_platform_is_survived_with_the_child_running(
    start: Start, settings: RuntimeSettings, platform: FakePlatform, tmp_path: Path
) -> None:
    port = ports.free_port()
    first = FakePlatform(port)
    start("sh", "-c", f"{until(tmp_path / 'go')}; echo survived", url=first.url)
    session_id = first.offer()
    wait_until(lambda: first.of("start", session_id))
    first.close()
    pause = threading.Event()
    pause.wait(0.2)
    second = FakePlatform(port)
    (tmp_path / "go").touch()
    try:
        reports = wait_until(lambda: second.of("finish", session_id) or second.of("spool"))
        found = reports[0]["reports"][-1] if "reports" in reports[0] else reports[0]
        assert found["result"] == {"text": "survived"}
        wait_until(lambda: second.of("heartbeat"))
        assert second.finish_of(second.offer())["outcome"] == "completed"
    finally:
        second.close()


def test_the_prompt_reaches_the_child_by_stdin(platform: FakePlatform, start: Start) -> None:
    start("cat", uses_stdin=True)
    prompt = "grüße\n" * 20_000
    assert platform.finish_of(platform.offer(prompt))["result"]["text"] == prompt.strip()


def test_the_prompt_reaches_the_child_by_file(platform: FakePlatform, start: Start) -> None:
    start("sh", "-c", "cat {file}; cat $TURNKEEPER_PROMPT_FILE")
    assert platform.finish_of(platform.offer("by file "))["result"]["text"] == "by file by file"


def test_a_prompt_too_long_for_an_argument_fails_the_turn_clearly(
    platform: FakePlatform, start: Start
) -> None:
    start("echo", "{prompt}")
    finish = platform.finish_of(platform.offer("x" * 100_001))
    assert finish["outcome"] == "failed"
    assert finish["error"]["code"] == "prompt_too_large"
    assert "100001" in finish["error"]["message"]


def test_at_most_max_concurrent_children_run_at_once(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    script = f"touch {tmp_path}/$$; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
    start("sh", "-c", script, max_concurrent=2)
    ids = [platform.offer(number=n) for n in (1, 2, 3)]
    wait_until(lambda: len(list(tmp_path.glob("[0-9]*"))) == 2)
    wait_until(lambda: platform.of("heartbeat")[-1]["active_tasks"] == 2)
    assert len(platform.of("start")) == 2
    assert len(platform.of("heartbeat")[-1]["sessions"]) == 2
    (tmp_path / "go").touch()
    for session_id in ids:
        assert platform.finish_of(session_id)["outcome"] == "completed"


def test_the_same_session_handed_out_again_runs_once(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start("sh", "-c", f"echo ran >> {tmp_path}/ran")
    for _ in range(2):
        platform.offer(session_id="ses_same", number=1)
    wait_until(lambda: platform.of("finish"))
    wait_until(lambda: not platform.turns)
    other = platform.offer(number=2)
    platform.finish_of(other)
    assert len(platform.of("start", "ses_same")) == 1
    assert (tmp_path / "ran").read_text() == "ran\nran\n"


def test_a_session_that_is_stale_at_start_is_not_run(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start("touch", f"{tmp_path}/{{prompt}}")
    platform.stale.add("ses_stale")
    platform.offer("stale", session_id="ses_stale")
    platform.finish_of(platform.offer("good"))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["good"]


def test_output_is_reported_while_it_runs_at_most_once_an_interval(
    platform: FakePlatform, start: Start, settings: RuntimeSettings, tmp_path: Path
) -> None:
    script = f"while [ ! -e {tmp_path}/go ]; do i=$((i + 1)); echo l$i; sleep 0.04; done"
    start("sh", "-c", script)
    session_id = platform.offer()
    wait_until(lambda: len(platform.of("progress", session_id)) >= 3)
    (tmp_path / "go").touch()
    platform.finish_of(session_id)
    reports = platform.of("progress", session_id)
    assert {report["kind"] for report in reports} == {"output"}
    told = "".join(report["text"] for report in reports)
    lines = told.count("\n")
    assert told == "".join(f"l{number}\n" for number in range(1, lines + 1))
    at_the_end = 1
    assert len(reports) <= platform.took_s() / settings.output_interval_s + at_the_end


def test_a_silent_child_is_kept_alive_and_an_idle_runtime_is_not(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start("sh", "-c", until(tmp_path / "go"), keepalive_s=0.14)
    wait_until(lambda: len(platform.of("heartbeat")) >= 4)
    assert platform.of("progress") == []
    session_id = platform.offer()
    wait_until(lambda: len(platform.of("progress")) >= 3)
    (tmp_path / "go").touch()
    platform.finish_of(session_id)
    kinds = [report["kind"] for report in platform.of("progress")]
    assert kinds == ["keepalive"] * len(kinds)
    assert len(kinds) <= platform.took_s() / 0.14
    beats = len(platform.of("heartbeat"))
    wait_until(lambda: len(platform.of("heartbeat")) >= beats + 4)
    assert len(platform.of("progress")) == len(kinds)


def test_a_checkpoint_request_reaches_the_child_and_its_note_the_platform(
    platform: FakePlatform, start: Start
) -> None:
    script = (
        "while [ ! -e $TURNKEEPER_CONTROL_FILE ]; do sleep 0.02; done;"
        "cat $TURNKEEPER_CONTROL_FILE;"
        'echo \'{"summary": "half", "next_step": "rest", "artifacts": []}\''
        " > $TURNKEEPER_CHECKPOINT_FILE"
    )
    start("sh", "-c", script)
    session_id = platform.offer()
    wait_until(lambda: platform.of("start", session_id))
    platform.direct("checkpoint", "ses_unknown")
    platform.direct("checkpoint", session_id, deadline_at="2030-01-01T00:00:00Z", reason="ceiling")
    finish = platform.finish_of(session_id)
    assert finish["outcome"] == "yielded"
    assert finish["checkpoint"]["summary"] == "half"
    control = json.loads(finish["result"]["text"])
    assert control["action"] == "checkpoint"
    assert control["deadline_at"] == "2030-01-01T00:00:00Z"


def test_a_canceled_child_is_interrupted_first_and_only_once(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    script = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, lambda *_: os.write(1, b'INT\\n'))\n"
        "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'TERM\\n'))\n"
        "os.write(1, b'ready\\n')\n"
        f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)\n"
    )
    start(PY, "-c", script, keepalive_s=60, kill_grace_s=60.0)
    session_id = platform.offer()
    wait_until(lambda: platform.of("progress", session_id))
    for _ in range(3):
        platform.direct("cancel", session_id, reason="by the operator")
    wait_until(lambda: "INT" in platform.of("progress", session_id)[-1]["text"])
    beats = len(platform.of("heartbeat"))
    wait_until(lambda: len(platform.of("heartbeat")) >= beats + 3)
    (tmp_path / "go").touch()
    finish = platform.finish_of(session_id)
    assert finish["outcome"] == "canceled"
    assert finish["error"] == {"code": "canceled", "message": "by the operator"}
    assert finish["result"]["text"] == "ready\nINT"


def test_a_directive_with_another_fence_does_not_touch_the_session(
    platform: FakePlatform, start: Start
) -> None:
    start("sleep", "0.6")
    session_id = platform.offer(number=7)
    wait_until(lambda: platform.of("start", session_id))
    platform.direct("terminate", session_id, fence=6)
    assert platform.finish_of(session_id)["outcome"] == "completed"


def test_terminate_kills_a_child_that_ignores_every_other_signal(
    platform: FakePlatform, start: Start
) -> None:
    start("sh", "-c", "trap '' INT TERM; echo up; while :; do sleep 0.05; done")
    session_id = platform.offer()
    wait_until(lambda: platform.of("progress", session_id))
    platform.direct("terminate", session_id)
    finish = platform.finish_of(session_id)
    assert finish["outcome"] == "canceled"
    assert finish["exit_code"] == -signal.SIGKILL


def test_a_stale_fence_ends_the_child_and_nothing_more_is_reported(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start("sh", "-c", f"echo $$ > {tmp_path}/pid; echo hi; exec sleep 60")
    session_id = platform.offer()
    wait_until(lambda: platform.of("start", session_id))
    platform.stale.add(session_id)
    pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    wait_until(lambda: not is_alive(pid))
    platform.stale.clear()
    wait_until(lambda: platform.of("heartbeat")[-1]["sessions"] == [])
    assert platform.of("finish", session_id) == []
