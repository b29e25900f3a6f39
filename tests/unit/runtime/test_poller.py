"""One poll is always open: directives come at once, and the next turn as soon as a slot is free."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.client import Interrupted, Platform, Token
from runtime.settings import RuntimeSettings

from .conftest import Start, until
from .fake_platform import FakePlatform, wait_until

WAITS = "while [ ! -e $TURNKEEPER_CONTROL_FILE ]; do sleep 0.01; done; cat $TURNKEEPER_CONTROL_FILE"


def test_a_checkpoint_reaches_the_childs_control_file_at_once_without_a_beat(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    platform.speaks_by_beat = False
    start("sh", "-c", f"echo $TURNKEEPER_CONTROL_FILE > {tmp_path}/c; {WAITS}", poll_wait_s=30)
    session_id = platform.offer()
    control = Path(
        wait_until(lambda: (tmp_path / "c").exists() and (tmp_path / "c").read_text().strip())
    )
    wait_until(lambda: platform.polls[-1:] == [0])
    platform.direct("checkpoint", session_id, deadline_at="2030-01-01T00:00:00Z")
    wait_until(control.exists, 8)  # by no beat, and a poll that is not told waits 30 s
    assert json.loads(platform.finish_of(session_id)["result"]["text"])["action"] == "checkpoint"


def test_a_poll_stays_open_while_every_slot_is_taken(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start("sh", "-c", until(tmp_path / "go"), poll_wait_s=0.2)
    session_id = platform.offer()
    wait_until(lambda: platform.polls.count(0) >= 2)
    (tmp_path / "go").touch()
    platform.finish_of(session_id)
    assert wait_until(lambda: platform.polls[-1] == 1)


def test_a_free_slot_ends_the_poll_without_room_and_the_next_turn_starts_at_once(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start("sh", "-c", until(tmp_path / "{prompt}"), poll_wait_s=30)
    first, second = platform.offer("1"), platform.offer("2")
    wait_until(lambda: platform.polls[-1:] == [0])
    assert platform.of("start", second) == []
    (tmp_path / "1").touch()
    platform.finish_of(first)
    wait_until(lambda: platform.of("start", second), 8)  # before the poll's 30 s are over
    wait_until(lambda: platform.polls == [1, 0, 1, 0])
    (tmp_path / "2").touch()
    platform.finish_of(second)
    wait_until(lambda: platform.polls == [1, 0, 1, 0, 1])


def test_the_same_order_by_poll_and_by_beat_is_obeyed_once(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    script = f"trap 'echo INT >> {tmp_path}/got' INT; echo up; {until(tmp_path / 'go')}"
    start("sh", "-c", script, kill_grace_s=60.0)
    session_id = platform.offer()
    wait_until(lambda: platform.of("progress", session_id))
    platform.direct("cancel", session_id)
    wait_until((tmp_path / "got").exists)
    beats = len(platform.of("heartbeat"))
    wait_until(lambda: len(platform.of("heartbeat")) >= beats + 3)
    (tmp_path / "go").touch()
    assert platform.finish_of(session_id)["outcome"] == "canceled"
    assert (tmp_path / "got").read_text() == "INT\n"


def test_a_platform_without_the_poll_still_directs_by_beat(
    platform: FakePlatform, start: Start
) -> None:
    platform.speaks_by_poll = False
    start("sleep", "30")
    session_id = platform.offer()
    wait_until(lambda: platform.of("start", session_id))
    platform.direct("cancel", session_id)
    assert platform.finish_of(session_id)["outcome"] == "canceled"


def test_a_turn_that_comes_without_room_is_handed_back(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    start("sh", "-c", until(tmp_path / "go"), poll_wait_s=0.3)
    first = platform.offer()
    wait_until(lambda: platform.polls[-1:] == [0])
    careless: Any = platform._next
    platform._next = lambda room, wait_s: careless(1, wait_s)  # type: ignore[method-assign]
    second = platform.offer()
    assert wait_until(lambda: platform.of("release", second))[0]["reason"] == "no_room"
    (tmp_path / "go").touch()
    assert platform.finish_of(first)["outcome"] == "completed"


@pytest.fixture
def client(settings: RuntimeSettings, platform: FakePlatform) -> Any:
    made = Platform(settings.url, "ws_test", Token("t"), "i")
    yield made
    made.close()


def test_an_interrupt_before_during_and_after_a_request_ends_it_and_rearming_allows_the_next(
    platform: FakePlatform, client: Platform
) -> None:
    for delay_s in (0.0, 0.0, 0.1):
        client.rearm()
        timer = threading.Timer(delay_s, client.interrupt)
        if delay_s:
            timer.start()
        else:
            client.interrupt()
        asked_at = time.monotonic()
        with pytest.raises(Interrupted):
            client.next_turn(5, 0)
        assert time.monotonic() - asked_at < 4
    client.rearm()
    platform.offer()
    assert client.next_turn(1, 1)["turn"] is not None
