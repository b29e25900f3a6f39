"""alert.lua: a condition is told once when it has held, once when it has been gone, and one that
comes and goes is not told each time."""

import json
from typing import Any

from tests.contract.conftest import PAUSE_MS, Pass
from tests.support.kernel import Kernel

HOLD, REPEAT = PAUSE_MS, PAUSE_MS * 6


def row(condition: str = "waiting_streak") -> dict[str, Any]:
    return {
        "condition": condition,
        "severity": "critical",
        "sentence": "three fires wait",
        "setting": "TURNKEEPER_ALERT_STREAK_COUNT",
        "measured_count": 3,
        "limit_count": 3,
    }


def noted(kernel: Kernel, *found: str, hold_ms: int = HOLD, repeat_ms: int = REPEAT) -> list[Any]:
    """Opened and recovered alerts of one look."""
    text = json.dumps([row(one) for one in found])
    return kernel.run("alert", found=text, hold_ms=hold_ms, repeat_ms=repeat_ms)[1:]


def told(kernel: Kernel) -> list[str]:
    names = ("ALERT_OPENED", "ALERT_RECOVERED")
    return [one["event"] for one in kernel.events() if one["event"] in names]


def test_alert_is_told_once_it_has_held_and_once_it_has_been_gone(
    kernel: Kernel, pass_ms: Pass
) -> None:
    assert noted(kernel, "waiting_streak") == [0, 0]
    pass_ms(HOLD)
    assert [noted(kernel, "waiting_streak") for _ in range(2)] == [[1, 0], [0, 0]]
    (opened,) = kernel.events("ALERT_OPENED")
    assert opened["payload"] == row() | {"suppressed_count": 0}
    assert noted(kernel) == [0, 0]
    pass_ms(HOLD)
    assert [noted(kernel) for _ in range(2)] == [[0, 1], [0, 0]]
    (over,) = kernel.events("ALERT_RECOVERED")
    assert over["payload"]["sentence"] == "three fires wait"
    assert over["payload"]["open_ms"] >= 0


def test_alert_one_that_was_gone_for_a_moment_only_has_never_been_over(
    kernel: Kernel, pass_ms: Pass
) -> None:
    noted(kernel, "stalled", hold_ms=0)
    assert noted(kernel) == [0, 0]
    assert noted(kernel, "stalled") == [0, 0]
    pass_ms(HOLD)
    assert noted(kernel) == [0, 0], "the time it was gone begins anew"
    assert told(kernel) == ["ALERT_OPENED"]


def test_alert_one_that_comes_and_goes_is_told_anew_only_after_a_while_with_how_often(
    kernel: Kernel, pass_ms: Pass
) -> None:
    for _ in range(3):
        noted(kernel, "stalled", hold_ms=0)
        noted(kernel, "stalled", hold_ms=0)
        noted(kernel, hold_ms=0)
    assert told(kernel) == ["ALERT_OPENED", "ALERT_RECOVERED"]
    pass_ms(REPEAT)
    assert noted(kernel, "stalled", hold_ms=0) == [1, 0]
    assert kernel.events("ALERT_OPENED")[-1]["payload"]["suppressed_count"] == 2


def test_alert_conditions_are_told_each_by_itself_and_nothing_is_kept_of_what_is_long_over(
    kernel: Kernel, pass_ms: Pass
) -> None:
    assert noted(kernel, "stalled", "dead_letters", hold_ms=0) == [2, 0]
    assert noted(kernel, "stalled", hold_ms=0) == [0, 1]
    assert noted(kernel, hold_ms=0) == [0, 1]
    pass_ms(REPEAT)
    noted(kernel)
    assert kernel.data.hgetall(kernel.keys["alerts"]) == {}
    noted(kernel, "stalled")
    noted(kernel)
    assert kernel.data.hgetall(kernel.keys["alerts"]) == {}, "what was never told is forgotten"


def test_control_without_its_state_every_look_tells(bare: Kernel) -> None:
    deaf = bare.altered(
        "alert", "if state.opened_at then\n    state.gone_at = nil", "if false then"
    )
    assert [noted(deaf, "stalled", hold_ms=0, repeat_ms=0) for _ in range(2)] == [[1, 0], [1, 0]]


def test_control_without_the_interval_flapping_is_told_each_time(bare: Kernel) -> None:
    for _ in range(2):
        noted(bare, "stalled", hold_ms=0, repeat_ms=0)
        noted(bare, hold_ms=0, repeat_ms=0)
    assert told(bare) == ["ALERT_OPENED", "ALERT_RECOVERED"] * 2
