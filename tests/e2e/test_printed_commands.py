"""Every command of the README and of the guides, run as printed, beside a real ``up``.

A command runs unless ``ELSEWHERE`` says why not. Words that only a reader can fill in are filled
in by ``Terminal.filled``; nothing else of a command is changed.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.support.printed import Printed, commands, fault_of, of_pages, scripts
from tests.support.processes import ROOT, Process, module
from tests.support.receiver import receiver
from tests.support.wait import wait_until

pytestmark = pytest.mark.e2e

COMMAND_S, PLAY_S, START_S, STOP_S = 60, 300, 90, 30
ELSEWHERE: Mapping[str, str] = {
    "git clone REPOSITORY turnkeeper && cd turnkeeper && make run": (
        "tests/e2e/test_first_minutes.py clones and runs it"
    ),
    "make test": "it is what CI runs",
    "turnkeeper run -w seo --agent claude -- claude -p --permission-mode acceptEdits": (
        "needs Claude Code: `make agents`"
    ),
    "turnkeeper run -w seo --agent codex -- codex exec --sandbox workspace-write {prompt}": (
        "needs Codex: `make agents`"
    ),
}
PROGRAMS = frozenset({"turnkeeper", "curl"})
# Goes on until Ctrl-C: a runtime stays beside the commands that follow, a feed is looked at.
RUNTIME = re.compile(r"turnkeeper run -w (\S+) ")
FEED = re.compile(r"turnkeeper tail ")
# A command for a running session, by the variable that only a session has.
IN_SESSION = "$TURNKEEPER_MCP_URL"
TICK = "--name tick --cron '*/30 * * * *' --prompt 'Do one bounded piece of work.'"
# What a page takes for granted: the workspaces of its reader.
BEFORE: Mapping[str, tuple[str, ...]] = {
    "docs/guides/memories.md": (
        "turnkeeper workspaces create seo",
        f"turnkeeper schedules add seo {TICK}",
    ),
    "docs/guides/schedules.md": (
        "turnkeeper workspaces show hello || turnkeeper workspaces create hello",
    ),
}
FILES = {"crontab.txt": "# tend\n0 9 * * 1-5 tend the blog\n"}
SAYS = {
    ".venv/bin/turnkeeper demo starve": "12 fired, 12 accounted",
    ".venv/bin/turnkeeper send demo 'hello' --wait": "Done: the demo agent answered 1 words.",
    "turnkeeper send hello 'good morning' --wait": "you said: good morning",
    "turnkeeper why hello": "Nothing waits and nothing runs.",
}
ALL = of_pages("README.md", "docs/guides/*.md")
PAGES = list(dict.fromkeys(one.page for one in ALL))


@dataclass
class Terminal:
    """A reader's terminals: a folder, an environment that ``export`` changes, what was started."""

    folder: Path
    env: dict[str, str]
    words: dict[str, str]
    started: dict[str, Process] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    def filled(self, text: str) -> str:
        """A command with the addresses and ids of this run in it."""
        for word, here in self.words.items():
            text = text.replace(word, here)
        return text

    def run(self, text: str) -> str:
        """Run a command to its end, as a shell does. Returns what it said."""
        if name := re.match(r"export (\w+)=", text):
            self.env[name[1]] = self.shell(f'{text}; printf %s "${name[1]}"').strip()
            return ""
        said = self.shell(text)
        if created := re.search(r"webhook (\S+), its secret", said):
            self.words["WEBHOOK_ID"] = created[1]
        return said

    def shell(self, text: str) -> str:
        done = subprocess.run(
            ["bash", "-c", self.filled(text)], env=self.env, cwd=self.folder, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, check=False,
            timeout=PLAY_S if " demo starve" in text else COMMAND_S,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{text}\nexit status {done.returncode}\n{said}"
        return said

    def start(self, text: str) -> Process:
        """Start a command that goes on until Ctrl-C, in a terminal of its own."""
        log = self.folder / f"terminal-{len(self.ran)}.txt"
        inside = f"cd '{self.folder}' && exec {self.filled(text)}"
        process = Process(["bash", "-c", inside], self.env, log)
        process.start()
        self.started[text] = process
        return process

    def interrupt(self, text: str) -> None:
        """Ctrl-C in that terminal; the command must end well."""
        process = self.started.pop(text)
        assert process.process is not None
        try:
            os.killpg(process.pid, signal.SIGINT)
            assert process.process.wait(STOP_S) == 0, f"{text}\n{process.output()}"
        finally:
            process.end()

    def is_online(self, workspace: str) -> bool:
        rows = json.loads(self.shell("turnkeeper workspaces ls -o json"))
        return (workspace, "online") in [(row["id"], row["status"]) for row in rows]

    def do(self, command: Printed) -> None:
        """One printed command, in its way."""
        text = command.text
        self.ran.append(text)
        assert command.program in PROGRAMS or text.startswith("export "), f"who runs {text}?"
        if IN_SESSION in text:
            self.do_in_session(text)
        elif found := RUNTIME.search(text):
            self.start(text)
            wait_until(lambda: self.is_online(found[1]), START_S, 0.3)
        elif FEED.search(text):
            feed = self.start(text)
            wait_until(lambda: "-- " in feed.output(), START_S, 0.3)
            self.interrupt(text)
        else:
            said = self.run(text)
            assert SAYS.get(text, "") in said, f"{text}\n{said}"

    def do_in_session(self, text: str) -> None:
        """As the agent of a workspace: what it prints is the answer to a message."""
        (self.folder / "tool.sh").write_text(text)
        runtime = "turnkeeper run -w tools -- sh tool.sh"
        self.start(runtime)
        wait_until(lambda: self.is_online("tools"), START_S, 0.3)
        assert '"result"' in self.run("turnkeeper send tools 'use the tool' --wait")
        self.interrupt(runtime)

    def end(self) -> None:
        for text in list(self.started):
            self.interrupt(text)


@dataclass(frozen=True)
class Up:
    """A running ``up``: its address, and the environment of who uses it."""

    url: str
    env: dict[str, str]
    token: str

    def demo_events(self) -> dict[str, str]:
        """What has happened in the demo's workspace, each with the id of one such event."""
        headers = {"Authorization": f"Bearer {self.token}"}
        path = f"{self.url}/workspaces/demo/events"
        answer = httpx.get(path, headers=headers, trust_env=False).raise_for_status().json()
        return {one["event"]: str(one["id"]) for one in answer["events"]}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = tmp_path_factory.mktemp("home")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TURNKEEPER_", "XDG_")) and name not in ("REDIS_URL", "PORT")
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**kept, "HOME": str(home), "PATH": path, "NO_COLOR": "1"}
    process = Process(module("app.cli", "up", "--port", "0"), env, home / "up.txt")
    process.start()
    try:
        wait_until(lambda: "Ctrl-C stops everything" in process.output(), START_S, 0.2)
        found = re.search(r"Turnkeeper runs at (\S+)", process.output())
        assert found
        token = (home / ".local/share/turnkeeper/admin_token").read_text().strip()
        here = Up(found[1], env, token)
        # The demo's processes are all there once it has answered: no test is taken for their start.
        wait_until(lambda: "AGENT_MESSAGE" in here.demo_events(), START_S, 0.3)
        yield here
        assert process.terminate(STOP_S) < STOP_S
    finally:
        process.end()


@pytest.fixture
def terminal(up: Up, tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    with receiver() as hooks:
        words = {
            "http://127.0.0.1:8080": up.url,
            "https://hooks.example.com/turnkeeper": hooks.url,
            "https://hooks.slack.com/services/T0/B0/KEY": hooks.url,
            "1795261650654-0": up.demo_events()["AGENT_MESSAGE"],
        }
        own = {"TURNKEEPER_URL": up.url, "TURNKEEPER_TOKEN": up.token}
        made = Terminal(tmp_path, up.env | own, words)
        try:
            yield made
        finally:
            made.end()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(terminal: Terminal, page: str) -> None:
    for text in BEFORE.get(page, ()):
        terminal.run(text)
    if page == "README.md":  # its reader exports these
        del terminal.env["TURNKEEPER_URL"], terminal.env["TURNKEEPER_TOKEN"]
    wanted = [one for one in ALL if one.page == page and one.text not in ELSEWHERE]
    for command in wanted:
        terminal.do(command)
    assert terminal.ran == [one.text for one in wanted]


def test_what_runs_elsewhere_is_printed_and_parses() -> None:
    known = {one.text: one for one in ALL}
    assert sorted(set(ELSEWHERE) - set(known)) == []
    for text in ELSEWHERE:
        words = known[text].words
        assert words is None or fault_of(words) == ""


def test_a_printed_script_saves_and_exits_when_it_is_asked(terminal: Terminal) -> None:
    (script,) = scripts((ROOT / "docs/guides/any-command.md").read_text())
    (terminal.folder / "agent.sh").write_text(script)
    terminal.start("turnkeeper run -w steps -- sh agent.sh")
    wait_until(lambda: terminal.is_online("steps"), START_S, 0.3)
    terminal.run("turnkeeper send steps 'sixty steps'")
    listed = "turnkeeper turns ls steps -o json"
    wait_until(lambda: '"state": "running"' in terminal.run(listed), START_S, 0.3)
    found = re.search(r'"id": "(ses_\w+)"', terminal.run("turnkeeper sessions ls steps -o json"))
    assert found
    terminal.run(f"turnkeeper sessions checkpoint steps {found[1]}")
    wait_until(lambda: '"state": "yielded"' in terminal.run(listed), START_S, 0.3)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("turnkeeper sned demo hello", "No such command"),
        ("turnkeeper why nobody", "workspace_not_found"),
        ("python -m app.core.settings --check", "who runs"),
    ],
)
def test_control_a_new_command_that_does_not_run_fails(
    terminal: Terminal, line: str, fault: str
) -> None:
    (command,) = commands("README.md", f"```sh\n{line}\n```")
    with pytest.raises(AssertionError, match=fault):
        terminal.do(command)
