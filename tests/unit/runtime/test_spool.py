"""What cannot be delivered is kept and delivered later, under its fence."""

from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from runtime.settings import RuntimeSettings
from runtime.spool import REPORTS_MAX, Spool

from .conftest import WORKSPACE, Start, until
from .fake_platform import FakePlatform, wait_until


def spool_at(path: Path, max_bytes: int = 2**20) -> Spool:
    return Spool(path, WORKSPACE, max_bytes)


def wait_for_an_idle_beat(platform: FakePlatform) -> None:
    """One that was made after this call: the next may be on its way since before the turn."""
    beats = len(platform.of("heartbeat"))
    wait_until(lambda: len(platform.of("heartbeat")) >= beats + 2)
    wait_until(lambda: platform.of("heartbeat")[-1]["active_tasks"] == 0)


def test_a_finish_while_the_platform_is_down_arrives_when_it_is_back(
    platform: FakePlatform, start: Start, settings: RuntimeSettings, tmp_path: Path
) -> None:
    is_down, go = tmp_path / "is_down", tmp_path / "go"
    start("sh", "-c", f"{until(is_down)}; echo working; {until(go)}; echo done")
    session_id = platform.offer()
    wait_until(lambda: platform.of("start", session_id))
    platform.is_down = True
    is_down.touch()
    spool = spool_at(settings.spool_dir)
    wait_until(lambda: not spool.is_empty())
    go.touch()
    wait_until(lambda: [s for s in spool.waiting() if s.reports[-1]["type"] == "finish"])
    platform.is_down = False
    wait_until(lambda: platform.of("spool", session_id))
    reports = [one for body in platform.of("spool", session_id) for one in body["reports"]]
    assert [one["type"] for one in reports][-1] == "finish"
    assert reports[-1]["result"] == {"text": "working\ndone"}
    assert {one["type"] for one in reports[:-1]} == {"progress"}
    assert platform.of("spool", session_id)[0]["fence"] == platform.of("start")[0]["fence"]
    wait_until(spool.is_empty)
    wait_until(lambda: platform.of("heartbeat")[-1]["sessions"] == [])


def test_an_undelivered_session_stays_in_the_beat(
    platform: FakePlatform, start: Start, settings: RuntimeSettings, tmp_path: Path
) -> None:
    start("sh", "-c", until(tmp_path / "go"))
    session_id = platform.offer()
    wait_until(lambda: platform.of("start", session_id))
    answer = platform.answer
    platform.answer = lambda path, body: (  # type: ignore[method-assign]
        (503, {}) if path.endswith(("/finish", "/spool")) else answer(path, body)
    )
    (tmp_path / "go").touch()
    spool = spool_at(settings.spool_dir)
    wait_until(lambda: not spool.is_empty())
    wait_for_an_idle_beat(platform)
    assert platform.of("heartbeat")[-1]["sessions"] == [session_id]
    platform.answer = answer  # type: ignore[method-assign]
    wait_until(lambda: platform.of("heartbeat")[-1]["sessions"] == [])


def test_a_session_whose_reports_the_spool_has_dropped_leaves_the_beat(
    platform: FakePlatform, start: Start, settings: RuntimeSettings, tmp_path: Path
) -> None:
    """Past its bound the spool forgets the oldest; who is named for ever would never be lost."""
    start("sh", "-c", until(tmp_path / "go"))
    session_id = platform.offer()
    wait_until(lambda: platform.of("start", session_id))
    answer = platform.answer
    platform.answer = lambda path, body: (  # type: ignore[method-assign]
        (503, {}) if path.endswith(("/finish", "/spool")) else answer(path, body)
    )
    (tmp_path / "go").touch()
    small = spool_at(settings.spool_dir, max_bytes=1)
    wait_until(lambda: small.has(session_id))
    wait_for_an_idle_beat(platform)
    small.append("another", 1, {"type": "progress"})
    assert [one.session_id for one in small.waiting()] == ["another"]
    wait_until(lambda: platform.of("heartbeat")[-1]["sessions"] == ["another"])


def test_a_session_of_the_run_before_is_in_the_beat_until_its_outcome_is_delivered(
    platform: FakePlatform, start: Start, settings: RuntimeSettings
) -> None:
    spool_at(settings.spool_dir).append("ses.before", 3, {"type": "finish"})
    answer = platform.answer
    platform.answer = lambda path, body: (  # type: ignore[method-assign]
        (503, {}) if path.endswith("/spool") else answer(path, body)
    )
    start("true")
    wait_until(lambda: platform.of("heartbeat"))
    assert platform.of("heartbeat")[0]["sessions"] == ["ses.before"]
    platform.answer = answer  # type: ignore[method-assign]
    wait_until(lambda: platform.of("heartbeat")[-1]["sessions"] == [])


def test_a_spooled_finish_survives_a_restart_and_goes_out_before_the_first_beat(
    platform: FakePlatform, start: Start, settings: RuntimeSettings, tmp_path: Path
) -> None:
    first = start("sh", "-c", f"{until(tmp_path / 'go')}; echo late")
    session_id = platform.offer()
    wait_until(lambda: platform.of("start", session_id))
    platform.is_down = True
    (tmp_path / "go").touch()
    spool = spool_at(settings.spool_dir)
    wait_until(lambda: not spool.is_empty())
    first.stop()
    assert not spool.is_empty()
    platform.is_down = False
    platform.requests.clear()
    start("true")
    wait_until(lambda: platform.of("heartbeat"))
    verbs = [path.split("/")[-1] for path, _, _, _ in platform.requests]
    assert verbs[:3] == ["register", "spool", "heartbeat"]
    assert platform.of("spool", session_id)[0]["reports"][-1]["result"] == {"text": "late"}
    assert spool.is_empty()


def test_a_spooled_report_with_a_stale_fence_is_dropped_with_a_log_line(
    platform: FakePlatform, start: Start, settings: RuntimeSettings
) -> None:
    spool = spool_at(settings.spool_dir)
    spool.append("ses_old", 3, {"type": "finish", "outcome": "completed"})
    spool.append("ses_live", 4, {"type": "finish", "outcome": "completed"})
    platform.stale.add("ses_old")
    with capture_logs() as logs:
        start("true")
        wait_until(spool.is_empty)
    dropped = [entry for entry in logs if entry["event"] == "spool_dropped"]
    assert [(entry["session_id"], entry["fence"]) for entry in dropped] == [("ses_old", 3)]
    assert platform.of("spool", "ses_live")


def test_what_is_added_while_a_delivery_runs_is_not_lost(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.append("s", 1, {"type": "progress", "n": 1})
    (seen,) = spool.waiting()
    spool.append("s", 1, {"type": "finish"})
    spool.remove(seen)
    (left,) = spool.waiting()
    assert left.reports == [{"type": "finish"}]
    spool.remove(left)
    assert spool.is_empty()
    assert not spool.has("s")


def test_the_spool_is_bounded_and_says_so(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    with capture_logs() as logs:
        for number in range(REPORTS_MAX + 3):
            spool.append("s", 1, {"n": number})
    (kept,) = spool.waiting()
    assert [report["n"] for report in kept.reports] == list(range(3, REPORTS_MAX + 3))
    assert {entry["mechanism"] for entry in logs} == {"spool_reports"}
    small = spool_at(tmp_path / "small", max_bytes=4000)
    with capture_logs() as logs:
        for number in range(3):
            small.append(f"s{number}", 1, {"text": "x" * 2500})
    assert [one.session_id for one in small.waiting()] == ["s2"]
    assert {entry["mechanism"] for entry in logs} == {"spool_size"}
    assert logs[0]["limit_bytes"] == 4000


def test_a_spool_file_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.append("good", 1, {"type": "finish"})
    (tmp_path / WORKSPACE / "bad.json").write_text("{ half")
    assert [one.session_id for one in spool.waiting()] == ["good"]
    assert (tmp_path / WORKSPACE / "bad.unreadable").exists()


def test_names_of_sessions_cannot_leave_the_directory(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "in", "..", 2**20)
    spool.append("../../x", 1, {"type": "finish"})
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len(spool.waiting()) == 1


def test_a_full_disk_loses_the_report_but_not_the_runtime(
    platform: FakePlatform, start: Start, tmp_path: Path, settings: RuntimeSettings
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    start("sh", "-c", until(tmp_path / "go"), spool_dir=blocked / "spool")
    session_id = platform.offer()
    wait_until(lambda: platform.of("start", session_id))
    platform.is_down = True
    with capture_logs() as logs:
        (tmp_path / "go").touch()
        wait_until(lambda: [entry for entry in logs if entry["event"] == "spool_failed"])
    platform.is_down = False
    assert platform.finish_of(platform.offer())["outcome"] == "completed"
    assert replace(settings).spool_dir != blocked
