"""What ``turnkeeper up`` puts into an empty platform, so that something can be seen at once.

Every step looks first, so a second start adds nothing but its greeting.
"""

from app.cli.client import Api, workspace_path
from app.cli.faults import NOT_FOUND, Fault
from app.cli.messages import post_message
from app.cli.platform_processes import DEMO

TICK = "demo-tick"
TICK_PROMPT = "This is the demo's minute tick. Say what time it is and that all is well."
GREETING = "Hello! Say something, so that I see that turns arrive."


def prepare(api: Api) -> str:
    """Make the demo workspace and its schedule, send one message; its turn id."""
    ensure_workspace(api)
    ensure_schedule(api)
    return str(post_message(api, DEMO, GREETING)["queue_id"])


def ensure_workspace(api: Api) -> None:
    """The demo workspace, made only if it is not there."""
    try:
        api.call("GET", workspace_path(DEMO))
    except Fault as fault:
        if fault.exit_code != NOT_FOUND:
            raise
        api.call("POST", "/workspaces", {"id": DEMO, "name": "Demo", "max_concurrent": 1})


def ensure_schedule(api: Api) -> None:
    """The schedule that fires each minute, known by its name; new, it fires at once too, so that
    nobody waits a minute for the first fire."""
    path = workspace_path(DEMO, "schedules")
    if any(row.get("name") == TICK for row in api.call("GET", path)["schedules"]):
        return
    fields = {"cron_expr": "* * * * *", "timezone": "UTC", "prompt": TICK_PROMPT, "ceiling_s": 30}
    made = api.call("POST", path, {"name": TICK, **fields})
    api.call("POST", workspace_path(DEMO, "schedules", made["id"], "run"), {})


def login_url(api: Api) -> str:
    """A link that logs a browser in once."""
    return api.url + str(api.call("POST", "/admin/login-links", {})["url"])
