"""From a clean clone to the first green fire on the page, by the README's first command alone.

What is cloned is what is committed.
"""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.ui import svg
from tests.support import servers
from tests.support.printed import commands
from tests.support.processes import ROOT, Process
from tests.support.wait import wait_until

pytestmark = pytest.mark.e2e

FIRST_FIRE_S, GIVE_UP_S, STOP_S = 120, 400, 30
GREETED = "Ctrl-C stops everything"
LINK = re.compile(r"log in \(once\):\s+(\S+)")
# The strip of the last fires: a bar of a fire that ended well has the class "good".
STRIP = re.compile(r'<svg class="strip".*?</svg>', re.DOTALL)
GREEN = re.compile(r'<rect class="good"[^>]*><title>[^<]* completed')


def first_command() -> str:
    """What the README tells a reader to type first."""
    text = (ROOT / "README.md").read_text()
    found = [one.text for one in commands("README.md", text) if "git clone" in one.text]
    assert len(found) == 1
    return found[0]


def green_fires(page: str) -> int:
    """How many fires of the page's strips ended well."""
    return sum(len(GREEN.findall(strip)) for strip in STRIP.findall(page))


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Process]:
    """The command in an empty folder, as a reader without any data of ours types it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TURNKEEPER_", "VIRTUAL_ENV")) and name != "REDIS_URL"
    }
    own = {
        "PORT": str(servers.free_port()),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        # The tree may be another user's; only what it reads is trusted, for this command.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    text = first_command().replace("REPOSITORY", f"'{ROOT}'")
    inside = f"cd '{tmp_path}' && {text}"
    process = Process(["bash", "-c", inside], {**kept, **own}, tmp_path / "said.txt")
    process.start()
    yield process
    process.end()


def is_alive(process: Process) -> bool:
    return process.process is not None and process.process.poll() is None


def test_a_clean_clone_shows_a_green_fire_within_two_minutes(
    started: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    began, marks = time.monotonic(), {}

    def has_greeted() -> bool:
        if "starting on http" in started.output():
            marks.setdefault("environment built", time.monotonic() - began)
        assert is_alive(started), started.output()
        return GREETED in started.output()

    wait_until(has_greeted, GIVE_UP_S, 0.1)
    marks["greeting"] = time.monotonic() - began
    link = LINK.search(started.output())
    assert link, started.output()
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=10) as browser:
        page = browser.get(link[1])
        assert page.status_code == 200 and "<h1>Fleet</h1>" in page.text
        base = link[1].partition("/login")[0]
        wait_until(lambda: green_fires(browser.get(base + "/").text), GIVE_UP_S, 0.2)
    marks["green fire"] = time.monotonic() - began
    with capsys.disabled():
        print("\nfirst minutes:", ", ".join(f"{name} {at:.1f} s" for name, at in marks.items()))
    assert marks["green fire"] < FIRST_FIRE_S, marks
    interrupt(started)
    assert "stopped." in started.output()


def interrupt(process: Process) -> None:
    """Ctrl-C in the reader's terminal: everything of the command gets it."""
    os.killpg(process.pid, signal.SIGINT)
    assert process.process is not None
    process.process.wait(STOP_S)


@pytest.mark.parametrize("state", ["queued", "failed", "missed"])
def test_control_a_fire_that_did_not_end_well_is_not_green(state: str) -> None:
    strip = str(svg.strip([(state, f"2026-11-21 18:00 UTC {state}")]))
    assert STRIP.search(strip) and green_fires(strip) == 0
    assert green_fires(str(svg.strip([("completed", "2026-11-21 18:00 UTC completed")]))) == 1
