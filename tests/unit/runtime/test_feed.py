"""A child's stdin that stays open: lines after the prompt, and its end on request."""

import os
import sys
import threading

from runtime.agents.base import Command, Launch
from runtime.agents.plain import PlainAgent
from runtime.child import Child, start_child
from runtime.children import Children
from runtime.settings import RuntimeSettings

from .fake_platform import wait_until

PY = sys.executable
ECHO = "import sys\nfor line in sys.stdin: print('got', line.strip(), flush=True)\nprint('end')"


def start(script: str, stdin: bytes, *, keeps_stdin: bool = True) -> Child:
    return start_child(
        Launch((PY, "-c", script), stdin, keeps_stdin=keeps_stdin),
        os.environ,
        "mark",
        PlainAgent(Command(())),
        Children(),
        RuntimeSettings(),
        lambda: None,
    )


def test_lines_follow_the_prompt_until_the_end_is_asked_for() -> None:
    child = start(ECHO, b"prompt\n")
    wait_until(lambda: "got prompt" in child.stdout.text())
    assert child.tell(b"more\n") is True
    wait_until(lambda: "got more" in child.stdout.text())
    assert not child.is_done.wait(0.2)
    child.tell(b"last\n")
    child.end_stdin()
    assert child.tell(b"too late\n") is False
    assert child.is_done.wait(5)
    assert child.stdout.text() == "got prompt\ngot more\ngot last\nend\n"
    assert child.tell(b"gone\n") is False


def test_an_open_stdin_costs_no_processor_time_while_nothing_is_said() -> None:
    child = start(ECHO, b"")
    before = os.times()
    threading.Event().wait(0.5)
    after = os.times()
    assert (after.user + after.system) - (before.user + before.system) < 0.2
    child.end_stdin()
    assert child.is_done.wait(5)


def test_a_child_that_closed_its_stdin_does_not_disturb_who_writes() -> None:
    child = start("import os, time; os.close(0); print('closed', flush=True); time.sleep(0.4)", b"")
    wait_until(lambda: "closed" in child.stdout.text())
    child.tell(b"x" * 1_000_000)
    child.tell(b"y")
    assert child.is_done.wait(5)
    assert child.process.returncode == 0


def test_a_megabyte_said_while_the_child_floods_its_output_arrives_whole() -> None:
    script = (
        "import sys\n"
        "sys.stdout.write('z' * 300000); sys.stdout.flush()\n"
        "print(len(sys.stdin.buffer.read()))\n"
    )
    child = start(script, b"p" * 1_000_000)
    child.tell(b"q" * 1_000_000)
    child.end_stdin()
    assert child.is_done.wait(10)
    assert child.stdout.text().endswith("z2000000\n")


def test_without_being_kept_open_the_end_follows_the_prompt() -> None:
    child = start("import sys; print(sys.stdin.read())", b"prompt", keeps_stdin=False)
    assert child.tell(b"more") is False
    assert child.is_done.wait(5)
    assert child.stdout.text() == "prompt\n"


def test_a_child_that_is_killed_with_its_stdin_open_gives_everything_back() -> None:
    child = start(ECHO, b"prompt\n")
    wait_until(lambda: "got prompt" in child.stdout.text())
    child.process.kill()
    assert child.is_done.wait(5)
    assert child.tell(b"late\n") is False
    child.end_stdin()
