"""The pages in a real Chromium over the whole platform."""

import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.agents import DEAF, python
from tests.support.browser import browser, log_in, watched
from tests.support.processes import Process
from tests.support.wait import wait_until
from tests.support.world import World, world

pytestmark = pytest.mark.e2e
Opened = Callable[..., None]

TABS = ("", "/queue", "/sessions", "/schedules", "/memories", "/dead", "/audit")
ECHO = ("/bin/sh", "-c", 'echo "heard: {prompt}"')
SETTINGS = {
    "TURNKEEPER_MESSAGE_WAIT_S": "0",
    "TURNKEEPER_ALERT_WAIT_S": "2",
    "TURNKEEPER_ALERT_STREAK_COUNT": "3",
    "TURNKEEPER_CEILING_S": "0",
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("pages"), **SETTINGS) as made:
        made.add_workers()
        made.add_scheduler()
        made.add_web()
        yield made


@pytest.fixture(scope="module")
def chromium(here: World) -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def page(here: World, chromium: Browser) -> Iterator[Page]:
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        fleet = log_in(here, context)
        with watched(fleet):
            yield fleet


@pytest.fixture
def opened(here: World) -> Iterator[Callable[..., None]]:
    """Makes workspaces, each with its runtime where a command is given; those end with the test."""
    started: list[Process] = []

    def make(workspace_id: str, *command: str) -> None:
        here.ask("POST", "/workspaces", {"id": workspace_id, "name": workspace_id.title()})
        if command:
            started.append(here.add_runtime(workspace_id, *command))

    yield make
    for process in started:
        process.end()


def test_a_message_is_sent_and_its_answer_appears_without_a_reload(
    here: World, page: Page, opened: Opened
) -> None:
    opened("echo", *ECHO)
    page.goto(f"{here.url}/w/echo")
    page.get_by_label("Message").fill("good <b>morning</b>")
    page.keyboard.press("Enter")
    chat = page.locator("#chat")
    expect(chat.locator(".mine p")).to_have_text("good <b>morning</b>")  # escaped, never markup
    expect(chat.locator(".theirs p")).to_contain_text("heard: good")
    expect(chat.locator(".step")).to_have_text("answered")
    expect(page.locator("#feed")).to_contain_text("SESSION_ENDED")


def test_a_reload_in_mid_stream_misses_nothing(here: World, page: Page, opened: Opened) -> None:
    opened("reload", *ECHO)
    page.goto(f"{here.url}/w/reload")
    here.send("reload", "one")
    expect(page.locator("#chat")).to_contain_text("one")
    page.reload()
    turn_id = here.send("reload", "two")
    expect(page.locator(f"#ask-{turn_id} .step")).to_have_text("answered")
    lines = page.locator("#feed li", has_text="MESSAGE_QUEUED")
    expect(lines).to_have_count(2)


def test_a_session_that_holds_up_others_is_in_the_strip_and_is_ended_by_its_button(
    here: World, page: Page, opened: Opened
) -> None:
    opened("held", *python(DEAF, str(here.folder / "pids-held")))
    held = here.send("held", "hold")
    wait_until(lambda: here.turn("held", held)["state"] == "running", 60)
    for _ in range(3):
        here.send("held", "quick")
    page.goto(here.url)
    strip = page.locator(".attention article", has_text="Held")
    expect(strip).to_contain_text("3 turns wait")
    expect(strip).to_contain_text("oldest_wait")
    strip.get_by_role("button", name="End session").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Ends 1 session now")
    expect(dialog).to_contain_text("3 turns wait")
    dialog.get_by_role("button", name="Keep as it is").click()
    assert here.turn("held", held)["state"] == "running", "a dialog that is closed changes nothing"
    strip.get_by_role("button", name="End session").click()
    dialog.get_by_role("button", name="End session").click()
    wait_until(lambda: here.turn("held", held)["state"] == "force_idled", 60)
    expect(strip).to_have_count(0)
    page.goto(f"{here.url}/w/held/audit")
    expect(page.locator("#part tbody")).to_contain_text("OPERATOR_ACTED")
    expect(page.locator("#part tbody")).to_contain_text("end_session")


def test_an_edited_prompt_shows_that_the_running_session_has_not_seen_it(
    here: World, page: Page, opened: Opened
) -> None:
    opened("policy", *python(DEAF, str(here.folder / "pids-policy")))
    fields = {"name": "tick", "cron_expr": "0 0 1 1 *", "prompt": "hold"}
    schedule = here.ask("POST", "/workspaces/policy/schedules", fields)
    turn_id = here.ask("POST", f"/workspaces/policy/schedules/{schedule['id']}/run")["turn_id"]
    wait_until(lambda: here.turn("policy", turn_id)["state"] == "running", 60)
    page.goto(f"{here.url}/w/policy/schedules")
    expect(page.locator(".policy")).to_have_count(0)
    page.get_by_text("Edit", exact=True).click()
    form = page.locator(f"#edit-{schedule['id']}")
    expect(form.locator(".next")).to_contain_text("Next, UTC")
    form.get_by_label("Cron").fill("61 * * * *")
    expect(form.locator(".next")).to_contain_text("minute")
    form.get_by_label("Cron").fill("*/30 * * * *")
    expect(form.locator(".next")).to_contain_text("30th minute")
    form.get_by_label("Prompt").fill("another policy")
    form.get_by_role("button", name="Save").click()
    expect(page.locator(".policy")).to_contain_text("prompt 1 → 2")
    here.ask("POST", f"/workspaces/policy/turns/{turn_id}/cancel", {})


def test_the_whole_way_goes_by_keyboard(here: World, page: Page, opened: Opened) -> None:
    here.ask("POST", "/workspaces", {"id": "keys", "name": "Keys"})
    page.goto(here.url)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("#q").focus()
    page.keyboard.type("keys")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"\?q=keys"))
    expect(page.locator("#q-told")).to_contain_text("1 of")
    page.get_by_role("link", name="Keys").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/w/keys"))
    page.get_by_role("button", name="Pause").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.type("night")  # the dialog's first field has the focus
    page.keyboard.press("Enter")
    wait_until(lambda: here.ask("GET", "/workspaces/keys")["status"] == "paused", 60)
    expect(page.locator("#status")).to_contain_text("paused")
    assert here.ask("GET", "/workspaces/keys")["paused_reason"] == "night"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(
    here: World, chromium: Browser, opened: Opened, scheme: str
) -> None:
    with chromium.new_context(color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = log_in(here, context)
        workspace_id = f"axe-{scheme}"
        opened(workspace_id)
        here.send(workspace_id, "hello")
        fields = {"name": "tick", "cron_expr": "*/5 * * * *", "prompt": "go"}
        here.ask("POST", f"/workspaces/{workspace_id}/schedules", fields)
        here.ask("POST", f"/workspaces/{workspace_id}/memories", {"content": "know this"})
        paths = ["/", "/?q=nonsense:", "/health", "/settings", "/w/none"]
        for path in [*paths, *(f"/w/{workspace_id}{tab}" for tab in TABS)]:
            page.goto(here.url + path)
            found = Axe().run(page)
            assert not found.violations_count, (path, found.generate_report())


def test_a_phone_shows_every_page_without_scrolling_sideways(
    here: World, chromium: Browser, opened: Opened
) -> None:
    with chromium.new_context(viewport={"width": 375, "height": 700}) as context:
        page = log_in(here, context)
        opened("phone")
        here.send("phone", "hello")
        for path in ("/", "/health", "/settings", *(f"/w/phone{tab}" for tab in TABS)):
            page.goto(here.url + path)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 375, (path, width)


def test_the_pages_work_without_a_stream(here: World, page: Page, opened: Opened) -> None:
    """Above the cap a stream is refused: the page asks instead."""
    page.route("**/events/stream*", lambda route: route.fulfill(status=503, body="{}"))
    opened("polled")
    page.goto(f"{here.url}/w/polled")
    expect(page.locator("#live-state")).to_have_text("polling")
    here.send("polled", "seen by asking")
    expect(page.locator("#chat")).to_contain_text("seen by asking")
