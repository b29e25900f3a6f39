"""``turnkeeper mcp``: become the MCP server of a running agent."""

import os
import sys

import click

from app.cli.connection import Cli, narrowed
from app.cli.environment import inherited


@click.command()
@click.option(
    "-w", "--workspace", envvar="TURNKEEPER_WORKSPACE", required=True, help="The agent's workspace."
)
@click.option("--session", envvar="TURNKEEPER_SESSION_ID", help="The session to act for.")
@click.option("--url", help="Address of the API.  [env: TURNKEEPER_URL]")
@click.option("--token", help="Bearer token.  [env: TURNKEEPER_TOKEN]")
@click.pass_obj
def mcp(cli: Cli, workspace: str, session: str | None, url: str | None, token: str | None) -> None:
    """Serve MCP clients over standard input and output.

    \b
    In a command of `turnkeeper run` everything it needs is in the environment:
    claude mcp add a2a -- turnkeeper mcp
    """
    api = narrowed(cli, url, token, None).api
    env = inherited() | {"TURNKEEPER_URL": api.url, "TURNKEEPER_WORKSPACE": workspace}
    env |= {"TURNKEEPER_TOKEN": api.token} if api.token else {}
    env |= {"TURNKEEPER_SESSION_ID": session} if session else {}
    # -P: a runtime/ in the working directory is not ours.
    argv = [sys.executable, "-P", "-m", "runtime.mcp_shim"]
    sys.stdout.flush()
    os.execve(argv[0], argv, env)  # noqa: S606 - no shell is wanted
