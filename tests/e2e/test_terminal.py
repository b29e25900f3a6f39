"""Commands in a real terminal: the played reports, ``top``, ``doctor``, completion."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import psutil
import pytest

pytestmark = pytest.mark.e2e

COMMAND = Path(sys.executable).parent / "turnkeeper"
PLAY_S, START_S, STOP_S = 150, 90, 30


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "TURNKEEPER" not in name}
    kept.pop("REDIS_URL", None)
    return {**kept, "TERM": "xterm-256color", **more}


def terminal(*arguments: str, env: dict[str, str] | None = None) -> "pexpect.spawn[str]":
    return pexpect.spawn(
        str(COMMAND), list(arguments), env=env or environment(), timeout=START_S,
        dimensions=(30, 160), encoding="utf-8",
    )  # fmt: skip


def ended(child: "pexpect.spawn[str]") -> int:
    child.wait()
    child.close()
    assert child.exitstatus is not None, child.signalstatus
    return int(child.exitstatus)


def test_starve_tells_both_parts_with_a_bar_and_accounts_for_twelve_each() -> None:
    child = terminal("demo", "starve", "--speed", "1800")
    child.expect("Part 1: no ceiling", timeout=START_S)
    child.expect(r"\[#*\.*\] 1\d:\d\d \d of 12 fires made", timeout=START_S)
    child.expect(r"needs attention: SEO Agent: one session for .* 12 fires wait", timeout=PLAY_S)
    child.expect(r"12 fired, 12 accounted \(ceiling off\)", timeout=PLAY_S)
    child.expect(r"has ended; its slot is free \[mechanism=ceiling\]", timeout=PLAY_S)
    child.expect(r"12 fired, 12 accounted \(ceiling on\)", timeout=PLAY_S)
    child.expect(pexpect.EOF, timeout=STOP_S)
    assert ended(child) == 0


def test_hush_ends_with_the_answer_and_the_control_without() -> None:
    child = terminal("demo", "hush", "--step", "10")
    child.expect("canvas-inside: the session ended, .*mechanism=idle_timeout", timeout=PLAY_S)
    child.expect("1 AGENT_MESSAGE: .102 of 102 images moved", timeout=PLAY_S)
    child.expect("1 asked, 1 answered", timeout=START_S)
    child.expect(pexpect.EOF, timeout=STOP_S)
    assert ended(child) == 0


def test_ctrl_c_ends_a_played_report_with_all_its_processes_and_data() -> None:
    child = terminal("demo", "starve")
    child.expect("fire 1 waits", timeout=PLAY_S)
    family = psutil.Process(child.pid).children(recursive=True)
    assert len(family) >= 5
    folders = {Path(one.cwd()) for one in family if "turnkeeper-" in one.cwd()}
    assert folders
    child.sendintr()
    child.expect(pexpect.EOF, timeout=STOP_S)
    assert ended(child) == 130
    _, alive = psutil.wait_procs(family, timeout=5)
    assert [one.cmdline() for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
    assert not any(folder.exists() for folder in folders)


@dataclass
class Up:
    """A running ``up`` and the environment of a client."""

    client: dict[str, str]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    child = terminal("up", "--port", "0", "--no-demo", "--data", str(folder))
    child.expect(r"Turnkeeper runs at (http\S+)", timeout=START_S)
    assert child.match is not None
    url = child.match[1].strip()
    child.expect("Ctrl-C stops everything", timeout=START_S)
    token = (folder / "admin_token").read_text().strip()
    client = environment(TURNKEEPER_URL=url, TURNKEEPER_TOKEN=token)
    try:
        command = [COMMAND, "workspaces", "create", "demo", "--name", "Demo"]
        subprocess.run(command, env=client, timeout=30, check=True)
        yield Up(client)
    finally:
        child.kill(signal.SIGINT)
        child.expect(pexpect.EOF, timeout=STOP_S)
        child.close()


def test_top_draws_in_place_until_ctrl_c_and_gives_the_screen_back(up: Up) -> None:
    child = terminal("top", "--interval", "0.3s", env=up.client)
    child.expect("\x1b\\[\\?1049h", timeout=START_S)
    for _ in range(3):
        child.expect("1 workspaces, .* turns wait", timeout=START_S)
        child.expect("Demo", timeout=START_S)
    child.sendintr()
    child.expect("\x1b\\[\\?1049l", timeout=STOP_S)
    child.expect(pexpect.EOF, timeout=STOP_S)
    assert ended(child) == 0


def test_doctor_finds_a_running_platform_well(up: Up) -> None:
    child = terminal("doctor", env=up.client)
    said = child.read()
    assert ended(child) == 0, said
    for name in ("redis", "scheduler", "reaper", "invariants"):
        assert re.search(rf"{name}\s+ok", said), said


def test_login_is_an_address_that_opens(up: Up) -> None:
    said = subprocess.run(
        [COMMAND, "login"], env=up.client, capture_output=True, text=True, timeout=30, check=True
    ).stdout.strip()
    assert said.startswith(up.client["TURNKEEPER_URL"] + "/login?code=")


def test_bash_completes_the_name_of_a_workspace(up: Up) -> None:
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    env = up.client | {"PATH": path, "PS1": "$ "}
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile"], env=env, encoding="utf-8", timeout=START_S
    )
    shell.sendline('eval "$(turnkeeper completion bash)"; echo is-ready')
    shell.expect("[\r\n]is-ready")  # not its echo
    shell.send("turnkeeper why de\t")
    shell.expect("turnkeeper why demo ")
    shell.sendintr()
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    shell.close()
