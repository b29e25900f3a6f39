"""The child's pipes: sizes around the pipe buffer, floods, dead ends."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest

from runtime.agents.base import Command, Launch, LaunchError, place_prompt
from runtime.agents.plain import PlainAgent
from runtime.child import Child, start_child
from runtime.children import Children
from runtime.settings import RuntimeSettings
from runtime.wire import Turn, parse_turn

from .fake_platform import is_alive, wait_until

PY = sys.executable
DEFAULTS = RuntimeSettings()


def turn_of(prompt: str) -> Turn:
    return parse_turn({"turn_id": "t", "session_id": "s", "fence": 1, "prompt": prompt})


def run(
    *argv: str,
    settings: RuntimeSettings = DEFAULTS,
    stdin: bytes | None = None,
    uses_pty: bool = False,
    timeout_s: float = 20.0,
    on_change: Callable[[], None] = lambda: None,
) -> Child:
    """Run to the end."""
    child = start_child(
        Launch(argv, stdin),
        os.environ,
        "mark",
        PlainAgent(Command(argv)),
        Children(),
        settings,
        on_change,
        uses_pty=uses_pty,
    )
    is_done = child.is_done.wait(timeout_s)
    if not is_done:
        child.process.kill()
        child.is_done.wait(5)
    assert is_done, "the child did not end"
    return child


def burst(count: int, stream: str = "stdout", unit: str = "x") -> tuple[str, ...]:
    return (PY, "-c", f"import sys; sys.{stream}.write({unit!r} * {count})")


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 81_920])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_burst_around_the_pipe_buffer_ends_and_is_complete(size: int, stream: str) -> None:
    child = run(*burst(size, stream))
    assert child.process.returncode == 0
    assert getattr(child, stream).tail() == b"x" * size
    assert child.limits() == []


def test_waiting_before_draining_hangs_at_80_kb_and_not_at_60_kb() -> None:
    """The negative control: what the drain is there for."""
    for size, hangs in ((60_000, False), (81_920, True)):
        with subprocess.Popen(burst(size), stdout=subprocess.PIPE) as process:
            try:
                process.wait(1.0 if hangs else 30)
                hung = False
            except subprocess.TimeoutExpired:
                hung = True
                process.kill()
        assert hung is hangs


def test_one_megabyte_on_both_streams_in_turns() -> None:
    script = (
        "import os\nfor i in range(1024):\n    os.write(1, b'o' * 1024); os.write(2, b'e' * 1024)\n"
    )
    child = run(PY, "-c", script)
    assert child.stdout.total_bytes == child.stderr.total_bytes == 1_048_576
    assert child.stdout.tail() == b"o" * DEFAULTS.output_max_bytes


def test_thirty_megabytes_pass_in_bounded_memory_and_the_cut_is_reported() -> None:
    before = psutil.Process().memory_info().rss
    script = "import os\nfor i in range(480): os.write(1, b'%05d' % i + b'y' * 65530 + b'\\n')"
    child = run(PY, "-c", script)
    grown = psutil.Process().memory_info().rss - before
    assert child.stdout.total_bytes == 480 * 65_536
    assert len(child.stdout.tail()) == DEFAULTS.output_max_bytes
    assert child.stdout.text().endswith("y\n")
    assert "00479y" in child.stdout.text()
    assert grown < 8 * 1024 * 1024
    assert child.limits() == [
        {
            "mechanism": "stdout_tail",
            "limit_bytes": 262_144,
            "setting": "TURNKEEPER_OUTPUT_MAX_BYTES",
            "measured_bytes": 480 * 65_536,
        }
    ]


def test_stdin_is_at_its_end_unless_asked_for() -> None:
    child = run(PY, "-c", "import sys; print(repr(sys.stdin.read()))")
    assert child.stdout.text() == "''\n"


def test_a_long_prompt_goes_through_stdin_while_the_child_floods_stdout() -> None:
    script = (
        "import sys, hashlib\n"
        "sys.stdout.write('z' * 200000); sys.stdout.flush()\n"
        "print(len(sys.stdin.buffer.read()))\n"
    )
    child = run(PY, "-c", script, stdin=b"p" * 3_000_000)
    assert child.stdout.text().endswith("z3000000\n")


def test_a_child_that_never_reads_its_stdin_ends_all_the_same() -> None:
    assert run("true", stdin=b"p" * 3_000_000).process.returncode == 0
    closes = "import os; os.close(0); print('closed')"
    assert run(PY, "-c", closes, stdin=b"p" * 3_000_000).stdout.text() == "closed\n"


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_turn() -> None:
    child = run("sh", "-c", "sleep 30 & echo $!")
    pid = int(child.stdout.text())
    assert psutil.pid_exists(pid)
    psutil.Process(pid).kill()
    wait_until(lambda: not is_alive(pid))


def test_a_grandchild_that_floods_the_pipe_does_not_hold_the_turn() -> None:
    child = run("sh", "-c", "yes & echo $!")
    os.killpg(child.process.pid, 9)
    assert child.stdout.total_bytes > 0


def test_invalid_utf_8_becomes_replacement_characters() -> None:
    child = run(PY, "-c", r"import os; os.write(1, b'a\xff\xfe\x80b\n')")
    assert child.stdout.text() == "a���b\n"


def test_a_cut_inside_a_character_does_not_leave_half_of_it() -> None:
    child = run(*burst(2000, unit="é"), settings=replace(DEFAULTS, output_max_bytes=1025))
    assert child.stdout.text() == "é" * 512


def test_a_terminal_is_given_on_request_and_its_flood_passes() -> None:
    child = run(
        PY, "-c", "import sys; print(sys.stdout.isatty()); print('x' * 100000)", uses_pty=True
    )
    assert child.stdout.text() == "True\n" + "x" * 100_000 + "\n"


def test_news_are_the_last_lines_up_to_4_kb() -> None:
    changed = threading.Event()
    child = run(PY, "-c", "for i in range(2000): print('line', i)", on_change=changed.set)
    assert changed.is_set()
    (news,) = child.take_news()
    assert news.text is not None
    assert len(news.text) <= 4096
    assert news.text.startswith("line ")
    assert news.text.endswith("line 1999\n")
    assert not child.has_news()
    assert child.take_news() == []


def test_a_missing_command_is_a_launch_error() -> None:
    with pytest.raises(LaunchError, match="nonexistent"):
        run("/nonexistent/x")
    with pytest.raises(LaunchError, match="null"):
        run("echo", "a\0b")


def test_the_prompt_goes_where_the_command_says() -> None:
    turn = turn_of("do it")
    assert place_prompt(Command(("a", "x{prompt}y")), turn, "/f").argv == ("a", "xdo ity")
    assert place_prompt(Command(("a",), uses_stdin=True), turn, "/f").stdin == b"do it"
    assert place_prompt(Command(("a", "{file}")), turn, "/f").argv == ("a", "/f")
    bare = place_prompt(Command(("a",)), turn, "/f")
    assert (bare.argv, bare.stdin) == (("a",), None)
    assert bare.environ == {"TURNKEEPER_PROMPT_FILE": "/f"}


def test_a_prompt_over_100_kb_is_no_argument() -> None:
    turn = turn_of("é" * 50_001)
    with pytest.raises(LaunchError) as caught:
        place_prompt(Command(("a", "{prompt}")), turn, "/f")
    assert caught.value.code == "prompt_too_large"
    launch = place_prompt(Command(("a", "{prompt}"), uses_stdin=True), turn, "/f")
    assert launch.argv == ("a", "-")
    assert launch.stdin is not None and len(launch.stdin) == 100_002
    fits = place_prompt(Command(("a", "{prompt}")), turn_of("x" * 100_000), "/f")
    assert len(fits.argv[1]) == 100_000
