"""Decisions without effects: settings, pace, ladder, lines, backoff, wire, options."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from runtime.backoff import delay_s
from runtime.kill import Step, next_step
from runtime.options import parse
from runtime.pace import Due, due
from runtime.rings import LineSplitter, TailRing
from runtime.settings import RuntimeSettings, without_secrets
from runtime.wire import MalformedTurnError, parse_directives, parse_turn


@pytest.mark.parametrize(
    ("text", "used", "is_logged"),
    [
        (None, 30, False),
        ("30", 30, False),
        ("5", 5, False),
        ("300", 300, False),
        ("1", 5, True),
        ("4.9", 5, True),
        ("301", 300, True),
        ("-3", 5, True),
        ("0", 5, True),
        ("abc", 30, True),
        ("", 30, True),
        ("nan", 30, True),
        ("inf", 30, True),
    ],
)
def test_the_heartbeat_interval_is_clamped(text: str | None, used: float, is_logged: bool) -> None:
    with capture_logs() as logs:
        environ = {} if text is None else {"TURNKEEPER_HEARTBEAT_INTERVAL_S": text}
        assert RuntimeSettings.from_env(environ).heartbeat_interval_s == used
    assert [entry["setting"] for entry in logs] == ["TURNKEEPER_HEARTBEAT_INTERVAL_S"] * is_logged


@pytest.mark.parametrize(
    ("text", "used"), [("59", 60), ("60", 60), ("75", 75), ("91", 90), ("x", 75)]
)
def test_the_keepalive_is_clamped(text: str, used: float) -> None:
    assert RuntimeSettings.from_env({"TURNKEEPER_KEEPALIVE_S": text}).keepalive_s == used


def test_the_clamps_can_be_moved_but_not_crossed() -> None:
    names = ("TURNKEEPER_KEEPALIVE_S", "TURNKEEPER_KEEPALIVE_MIN_S", "TURNKEEPER_KEEPALIVE_MAX_S")
    moved = dict(zip(names, ("0.5", "0.1", "2"), strict=True))
    assert RuntimeSettings.from_env(moved).keepalive_s == 0.5
    crossed = dict(zip(names, ("0.5", "10", "2"), strict=True))
    assert RuntimeSettings.from_env(crossed).keepalive_s == 60
    only_max = {"TURNKEEPER_HEARTBEAT_MAX_S": "10"}
    assert RuntimeSettings.from_env(only_max).heartbeat_interval_s == 10


def test_settings_never_show_the_token() -> None:
    settings = RuntimeSettings.from_env({"TURNKEEPER_TOKEN": "hush", "X": "hush"})
    assert settings.token == "hush"
    assert "hush" not in repr(settings)
    seen = without_secrets(
        {"TURNKEEPER_ADMIN_TOKEN": "a", "TURNKEEPER_URL": "u", "OTHER_TOKEN": "o"}
    )
    assert seen == {"TURNKEEPER_URL": "u", "OTHER_TOKEN": "o"}


def test_the_environment_is_read_in_the_settings_and_by_the_hook_only() -> None:
    package = Path(__file__).parents[3] / "runtime"
    readers = {
        path.name
        for path in package.rglob("*.py")
        if "os.environ" in path.read_text() or "getenv" in path.read_text()
    }
    assert readers == {"settings.py", "hook.py"}


@pytest.mark.parametrize(
    ("now", "sent", "has_news", "expected"),
    [
        (10.0, 9.5, True, Due("", 0.5)),
        (10.0, 9.0, True, Due("news", 0.0)),
        (84.0, 10.0, False, Due("", 1.0)),
        (85.0, 10.0, False, Due("keepalive", 0.0)),
        (85.0, 10.0, True, Due("news", 0.0)),
    ],
)
def test_the_pace_of_reports(now: float, sent: float, has_news: bool, expected: Due) -> None:
    assert due(now, sent, has_news, 1.0, 75.0) == expected


@pytest.mark.parametrize(
    ("sent", "since", "alive", "is_hurried", "expected"),
    [
        (0, 0.0, 2, False, Step.SEND),
        (0, 0.0, 0, False, Step.DONE),
        (1, 9.9, 2, False, Step.WAIT),
        (1, 10.0, 2, False, Step.SEND),
        (1, 0.1, 2, True, Step.SEND),
        (2, 10.0, 1, False, Step.SEND),
        (3, 4.9, 1, True, Step.WAIT),
        (3, 5.0, 1, False, Step.GIVE_UP),
        (3, 5.0, 0, False, Step.DONE),
    ],
)
def test_the_rungs_of_the_kill_ladder(
    sent: int, since: float, alive: int, is_hurried: bool, expected: Step
) -> None:
    assert next_step(sent, 3, since, 10.0, alive, is_hurried=is_hurried) is expected


def test_lines_are_joined_over_chunks_and_cut_at_the_cap() -> None:
    splitter = LineSplitter(4)
    assert splitter.feed(b"ab") == []
    assert [line.text for line in splitter.feed(b"c\r\nxy\n\n")] == ["abc", "xy", ""]
    (long,) = splitter.feed(b"123456789\n")
    assert (long.text, long.measured_bytes, long.is_cut) == ("1234", 9, True)
    splitter.feed(b"12")
    (last,) = splitter.feed(b"345") or splitter.close()
    assert (last.text, last.measured_bytes) == ("1234", 5)
    assert splitter.close() == []
    assert splitter.longest_bytes == 9


def test_a_ring_keeps_the_tail_in_at_most_twice_its_size() -> None:
    ring = TailRing(10)
    for number in range(1000):
        ring.write(b"%03d" % number)
        assert len(ring._kept) <= 20
    assert ring.tail() == b"7998999"[-1:] + b"997998999" or ring.tail() == b"6997998999"
    assert ring.total_bytes == 3000
    assert ring.is_cut


def test_backoff_doubles_to_its_bound_with_jitter_below() -> None:
    assert [delay_s(n, 1, 8, jitter=1) for n in (1, 2, 3, 4, 5, 500)] == [1, 2, 4, 8, 8, 8]
    assert delay_s(3, 1, 8, jitter=0) == 2
    assert all(2 <= delay_s(3, 1, 8) <= 4 for _ in range(50))


@pytest.mark.parametrize("missing", ["session_id", "turn_id", "fence"])
def test_a_turn_without_its_ids_is_malformed(missing: str) -> None:
    raw = {"session_id": "s", "turn_id": "t", "fence": 1, "prompt": None}
    assert parse_turn(raw).prompt == ""
    del raw[missing]
    with pytest.raises(MalformedTurnError):
        parse_turn(raw)


def test_directives_that_cannot_be_read_are_left_out() -> None:
    good = {"type": "cancel", "session_id": "s", "fence": 3}
    bad = [{"type": "dance", "session_id": "s"}, 7, {"type": "cancel"}, {**good, "fence": "x"}]
    (found,) = parse_directives({"directives": [*bad, good]})
    assert (found.type, found.session_id, found.fence) == ("cancel", "s", 3)
    assert parse_directives({"directives": None}) == ()


def test_the_command_line() -> None:
    found = parse(["-w", "ws", "--stdin", "--max-concurrent", "3", "--", "codex", "exec", "--json"])
    assert found.command.argv == ("codex", "exec", "--json")
    assert (found.workspace_id, found.max_concurrent, found.command.uses_stdin) == ("ws", 3, True)
    assert parse(["-w", "ws", "--file", "--", "run"]).command.argv == ("run", "{file}")
    for wrong in (["-w", "ws"], ["-w", "ws", "--"], ["-w", "ws", "--max-concurrent", "0", "x"]):
        with pytest.raises(SystemExit):
            parse(wrong)
