"""The command line of ``python -m runtime``."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.agents import kinds
from runtime.agents.base import Command


@dataclass(frozen=True)
class RunOptions:
    """``url`` and ``max_concurrent`` None: as the environment says."""

    workspace_id: str
    command: Command
    agent: str = "plain"
    max_concurrent: int | None = None
    url: str | None = None
    name: str = ""


def parse(argv: Sequence[str]) -> RunOptions:
    """Raises: SystemExit (2) with a usage message."""
    parser = argparse.ArgumentParser(
        prog="turnkeeper run",
        description="Take turns of a workspace and run CMD once for each.",
        epilog="{prompt} and {file} in CMD are replaced. The token comes from TURNKEEPER_TOKEN.",
    )
    parser.add_argument("-w", "--workspace", required=True)
    parser.add_argument("--url", help="the platform (default TURNKEEPER_URL)")
    parser.add_argument("--name", default="", help="name on the agent card (default: workspace)")
    parser.add_argument("--agent", choices=sorted(kinds()), default="plain")
    parser.add_argument("--max-concurrent", type=_positive, metavar="N")
    parser.add_argument("--stdin", action="store_true", help="write the prompt to CMD's stdin")
    parser.add_argument("--file", action="store_true", help="give the prompt as a file: {file}")
    parser.add_argument("--home", metavar="DIR", default="", help="give CMD a HOME of its own")
    parser.add_argument(
        "--resume-chat", action="store_true", help="go on with the chat of the turn's context"
    )
    parser.add_argument("--pty", action="store_true", help="give CMD a terminal as stdout/stderr")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD")
    found = parser.parse_args(argv)
    command = found.command[1:] if found.command[:1] == ["--"] else found.command
    if not command:
        parser.error("a command is needed after --")
    if found.file and not any("{file}" in part for part in command):
        command = [*command, "{file}"]
    return RunOptions(
        workspace_id=found.workspace,
        command=Command(
            tuple(command), found.stdin, found.file, found.pty, found.resume_chat, found.home
        ),
        agent=found.agent,
        max_concurrent=found.max_concurrent,
        url=found.url.rstrip("/") if found.url else None,
        name=found.name,
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
