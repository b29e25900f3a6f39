"""The whole output in files, by choice: capped, reported, and never in the way of the draining."""

import sys
from pathlib import Path

from .conftest import Start
from .fake_platform import FakePlatform

PY = sys.executable


def test_there_is_no_log_unless_it_is_wished(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start("echo", "hi")
    platform.finish_of(platform.offer())
    assert not list(tmp_path.rglob("*.log"))


def test_both_streams_are_kept_whole(platform: FakePlatform, start: Start, tmp_path: Path) -> None:
    start("sh", "-c", "echo out; echo err >&2", log_dir=tmp_path / "logs")
    session_id = platform.offer(session_id="ses/../1")
    assert platform.finish_of("ses%2F..%2F1")["limits"] == []
    assert session_id == "ses/../1"
    found = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert found == {
        "ses%2F%2E%2E%2F1.stdout.log": "out\n",
        "ses%2F%2E%2E%2F1.stderr.log": "err\n",
    }
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "logs").iterdir()} == {0o600}


def test_past_the_cap_the_draining_goes_on_and_the_cut_is_reported(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start(PY, "-c", "print('x' * 200000, end='')", log_dir=tmp_path / "logs", log_max_bytes=2000)
    session_id = platform.offer()
    report = platform.finish_of(session_id)
    assert len(report["result"]["text"]) == 200_000
    assert report["limits"] == [
        {
            "mechanism": "stdout_log",
            "limit_bytes": 2000,
            "setting": "TURNKEEPER_LOG_MAX_BYTES",
            "measured_bytes": 200_000,
        }
    ]
    text = (tmp_path / "logs" / f"{session_id}.stdout.log").read_text()
    assert text == "x" * 2000 + "\n[cut: TURNKEEPER_LOG_MAX_BYTES=2000]\n"


def test_a_disk_that_does_not_take_the_log_does_not_stop_the_turn(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    start("echo", "hi", log_dir=tmp_path / "file" / "logs")
    report = platform.finish_of(platform.offer())
    assert (report["outcome"], report["result"]["text"]) == ("completed", "hi")
    (hit,) = report["limits"]
    assert (hit["mechanism"], hit["setting"]) == ("full_log", "TURNKEEPER_LOG_DIR")
