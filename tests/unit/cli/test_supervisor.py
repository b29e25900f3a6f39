import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.child import ChildSpec, backoff_s
from app.cli.console import Screen, is_warning, readable
from app.cli.platform_processes import demo_specs, platform_env, platform_specs
from app.cli.supervisor import STOP_WITHIN_S, Supervisor
from tests.unit.cli.processes import is_running, wait_until

SOON_S = 60.0  # only reached when it never comes
FOREVER = "import threading; print('up', flush=True); threading.Event().wait()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + FOREVER
TELLS_ITS_END = (
    "import signal, sys, threading, time\n"
    "def end(*_): print('end', time.monotonic(), flush=True); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "print('up', flush=True)\n"
    "threading.Event().wait()\n"
)


class Recorder:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.said: list[str] = []

    def child_line(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture
def console() -> Recorder:
    return Recorder()


@pytest.fixture
def group(console: Recorder) -> Iterator[Supervisor]:
    supervisor = Supervisor(console)
    yield supervisor
    supervisor.request_stop()
    supervisor.stop()


def spec(name: str, code: str, stop_after_s: float = 5.0) -> ChildSpec:
    argv = (sys.executable, "-S", "-c", code)
    return ChildSpec(name, argv, dict(os.environ), Path("/"), stop_after_s)


def test_the_last_added_is_stopped_first_and_each_ends_before_the_next_is_asked(
    console: Recorder, group: Supervisor
) -> None:
    for name in ("redis", "web", "agent"):
        group.add(spec(name, TELLS_ITS_END))
    assert group.run_until(lambda: len(console.lines) == 3, SOON_S)
    assert group.stop() == []
    ends = [name for name, line in console.lines if line.startswith("end")]
    assert ends == ["agent", "web", "redis"]


def test_a_deaf_child_is_killed_after_its_grace_and_named(
    console: Recorder, group: Supervisor
) -> None:
    child = group.add(spec("deaf", DEAF, stop_after_s=0.2))
    assert group.run_until(lambda: bool(console.lines), SOON_S)
    assert child.process is not None
    pid = child.process.pid
    assert group.stop() == ["deaf"]
    assert not is_running(pid)


def test_a_second_request_hurries_the_stop(console: Recorder, group: Supervisor) -> None:
    group.add(spec("deaf", DEAF, stop_after_s=15))
    assert group.run_until(lambda: bool(console.lines), SOON_S)
    group.request_stop()
    later = threading.Timer(0.1, group.request_stop)
    later.start()
    assert group.stop() == ["deaf"]
    later.join()


def test_a_crashed_child_is_started_again_with_a_line_about_it(
    console: Recorder, group: Supervisor
) -> None:
    group.add(spec("flaky", "print('hello'); raise SystemExit(7)"))
    assert group.run_until(lambda: len(console.lines) >= 2, SOON_S)
    assert console.said[0].startswith("flaky exited with code 7")
    assert "starting it again in 0.5 s" in console.said[0]


def test_the_pause_before_a_restart_doubles_up_to_a_bound() -> None:
    assert [backoff_s(exits) for exits in (1, 2, 3, 6, 99)] == [0.5, 1, 2, 15, 15]


def test_a_child_that_lives_but_does_not_answer_is_killed_and_started_again(
    console: Recorder,
) -> None:
    now = [0.0]
    group = Supervisor(console, lambda: now[0])
    deaf = ChildSpec(
        "redis", (sys.executable, "-S", "-c", FOREVER), dict(os.environ), Path("/"),
        is_answering=lambda: False, answer_within_s=10,
    )  # fmt: skip
    child = group.add(deaf)
    assert child.process is not None
    pid = child.process.pid
    for _ in range(2000):
        now[0] += 0.5
        group.step(0.01)
        if child.process is not None and child.process.pid != pid:
            break
    assert child.process is not None
    assert not is_running(pid)
    assert "limit 10 s): killed" in console.said[0]
    group.stop()


def test_what_a_dead_leader_leaves_in_its_group_is_ended_too(
    console: Recorder, group: Supervisor
) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', "
        "'import threading; threading.Event().wait()'])\n"
        "print(child.pid, flush=True)\n"
    )
    group.add(spec("leader", code))
    assert group.run_until(lambda: bool(console.said), SOON_S)
    wait_until(lambda: not is_running(int(console.lines[0][1])))


def test_nothing_of_a_long_line_is_lost(console: Recorder, group: Supervisor) -> None:
    code = "import threading; print('x' * 300_000); print('after', flush=True)\n"
    group.add(spec("loud", code + "threading.Event().wait()"))
    assert group.run_until(lambda: ("loud", "after") in console.lines, SOON_S)
    assert sum(len(line) for _, line in console.lines) == 300_005


def test_a_program_that_is_not_there_is_reported_and_tried_again(
    console: Recorder, group: Supervisor
) -> None:
    group.add(ChildSpec("gone", ("/no/such/program",), {}, Path("/")))
    assert "gone cannot be started" in console.said[0]
    assert group.run_until(lambda: len(console.said) >= 2, SOON_S)


def test_the_graces_of_all_children_fit_into_the_whole_stop() -> None:
    env = platform_env({}, "unix:///x", 1, "t", "http://x")
    specs = platform_specs(env, "127.0.0.1", 1, Path("/")) + demo_specs(env, "t", Path("/"), False)
    assert sum(one.stop_after_s for one in specs) + 3.0 <= STOP_WITHIN_S


def test_the_agent_side_sees_neither_redis_nor_the_admin_variable() -> None:
    env = platform_env({"HOME": "/h"}, "unix:///x", 1, "secret", "http://x")
    for one in demo_specs(env, "secret", Path("/"), False):
        assert not {"REDIS_URL", "TURNKEEPER_ADMIN_TOKEN"} & set(one.env)
        assert not any("secret" in argument for argument in one.argv)


def test_the_screen_shows_warnings_and_keeps_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen(tmp_path)
    warning = json.dumps({"level": "warning", "event": "LIMIT_HIT", "limit": 3})
    for line in ('{"level": "info", "event": "quiet"}', warning, "plain"):
        screen.child_line("web", line)
    screen.child_line("tail", "12:00 event")
    screen.close()
    assert capsys.readouterr().out == "web       | warning LIMIT_HIT limit=3\n12:00 event\n"
    assert (tmp_path / "web.log").read_text().count("\n") == 3


def test_the_log_of_the_last_start_is_set_aside(tmp_path: Path) -> None:
    for line in ("first", "second"):
        screen = Screen(tmp_path)
        screen.child_line("web", line)
        screen.close()
    assert (tmp_path / "web.log").read_text() == "second\n"
    assert (tmp_path / "web.log.1").read_text() == "first\n"


def test_a_warning_is_known_by_its_level_or_its_words() -> None:
    assert is_warning('{"level": "error", "event": "x"}')
    assert is_warning("[2026-01-01] [9] [ERROR] Worker exiting")
    assert not is_warning('{"level": "info", "event": "an error was healed"}')
    assert not is_warning("127.0.0.1 GET /readyz 200")
    assert readable("plain") == "plain"
