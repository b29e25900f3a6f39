"""Every ``turnkeeper …`` that a page prints is taken by the real parser, with all its words."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import printed
from tests.support.printed import ROOT, Printed, fault_of

PAGES = ("*.md", "docs/*.md", "docs/guides/*.md", "docs/runbooks/*.md", "deploy/*.md")
COMMANDS = [one for one in printed.of_pages(*PAGES) if one.words is not None]
# The guides that were promised, and what each must show.
PROMISED = {
    "docs/guides/claude-and-codex.md": ("--agent claude -- claude", "--agent codex -- codex exec"),
    "docs/guides/any-command.md": ("turnkeeper run -w hello -- echo",),
    "docs/guides/a2a-agents.md": ("turnkeeper workspaces create helper --field agent_url=",),
    "docs/guides/field-platform.md": ("/registry/register",),
    "docs/guides/python-agent.md": ("with Heartbeat(",),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files that the pages name: the parser opens them."""
    for name in ("crontab.txt", "backup.yaml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
def test_a_printed_command_is_taken(command: Printed) -> None:
    assert command.words is not None
    assert fault_of(command.words) == ""


@pytest.mark.parametrize("page", PROMISED)
def test_a_promised_guide_shows_how(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [part for part in PROMISED[page] if part not in text] == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/guides/*.md")), ids=lambda one: one.name)
def test_a_printed_script_has_a_shells_syntax(path: Path) -> None:
    for script in printed.scripts(path.read_text()):
        shell = shutil.which("sh")
        assert shell
        read = subprocess.run(
            [shell, "-n"], input=script, capture_output=True, text=True, check=False
        )
        assert read.returncode == 0, read.stderr


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("sned demo hello", "No such command 'sned'."),
        ("send demo hello --wiat", "No such option '--wiat'. Did you mean '--wait'?"),
        ("send demo", "Missing argument 'TEXT'."),
        ("schedules backfill hello seo --start", "Option '--start' requires an argument."),
        ("up --port seventy", "is not a valid integer range"),
        ("dead", "Usage: turnkeeper dead [OPTIONS] COMMAND"),
    ],
)
def test_control_what_the_parser_does_not_take_is_a_fault(words: str, fault: str) -> None:
    assert fault in fault_of(words.split())


def test_control_what_runs_on_over_several_lines_is_one_command() -> None:
    text = "```sh\n# a note\nturnkeeper send \\\n  demo 'two\nlines'\nturnkeeper top\n```"
    found = printed.commands("page", text)
    assert [one.line for one in found] == [3, 6]
    assert [one.words for one in found] == [["send", "demo", "two\nlines"], ["top"]]
