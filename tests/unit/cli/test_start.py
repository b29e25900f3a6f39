"""The command as a process of its own: what it loads, what it becomes."""

import json
import os
import subprocess
import sys
from pathlib import Path

from app.cli.yaml_text import to_yaml

HEAVY = ("flask", "redis", "rq", "httpx", "pydantic", "gevent", "rich")


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20,
        env={**os.environ, **env}, check=False,
    )  # fmt: skip


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, atexit\n"
        f"found = lambda: [name for name in {HEAVY} if name in sys.modules]\n"
        "atexit.register(lambda: print(found(), file=sys.stderr))\n"
        "sys.argv = ['turnkeeper', '--help']\n"
        "from app.cli.main import main\n"
        "main()\n"
    )
    answer = python(code)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.strip() == "[]"
    assert "Exit codes" in answer.stdout


def test_every_command_explains_itself() -> None:
    for names in (["up"], ["run"], ["schedules", "add"], ["workspaces", "set"], ["send"]):
        answer = subprocess.run(
            [sys.executable, "-m", "app.cli", *names, "--help"], capture_output=True, timeout=20,
            check=False,
        )  # fmt: skip
        assert answer.returncode == 0


def test_run_becomes_the_runtime_and_keeps_the_token_out_of_its_arguments() -> None:
    code = (
        "import os, sys, json\n"
        "os.execve = lambda path, argv, env: (print(json.dumps([argv, env])), sys.exit(0))\n"
        "sys.argv = ['turnkeeper', '--token', 'tk_x', 'run', '-w', 'seo', '--stdin', '--pty',\n"
        "            '--max-concurrent', '3', '--home', '/h', '--resume-chat',\n"
        "            '--agent', 'codex', '--', 'my-agent', '--flag', '{prompt}']\n"
        "from app.cli.main import main\n"
        "main()\n"
    )
    answer = python(code, TURNKEEPER_URL="http://127.0.0.1:9")
    argv, env = json.loads(answer.stdout)
    expected = (
        "-P -m runtime -w seo --stdin --pty --resume-chat --max-concurrent 3 --agent codex "
        "--home /h -- my-agent --flag {prompt}"
    )
    assert argv == [sys.executable, *expected.split()]
    assert (env["TURNKEEPER_URL"], env["TURNKEEPER_TOKEN"]) == ("http://127.0.0.1:9", "tk_x")


def test_the_demo_agent_echoes_what_it_was_asked_and_needs_only_the_standard_library() -> None:
    code = (
        "import sys\n"
        "from app.cli import demo_agent\n"
        "demo_agent.STEP_S = 0.01\n"
        "code = demo_agent.main(['hello there'])\n"
        "assert not [m for m in sys.modules if m in ('click', 'httpx', 'redis')]\n"
        "sys.exit(code)\n"
    )
    answer = python(code)
    assert answer.returncode == 0, answer.stderr
    assert "You asked: hello there" in answer.stdout
    assert answer.stdout.splitlines()[-1].startswith("Done:")


def test_a_bad_setting_stops_up_before_any_process_starts(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "app.cli", "up", "--port", "0", "--data", str(tmp_path)],
        capture_output=True, text=True, timeout=20, check=False,
        env={**os.environ, "TURNKEEPER_CEILLING_S": "1"},
    )  # fmt: skip
    assert answer.returncode == 2
    assert "did you mean TURNKEEPER_CEILING_S" in answer.stderr
    assert not (tmp_path / "redis").exists()


def test_yaml_quotes_text_and_nests_blocks() -> None:
    value = {"a": [{"b": "no", "c": []}, [1, None]], "on": True, "t": "x\x7fé\n"}
    assert to_yaml(value) == (
        'a:\n  - b: "no"\n    c: []\n  - - 1\n    - null\n"on": true\nt: "x\\u007fé\\n"\n'
    )
