"""The protocol's own clients, as they come: streaming, a read timeout of 5 s, a 9 s silent turn."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.conformance import NEW, OLD, agent_url, conformance
from tests.support.world import World

HERE = Path(__file__).parent
HOMES = Path(__file__).parents[3] / ".venv"
OLD_SDK, NEW_SDK, JS_SDK = "a2a-sdk==0.3.26", "a2a-sdk==1.3.0", "@a2a-js/sdk@1.3"
SILENCE_S = 9


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[World]:
    with conformance(tmp_path) as here:
        yield here


def missing(what: str) -> Any:
    """What cannot be had is skipped on a laptop and fails in CI."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


def python_with(sdk: str) -> str:
    """The interpreter of an environment of its own with one version of the library."""
    home = HOMES / sdk.replace("==", "-")
    python, stamp = home / "bin/python", home / "stamp"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        words = [str(python), "-m", "pip", "install", "--quiet", sdk]
        made = subprocess.run(words, capture_output=True, text=True)
        if made.returncode:
            missing(f"pip could not install {sdk}: {made.stderr.strip().splitlines()[-1]}")
        stamp.touch()
    return str(python)


def node_home(sdk: str) -> Path:
    """A folder with the library of JavaScript in it."""
    npm, home = shutil.which("npm"), HOMES / "a2a-js-sdk"
    if npm is None or shutil.which("node") is None:
        pytest.skip("no node and npm on this machine")
    if not (home / "stamp").exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text('{"private": true}')
        words = [npm, "install", "--silent", "--no-audit", "--no-fund", sdk]
        made = subprocess.run(words, cwd=home, capture_output=True, text=True)
        if made.returncode:
            missing(f"npm could not install {sdk}: {made.stderr[-300:]}")
        (home / "stamp").touch()
    return home


def told_by(words: list[str], cwd: Path) -> Any:
    found = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr[-3000:]
    return json.loads(found.stdout.splitlines()[-1])


def check(told: Any, number: int, say: Any) -> None:
    """What every client must have been told; ``say`` puts a state into its words."""
    assert told["silent"]["states"][0] == say("SUBMITTED")
    assert told["silent"]["states"][-1] == say("COMPLETED"), "through nine seconds of silence"
    assert told["silent"]["texts"] == ["done after silence"]
    assert told["words"]["states"].count(say("WORKING")) >= 2, "the agent's words came as it spoke"
    assert told["words"]["texts"] == ["the answer"]
    assert told["asked"]["states"][-1] == say("INPUT_REQUIRED")
    assert told["answered"]["task_id"] == told["asked"]["task_id"]
    assert told["answered"]["states"][-1] == told["final"] == say("COMPLETED")
    ours = [one for one in told["history"] if "-sdk-" in one]
    assert ours == [f"ask-sdk-{number}", f"complete-sdk-{number}"]


def test_the_library_of_1_0_with_either_card(platform: World, tmp_path: Path) -> None:
    words = [python_with(NEW_SDK), str(HERE / "client_new.py")]
    with ThreadPoolExecutor(2) as pool:
        urls = [agent_url(platform, workspace_id) for workspace_id in (NEW, OLD)]
        for told in pool.map(lambda url: told_by([*words, url], tmp_path), urls):
            check(told, 1, lambda state: f"TASK_STATE_{state}")


def test_the_library_of_1_0_over_http_json(platform: World, tmp_path: Path) -> None:
    words = [python_with(NEW_SDK), str(HERE / "client_new.py")]
    told = told_by([*words, agent_url(platform, NEW), "HTTP+JSON"], tmp_path)
    check(told, 1, lambda state: f"TASK_STATE_{state}")


def test_the_library_of_0_3(platform: World, tmp_path: Path) -> None:
    words = [python_with(OLD_SDK), str(HERE / "client_old.py"), agent_url(platform, OLD)]
    check(told_by(words, tmp_path), 2, lambda state: state.lower().replace("_", "-"))


def test_the_library_of_javascript(platform: World, tmp_path: Path) -> None:
    home = node_home(JS_SDK)
    words = ["node", str(HERE / "client.mjs"), agent_url(platform, NEW), str(home)]
    check(told_by(words, tmp_path), 3, lambda state: state)
