"""The real codex and claude, from npm, offline against a fake model server: make agents."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_models import FakeModels
from tests.unit.runtime.fake_platform import FakePlatform, Json, is_alive, wait_until

pytestmark = [pytest.mark.agents]

# Kept between runs: together they are some 500 MB.
CACHE = Path(os.environ.get("AGENTS_CACHE") or Path(tempfile.gettempdir()) / "turnkeeper-agents")
PACKAGES = {"codex": "@openai/codex", "claude": "@anthropic-ai/claude-code"}
INSTALL_S, START_S = 600, 60


def binary(name: str) -> str:
    """Install the agent where it is not there yet; skip where that cannot work."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, and the agents come from it")
    path = CACHE / "node_modules" / ".bin" / name
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--prefix", str(CACHE), "--no-fund", "--no-audit", PACKAGES[name]]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode != 0 or not path.exists():
            pytest.skip(f"npm could not install {PACKAGES[name]}: {done.stderr.strip()[-300:]}")
    try:
        argv = [str(path), "--version"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=START_S, check=False)
        problem = done.stderr.strip()[-300:] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        pytest.skip(
            f"{name} was installed but does not start; its install script may download from a "
            f"place that this machine does not reach: {problem}"
        )
    print(name, done.stdout.strip())
    return str(path)


@pytest.fixture
def models() -> Iterator[FakeModels]:
    fake = FakeModels()
    yield fake
    fake.close()


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    fake = FakePlatform()
    yield fake
    fake.close()


Run = Callable[..., None]


@pytest.fixture
def run(platform: FakePlatform, models: FakeModels, tmp_path: Path) -> Iterator[Run]:
    """Start ``python -m runtime`` for an agent; stopped, with all it started, after the test."""
    started: list[subprocess.Popen[bytes]] = []
    work = tmp_path / "work"
    work.mkdir()
    environ = {
        **os.environ,
        "TURNKEEPER_URL": platform.url,
        "TURNKEEPER_TOKEN": "secret-token",
        "TURNKEEPER_SPOOL_DIR": str(tmp_path / "spool"),
        "TURNKEEPER_STATE_DIR": str(tmp_path / "state"),
        "TURNKEEPER_OUTPUT_INTERVAL_S": "0.05",
        "TURNKEEPER_KILL_GRACE_S": "5",
        "ANTHROPIC_BASE_URL": models.url,
        "ANTHROPIC_API_KEY": "none",
        "FAKE_KEY": "none",
        "IS_SANDBOX": "1",  # claude refuses to skip permissions as root elsewhere
    }

    def begin(agent: str, *command: str, options: tuple[str, ...] = ()) -> None:
        argv = [sys.executable, "-m", "runtime", "-w", "ws_real", "--agent", agent]
        argv += ["--home", str(tmp_path / "home"), *options, "--", *command]
        (tmp_path / "home").mkdir(exist_ok=True)
        started.append(subprocess.Popen(argv, env=environ, cwd=work))

    yield begin
    for process in started:
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture
def claude(run: Run) -> Callable[..., None]:
    def begin(*options: str) -> None:
        command = (binary("claude"), "-p", "--permission-mode", "bypassPermissions")
        run("claude", *command, options=options)

    return begin


@pytest.fixture
def codex(run: Run, models: FakeModels) -> Callable[..., None]:
    def begin(*options: str, more: tuple[str, ...] = ()) -> None:
        provider = f'{{name="fake",base_url="{models.url}/v1",wire_api="responses",'
        provider += 'env_key="FAKE_KEY",request_max_retries=0,stream_max_retries=0}'
        settings = ["-c", f"model_providers.fake={provider}", "-c", "model_provider=fake"]
        settings += ["-m", "gpt-5", "--skip-git-repo-check"]
        settings += ["--dangerously-bypass-approvals-and-sandbox", *more]
        run("codex", binary("codex"), "exec", *settings, "{prompt}", options=options)

    return begin


@pytest.fixture(params=["claude", "codex"])
def agent(request: pytest.FixtureRequest) -> Any:
    """Both, one after the other."""
    return request.getfixturevalue(request.param)


def finish(platform: FakePlatform, prompt: str, **fields: Any) -> Json:
    return platform.finish_of(platform.offer(prompt, **fields), 60)


def told_of(platform: FakePlatform) -> list[tuple[str, str | None]]:
    return [(one["kind"], one.get("tool") or one.get("text")) for one in platform.of("progress")]


def is_running(platform: FakePlatform) -> bool:
    return any(kind == "tool_start" for kind, _ in told_of(platform))


def test_an_answer_with_usage_and_session(platform: FakePlatform, agent: Any) -> None:
    agent()
    report = finish(platform, "[answer]")
    assert (report["outcome"], report["exit_code"], report["limits"]) == ("completed", 0, [])
    assert report["result"]["text"] == "the answer"
    assert report["result"]["usage"]["input_tokens"] == 100
    assert report["result"]["agent_session_id"]


def test_a_tool_call_is_seen_and_its_output_comes_back(platform: FakePlatform, agent: Any) -> None:
    agent()
    report = finish(platform, "[tool echo hel''lo]")
    assert report["outcome"] == "completed"
    assert "hello" in report["result"]["text"]
    kinds = [kind for kind, _ in told_of(platform)]
    assert kinds.count("tool_start") == kinds.count("tool_end") == 1


def test_an_error_of_the_api_fails_the_turn(platform: FakePlatform, agent: Any) -> None:
    agent()
    report = finish(platform, "[error]")
    assert report["outcome"] == "failed"
    assert "the model says no" in report["error"]["message"]
    assert report["exit_code"] == 1


def test_a_slow_answer_can_be_canceled(
    platform: FakePlatform, models: FakeModels, agent: Any
) -> None:
    agent()
    session_id = platform.offer("[slow]")
    wait_until(lambda: models.requests, 60)
    platform.direct("cancel", session_id, reason="by the operator")
    report = platform.finish_of(session_id, 30)
    assert (report["outcome"], report["error"]["code"]) == ("canceled", "canceled")
    (ladder,) = report["limits"]
    assert ladder["mechanism"] == "cancel"
    assert ladder["left"] == []
    print("exit code", report["exit_code"], [one["signal"] for one in ladder["signaled"]])


def test_a_tool_that_is_killed_leaves_nothing_running(
    platform: FakePlatform, agent: Any, tmp_path: Path
) -> None:
    agent()
    session_id = platform.offer(f"[tool echo $$ > {tmp_path}/pid; exec sleep 120]")
    pid = int(
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
    )
    platform.direct("terminate", session_id)
    report = platform.finish_of(session_id, 30)
    assert report["outcome"] == "canceled"
    assert not is_alive(pid)
    assert [hit["left"] for hit in report["limits"] if hit["mechanism"] == "terminate"] == [[]]


def test_a_chat_is_resumed_and_cron_is_not(
    platform: FakePlatform, models: FakeModels, agent: Any
) -> None:
    agent("--resume-chat")
    first = finish(platform, "[answer] remember the word heron", context_id="c")
    second = finish(platform, "[answer] again", context_id="c")
    assert "heron" in json.dumps(models.requests[-1])
    assert second["result"]["agent_session_id"] == first["result"]["agent_session_id"]
    assert second["result"]["usage"]["input_tokens"] == 100
    third = finish(platform, "[answer] tick", context_id="c", origin="cron")
    assert "heron" not in json.dumps(models.requests[-1])
    assert third["result"]["agent_session_id"] != first["result"]["agent_session_id"]


def test_a_chat_that_is_lost_is_begun_afresh(
    platform: FakePlatform, agent: Any, tmp_path: Path
) -> None:
    agent("--resume-chat")
    finish(platform, "[answer]", context_id="c")
    for state in (tmp_path / "home").iterdir():
        shutil.rmtree(state) if state.is_dir() else state.unlink()
    report = finish(platform, "[answer]", context_id="c")
    assert (report["outcome"], report["result"]["text"]) == ("completed", "the answer")


def test_claude_hears_the_wrap_up_between_two_tool_calls(
    platform: FakePlatform, models: FakeModels, claude: Any
) -> None:
    claude()
    session_id = platform.offer("[loop sleep 0.3]")
    wait_until(lambda: is_running(platform), 60)
    platform.direct("checkpoint", session_id, deadline_at="2099-01-01T00:00:00Z", reason="ceiling")
    report = platform.finish_of(session_id, 20)
    assert report["outcome"] == "yielded"
    assert report["checkpoint"]["summary"].startswith("wrapped up after ")
    heard = json.dumps(models.requests[-1])
    assert "The user sent a new message" in heard or "replaces your current task" in heard
    print(
        "by hook:", "hook additional context" in heard, "by stdin:", "sent a new message" in heard
    )


@pytest.mark.parametrize("status", ["true", "false"])
def test_claude_is_stopped_by_the_hook_at_the_deadline(
    platform: FakePlatform, claude: Any, tmp_path: Path, status: str
) -> None:
    claude()
    session_id = platform.offer(f"[loop echo x >> {tmp_path}/count; sleep 0.5; {status}]")
    wait_until((tmp_path / "count").exists, 60)
    platform.direct("checkpoint", session_id, deadline_at="2020-01-01T00:00:00Z", reason="ceiling")
    report = platform.finish_of(session_id, 20)
    assert report["outcome"] == "yielded"
    assert (tmp_path / "count").read_text() == "x\n"
    assert report["checkpoint"]["summary"] == "wrapped up after 1 calls"


@pytest.mark.parametrize("deadline", ["2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z"])
def test_codex_hears_the_wrap_up_by_the_hook_where_it_is_let_run(
    platform: FakePlatform, codex: Any, deadline: str
) -> None:
    codex(more=("--dangerously-bypass-hook-trust",))
    session_id = platform.offer("[loop sleep 0.3]")
    wait_until(lambda: is_running(platform), 60)
    platform.direct("checkpoint", session_id, deadline_at=deadline, reason="ceiling")
    report = platform.finish_of(session_id, 20)
    print(report["outcome"], report["checkpoint"], report["error"], report["exit_code"])
    assert report["outcome"] == "yielded"
    assert report["checkpoint"]["summary"].startswith("wrapped up after ")
