"""The commands that pages print: taken out of their shell blocks, and read by the real parser."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from app.cli.main import main as command_line

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SCRIPT = "#!"
SHELL_SIGNS = frozenset({">", "|", "&&", "<"})
# What may stand before `turnkeeper` on a line; the rest of the line is its own.
CALL = re.compile(r"(?:^|\| |&& )(?:\.venv/bin/)?turnkeeper (.*)$", re.DOTALL)


@dataclass(frozen=True)
class Printed:
    """One command of a page, as it stands there; it may have several lines."""

    page: str
    line: int
    text: str

    @property
    def name(self) -> str:
        """For the list of tests."""
        return f"{self.page}:{self.line} {' '.join(self.text.split())[:60]}"

    @property
    def words(self) -> list[str] | None:
        """Those behind ``turnkeeper``, as a shell gives them; None: it is another program's."""
        found = CALL.search(self.text)
        if not found:
            return None
        words = shlex.split(found[1].replace("\\\n", " "), comments=True)
        ends = [at for at, word in enumerate(words) if word in SHELL_SIGNS]
        return words[: ends[0]] if ends else words

    @property
    def program(self) -> str:
        """What the shell starts first."""
        return Path(self.text.split()[0]).name


def commands(page: str, text: str) -> list[Printed]:
    """Every command of a page's shell blocks, in order; scripts are not commands."""
    return [
        command
        for line, block in _blocks(text)
        if not block.startswith(SCRIPT)
        for command in _split(page, line, block)
    ]


def scripts(text: str) -> list[str]:
    """The shell blocks of a page that are whole scripts."""
    return [block for _, block in _blocks(text) if block.startswith(SCRIPT)]


def of_pages(*patterns: str) -> list[Printed]:
    """The commands of all pages whose names match."""
    paths = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    return [
        command
        for path in paths
        for command in commands(path.relative_to(ROOT).as_posix(), path.read_text())
    ]


def fault_of(words: Sequence[str]) -> str:
    """Why ``turnkeeper`` refuses these words before it does anything; empty: it does not."""
    try:
        with command_line.make_context("turnkeeper", list(words)) as context:
            _enter(context)
    except click.exceptions.Exit:
        return ""
    except click.ClickException as error:
        return error.format_message()
    return ""


def _enter(context: click.Context) -> None:
    """Let the command that a group was given read its own words, down to the last."""
    group = context.command
    if not isinstance(group, click.Group):
        return
    words = [*context._protected_args, *context.args]  # click has no other name for them
    name, command, rest = group.resolve_command(context, words)
    assert command is not None
    with command.make_context(name, rest, parent=context) as inner:
        _enter(inner)


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start(1)) + 1, found[1]


def _split(page: str, first: int, block: str) -> Iterator[Printed]:
    """A line ends a command unless a quote is open or it ends in a backslash."""
    begun: list[str] = []
    for number, line in enumerate(block.splitlines(), first):
        begun.append(line)
        text = "\n".join(begun).strip()
        if text.endswith("\\") or _has_open_quote(text):
            continue
        if text and not text.startswith("#"):
            yield Printed(page, number - len(begun) + 1, text)
        begun.clear()
    assert not begun, f"{page}:{first}: a command has no end"


def _has_open_quote(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False
