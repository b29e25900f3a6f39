"""The root of the ``turnkeeper`` command.

Imports stay light (no flask, redis, rq, httpx): each command brings what it needs when it runs.
"""

import click

from app.cli import (
    backup,
    dead,
    doctor,
    login,
    mcp,
    memories,
    messages,
    run,
    schedules,
    sessions,
    tail,
    tokens,
    top,
    turns,
    up,
    webhooks,
    workspaces,
)
from app.cli.completion import completion
from app.cli.connection import DEFAULT_URL, FORMATS, Cli
from app.cli.environment import is_colour_refused
from app.cli.field_reports.command import demo
from app.cli.profiles import api_of


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--url", envvar="TURNKEEPER_URL", default=DEFAULT_URL, show_default=True)
@click.option("--token", envvar="TURNKEEPER_TOKEN", default="", help="[env: TURNKEEPER_TOKEN]")
@click.option(
    "--profile",
    envvar="TURNKEEPER_PROFILE",
    help="A table of ~/.config/turnkeeper/profiles.toml: url, and token or token_file.  "
    "[env: TURNKEEPER_PROFILE]",
)
@click.option("-o", "--output", type=FORMATS, default="table", show_default=True)
@click.version_option(package_name="turnkeeper")
@click.pass_context
def main(ctx: click.Context, /, output: str, **_: str | None) -> None:
    """Durable dispatch of turns to AI agents.

    \b
    Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 refused,
    5 unreachable, 124 timed out. Of run: 77 the token was refused,
    70 a fault of ours; of anything: 130 interrupted.
    """
    ctx.obj = Cli(api_of(ctx), output)
    if is_colour_refused():
        ctx.color = False


for command in (
    up.up,
    run.run,
    mcp.mcp,
    workspaces.workspaces,
    messages.send,
    tail.tail,
    sessions.sessions,
    turns.turns,
    messages.why,
    top.top,
    doctor.doctor,
    login.login,
    schedules.schedules,
    memories.memories,
    tokens.tokens,
    dead.dead,
    webhooks.webhooks,
    backup.export_everything,
    backup.import_everything,
    demo,
    completion,
):
    main.add_command(command)
