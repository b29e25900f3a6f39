"""What is empty says how to make the first one: a whole command that the real parser takes."""

import html
import json
import re
import shlex
from collections.abc import Iterator

import pytest

from app.core import alerts, attention, keys, tokens
from app.core.attention import Vitals
from app.ui.workspace import TABS
from tests.support.printed import fault_of
from tests.unit.api.web import ADMIN, Web, fake_clients, web

WORKSPACE = "seo-agent"
ALONE = ("/", "/health", "/settings")
EMPTY = re.compile(r'<div class="empty">.*?<pre tabindex="0">(.*?)</pre>', re.DOTALL)
MAKES = {
    "live": f"turnkeeper send {WORKSPACE} ",
    "queue": f"turnkeeper send {WORKSPACE} ",
    "sessions": f"turnkeeper run -w {WORKSPACE} ",
    "schedules": f"turnkeeper schedules add {WORKSPACE} ",
    "memories": f"turnkeeper memories commit {WORKSPACE} ",
    "dead": "turnkeeper dead ls",
    "audit": f"turnkeeper workspaces set {WORKSPACE} ",
}


@pytest.fixture
def site() -> Iterator[Web]:
    with web(fake_clients()) as made:
        yield made


def shown(site: Web, path: str, token: str = ADMIN) -> str:
    """A page as a browser gets it that is logged in with this token."""
    answer = site.ask("GET", path, token=None, headers={"Cookie": f"{tokens.COOKIE}={token}"})
    assert answer.status_code == 200, answer.text
    return answer.text


def commands(page: str) -> list[str]:
    """The commands of a page's empty states."""
    return [html.unescape(text) for text in EMPTY.findall(page)]


def faults(found: list[str]) -> list[str]:
    """Commands that the real parser refuses."""
    return [one for one in found if fault_of(shlex.split(one.removeprefix("turnkeeper ")))]


def without_events(site: Web) -> None:
    """As when all events were trimmed: making a workspace is an event itself."""
    site.platform.clients.data.delete(keys.of(WORKSPACE)["events"])


@pytest.mark.parametrize("path", ALONE)
def test_a_page_of_an_empty_platform_has_commands_that_parse(site: Web, path: str) -> None:
    found = commands(shown(site, path))
    assert found and faults(found) == []


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("scopes", [("read",), ("admin",)])
def test_an_empty_tab_has_the_command_that_makes_the_first(
    site: Web, tab: str, scopes: tuple[str, ...]
) -> None:
    site.workspace(WORKSPACE)
    without_events(site)
    found = commands(shown(site, f"/w/{WORKSPACE}/{tab}", site.token(*scopes)))
    assert [one for one in found if one.startswith(MAKES[tab])] != []
    assert faults(found) == []


def test_a_schedule_that_never_fired_has_the_command_that_fires_it(site: Web) -> None:
    schedule = site.schedule(site.workspace(WORKSPACE))
    found = commands(shown(site, f"/w/{WORKSPACE}/schedules"))
    assert found == [f"turnkeeper schedules run {WORKSPACE} {schedule}"]
    assert faults(found) == []


def test_control_what_is_there_takes_the_place_of_the_command(site: Web) -> None:
    site.send(site.workspace(WORKSPACE))
    for path in ("/", f"/w/{WORKSPACE}/queue", f"/w/{WORKSPACE}/live", f"/w/{WORKSPACE}/audit"):
        assert commands(shown(site, path)) == [], path


def test_control_a_command_that_does_not_exist_is_a_fault() -> None:
    assert faults(["turnkeeper send", "turnkeeper dead ls"]) == ["turnkeeper send"]


def test_the_health_page_lists_what_belongs_to_no_workspace(site: Web) -> None:
    platform = site.platform
    silent = attention.of_platform(Vitals(now=platform.now_ms()))
    found = json.dumps(alerts.rows(silent))
    platform.run("alert", keys.PLATFORM_PLACE, found=found, hold_ms=0, repeat_ms=0)
    page = shown(site, "/health")
    assert "ALERT_OPENED" in page and "scheduler_silent" in page
    assert "The scheduler has never been heard" in page
    assert commands(page) == []


def test_control_what_belongs_to_a_workspace_is_not_on_the_health_page(site: Web) -> None:
    site.workspace(WORKSPACE)
    assert 'id="platform-events"' not in shown(site, "/health")
