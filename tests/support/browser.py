"""A real Chromium, driven by Playwright; Debian's own, for Playwright's download is not needed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.world import World

# Playwright's own five seconds for what a page must come to show are short beside other load.
SLOW_MS = 30_000
expect.set_options(timeout=SLOW_MS)
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# No background requests: on a closed network they are refused many at a time.
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Process ids of the drivers of browsers that a module keeps open.
LASTING: set[int] = set()


def binary() -> str:
    """Chromium on this machine; where there is none the test is skipped, in CI it fails."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail("no Chromium: .ci/servers could not install it")
    if found is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """A running browser without a window."""
    path, before = binary(), set(psutil.Process().children())
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=path, args=ARGS)
        drivers = {one.pid for one in psutil.Process().children() if one not in before}
        LASTING.update(drivers)
        try:
            yield running
        finally:
            running.close()
            LASTING.difference_update(drivers)


def log_in(here: World, context: BrowserContext) -> Page:
    """A page on the fleet, logged in by a one-time link."""
    page = context.new_page()
    link = here.ask("POST", "/admin/login-links", {})["url"]
    page.goto(here.url + link if link.startswith("/") else link)
    return page


@contextmanager
def watched(page: Page) -> Iterator[None]:
    """No error in the page's scripts, and nothing that the content policy had to block."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    yield
    # A request that was under way when the page was left, or refused on purpose, is no fault of it.
    faults = [one for one in said if "Failed to load resource" not in one]
    assert not faults, faults
