"""Secrets planted in prompts, messages, tokens and addresses: nowhere but where they belong."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.scenes import SLOWER, Scene
from tests.support.wait import wait_until
from tests.support.world import ADMIN, World, all_events, real_platform, world

pytestmark = pytest.mark.e2e

PROMPT, MESSAGE, ADDRESS = "prompt-5ecret-1", "message-5ecret-2", "address-5ecret-3"
# Works until it is let go, so that the titles are looked at meanwhile; the next one waits again.
HELD = (
    "import pathlib, sys, time\n"
    "let_go = pathlib.Path(sys.argv[1])\n"
    "while not let_go.exists(): time.sleep(0.05)\n"
    "let_go.unlink()\n"
    "print('ok')\n"
)
DEBUG = {**SLOWER, "LOG_LEVEL": "DEBUG"}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, **DEBUG) as made:
        made.add_web()
        made.add_workers()
        made.add_scheduler()
        yield made


def titles(here: World) -> str:
    """What anybody on this machine sees of our processes in a list of them."""
    found = []
    for process in here.processes.values():
        for one in process.family():
            try:
                found += [one.name(), *one.cmdline()]
            except psutil.Error:
                continue  # it has just ended
    return "\n".join(found)


def told(here: World, workspace_id: str) -> str:
    with real_platform(here.redis.url) as platform:
        rows = [f"{event.event} {event.payload}" for event in all_events(platform, workspace_id)]
    assert rows
    return "\n".join(rows)


def logged(here: World) -> str:
    return "\n".join(process.output() for process in here.processes.values())


def handed_out(here: World, turn_id: str) -> list[str]:
    """Secrets that the platform gives, or is given, on the way."""
    hook = {"url": "https://hooks.example/", "events": ["TURN_DEAD"]}
    given = [here.ask("POST", "/admin/webhooks", hook)["secret"]]
    auth = {"scheme": "Bearer", "credentials": "agent-5ecret-4"}
    there = {"id": "elsewhere", "agent_url": "https://agent.example/", "agent_auth": auth}
    here.ask("POST", "/workspaces", there)
    push = {
        "url": "https://push.example/",
        "token": "push-5ecret-5",
        "authentication": {"scheme": "Bearer", "credentials": "push-5ecret-6"},
    }
    path = f"/workspaces/keeper/a2a/tasks/{turn_id}/pushNotificationConfigs"
    answer = here.call("POST", path, push, **{"A2A-Version": "1.0"})
    assert answer.is_success, answer.text
    link = here.ask("POST", "/admin/login-links", {})["url"]
    cookie = here.call("GET", link).headers["Set-Cookie"]
    given += [link.partition("code=")[2], cookie.partition("=")[2].partition(";")[0]]
    return [*given, "agent-5ecret-4", "push-5ecret-5", "push-5ecret-6"]


def refused(here: World, schedule: str) -> str:
    """What is answered to requests that are wrong in many ways and hold a secret each."""
    bodies = [
        ("POST", f"{schedule}/none/run", {"prompt": PROMPT}),
        ("POST", schedule, {"name": "", "prompt": PROMPT, "cron_expr": "bad"}),
        ("POST", "/registry/register", {"id": "bad id", "url": f"http://u:{ADDRESS}@h/"}),
        ("POST", "/admin/webhooks", {"url": f"http://u:{ADDRESS}@h/"}),
        ("POST", "/workspaces/none/a2a", {"params": {"message": {"parts": [{"text": MESSAGE}]}}}),
    ]
    answers = [here.call(*row) for row in bodies]
    assert all(answer.status_code >= 400 for answer in answers), [a.status_code for a in answers]
    return "\n".join(answer.text for answer in answers)


def test_no_secret_is_in_logs_events_errors_metrics_or_process_titles(here: World) -> None:
    let_go = here.folder / "let-go"
    scene = Scene(here, "keeper").open(sys.executable, "-c", HELD, str(let_go), ceiling_s=0)
    token = here.ask("POST", "/admin/tokens", {"name": "t", "scopes": ["send"]})["token"]
    url = f"https://user:{ADDRESS}@agent.example/"
    here.ask("POST", "/registry/register", {"id": "keeper", "url": url, "agent_card": {}})
    schedules = f"{scene.path}/schedules"
    fields = {"name": "tick", "cron_expr": "0 0 1 1 *", "prompt": PROMPT}
    made = here.ask("POST", schedules, fields)
    here.ask("PATCH", f"{schedules}/{made['id']}", {"prompt": PROMPT + " again"})
    turns = [here.ask("POST", f"{schedules}/{made['id']}/run")["turn_id"]]
    scene.wait_for(turns[0], "running")
    seen = titles(here)
    turns.append(here.send("keeper", MESSAGE))
    errors = refused(here, schedules)
    secrets = [PROMPT, MESSAGE, ADDRESS, token, ADMIN, *handed_out(here, turns[1])]
    let_go.touch()
    scene.wait_for(turns[1], "running")
    seen += titles(here)
    let_go.touch()
    for turn_id in turns:
        scene.wait_for(turn_id, "completed")
    here.call("GET", "/nowhere", Authorization=f"Bearer {token}")
    places = {
        "titles": seen + titles(here),
        "errors": errors,
        "events": told(here, "keeper"),
        "metrics": here.call("GET", "/metrics").text,
        "logs": wait_until(lambda: logged(here), 5),
    }
    for place, text in places.items():
        for secret in secrets:
            assert secret not in text, f"{secret} in {place}: {_around(text, secret)}"


def _around(text: str, secret: str) -> str:
    at = text.index(secret)
    return text[max(0, at - 300) : at + 100]


def test_control_what_is_looked_at_would_show_it(tmp_path: Path) -> None:
    """A token in an argument is in the title, and a line of output is in the log."""
    words = [sys.executable, "-c", f"print('said {MESSAGE}', flush=True); input()", ADMIN]
    with world(tmp_path) as here:
        here.add("careless", words)
        wait_until(lambda: MESSAGE in logged(here), 60)
        here.processes["careless"].end()
        process = here.add("sleeper", [sys.executable, "-c", "import time; time.sleep(60)", ADMIN])
        wait_until(lambda: ADMIN in titles(here), 60)
        process.end()
