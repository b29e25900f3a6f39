"""A supervisor that stops: what it asks, what it hands back, what it leaves behind."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from runtime.settings import process_environ

from .conftest import Start, until
from .fake_platform import FakePlatform, is_alive, wait_until

PY = sys.executable


def test_stopping_asks_for_a_checkpoint_and_hands_back_what_does_not_end(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    look = f"cp $TURNKEEPER_CONTROL_FILE {tmp_path}/part && mv {tmp_path}/part {tmp_path}/seen"
    deaf = f"echo up; until {look}; do sleep 0.02; done 2>/dev/null; while :; do sleep 1; done"
    running = start("sh", "-c", deaf, drain_s=60.0)
    session_id = platform.offer()
    wait_until(lambda: platform.of("progress", session_id))
    running.stops.request()
    wait_until((tmp_path / "seen").exists)
    assert platform.of("release") == [], "it has 60 s"
    assert running.stop() == 0, "by a second request: now"
    assert platform.of("release", session_id)[0]["reason"] == "drain"
    assert platform.of("finish", session_id) == []
    assert json.loads((tmp_path / "seen").read_text())["action"] == "checkpoint"


def test_stopping_lets_a_child_that_wraps_up_finish(platform: FakePlatform, start: Start) -> None:
    script = "while [ ! -e $TURNKEEPER_CONTROL_FILE ]; do sleep 0.02; done; echo saved"
    running = start("sh", "-c", script, drain_s=5.0)
    session_id = platform.offer()
    wait_until(lambda: platform.of("start", session_id))
    assert running.stop() == 0
    assert platform.finish_of(session_id)["result"]["text"] == "saved"
    assert platform.of("release") == []


@pytest.mark.parametrize("how", ["stopping", "cancel", "terminate"])
def test_what_has_ended_by_itself_keeps_its_outcome_while_what_it_left_is_ended(
    platform: FakePlatform, start: Start, tmp_path: Path, how: str
) -> None:
    """Handed back, it would be done a second time."""
    deaf = f"trap ': > {tmp_path}/told' TERM; touch {tmp_path}/up; while :; do sleep 1; done"
    start_deaf = f"({deaf}) 2>/dev/null & {until(tmp_path / 'up')}; echo done"
    running = start("sh", "-c", start_deaf)
    session_id = platform.offer()
    wait_until((tmp_path / "told").exists)  # so its leader has ended
    if how == "stopping":
        running.stop()
    else:
        platform.direct(how, session_id)
    finish = platform.finish_of(session_id)
    assert (finish["outcome"], finish["result"], finish["error"]) == (
        "completed",
        {"text": "done"},
        None,
    )
    assert len(finish["limits"]) == 1, "one ladder, whoever began it"
    assert platform.of("release", session_id) == []


def test_sigterm_ends_the_real_command_and_its_children(
    platform: FakePlatform, tmp_path: Path
) -> None:
    environ = {
        **process_environ(),
        "TURNKEEPER_URL": platform.url,
        "TURNKEEPER_DRAIN_S": "0.2",
        "TURNKEEPER_SPOOL_DIR": str(tmp_path),
    }
    argv = [
        PY,
        "-m",
        "runtime",
        "-w",
        "ws_test",
        "--",
        "sh",
        "-c",
        f"echo $$ >{tmp_path}/p; sleep 60",
    ]
    with subprocess.Popen(argv, env=environ) as process:
        session_id = platform.offer()
        pid = int(wait_until(lambda: (tmp_path / "p").exists() and (tmp_path / "p").read_text()))
        process.terminate()
        assert process.wait(10) == 0
    assert platform.of("release", session_id)
    assert not is_alive(pid)


def test_children_do_not_outlive_a_supervisor_that_is_killed(
    platform: FakePlatform, tmp_path: Path
) -> None:
    environ = {
        **process_environ(),
        "TURNKEEPER_URL": platform.url,
        "TURNKEEPER_SPOOL_DIR": str(tmp_path),
    }
    argv = [PY, "-m", "runtime", "-w", "ws_test", "--"]
    script = (
        f"setsid sleep 60 & echo $! >{tmp_path}/orphan;"
        f"echo $TURNKEEPER_TURN_FILE >{tmp_path}/t; echo $$ >{tmp_path}/p; sleep 60"
    )
    with subprocess.Popen([*argv, "sh", "-c", script], env=environ) as process:
        platform.offer()
        pids = [
            int(wait_until(lambda n=name: (tmp_path / n).exists() and (tmp_path / n).read_text()))
            for name in ("orphan", "p")
        ]
        wait_until(lambda: len(psutil.Process(process.pid).children()) >= 2)
        process.kill()
        process.wait(5)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    directory = Path((tmp_path / "t").read_text().strip()).parent
    assert directory.name.startswith("turnkeeper-")
    wait_until(lambda: not directory.exists())
