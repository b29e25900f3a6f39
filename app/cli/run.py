"""``turnkeeper run``: become the runtime beside an agent."""

import os
import sys

import click

from app.cli.connection import Cli, narrowed
from app.cli.environment import inherited
from app.cli.names import workspaces


@click.command()
@click.option(
    "-w",
    "--workspace",
    required=True,
    help="The workspace to serve.",
    shell_complete=workspaces,
)
@click.option("--stdin", "how", flag_value="--stdin", help="The prompt by stdin.")
@click.option("--file", "how", flag_value="--file", help="The prompt by a file.")
@click.option("--pty", is_flag=True, help="Give the agent a terminal.")
@click.option("--max-concurrent", type=click.IntRange(min=1), help="Turns at a time.")
@click.option("--agent", help="Kind of CLI: plain, claude, codex.")
@click.option("--home", metavar="DIR", help="Give the agent a HOME of its own.")
@click.option("--resume-chat", is_flag=True, help="Go on with the chat of the turn's context.")
@click.option("--name", help="Name on the agent card.  [default: the workspace]")
@click.option("--url", help="Address of the API.  [env: TURNKEEPER_URL]")
@click.option("--token", help="Bearer token.  [env: TURNKEEPER_TOKEN]")
@click.argument("command", nargs=-1, required=True)
@click.pass_obj
def run(
    cli: Cli,
    workspace: str,
    how: str | None,
    pty: bool,
    max_concurrent: int | None,
    agent: str | None,
    home: str | None,
    resume_chat: bool,
    name: str | None,
    url: str | None,
    token: str | None,
    command: tuple[str, ...],
) -> None:
    """Serve a workspace: run COMMAND for each turn.

    \b
    turnkeeper run -w WORKSPACE -- my-agent {prompt}
    """
    chosen = [how] if how else []
    chosen += ["--pty"] if pty else []
    chosen += ["--resume-chat"] if resume_chat else []
    given = {"--max-concurrent": max_concurrent, "--agent": agent, "--home": home, "--name": name}
    for flag, value in given.items():
        chosen += [flag, str(value)] if value else []
    api = narrowed(cli, url, token, None).api
    # The token goes by the environment: an argument would be seen by everyone on the machine.
    # This process becomes the runtime, so that a signal and an exit code need no relay.
    env = inherited() | {"TURNKEEPER_URL": api.url}
    if api.token:
        env["TURNKEEPER_TOKEN"] = api.token
    argv = runtime_argv(workspace, chosen, command)
    sys.stdout.flush()
    os.execve(argv[0], argv, env)  # noqa: S606 - no shell is wanted


def runtime_argv(workspace: str, chosen: list[str], command: tuple[str, ...]) -> list[str]:
    """The runtime's command line. ``-P``: a ``runtime/`` in the working directory is not ours."""
    return [sys.executable, "-P", "-m", "runtime", "-w", workspace, *chosen, "--", *command]
