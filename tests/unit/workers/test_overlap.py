"""What a waiting fire makes of a running session of its schedule: pure decisions over times."""

from dataclasses import replace

import pytest

from tests.unit.workers.test_watchdog import RUNNING, T0
from workers.overlap import Step, look_again_at, step

CANCEL, TERMINATE = {"cancel_other": 2}, {"terminate_other": 1}
ASKED = replace(RUNNING, checkpoint_asked_at=T0, checkpoint_by=T0 + 60_000)
CANCELED = replace(ASKED, cancel_asked_at=T0 + 60_000, cancel_by=T0 + 70_000)


@pytest.mark.parametrize("waiting", [{}, {"cancel_other": 0}, {"terminate_other": 0}])
def test_nothing_is_asked_where_no_fire_waits(waiting: dict[str, int]) -> None:
    assert step(RUNNING, waiting, T0) is None
    assert look_again_at(ASKED, waiting) is None


def test_a_checkpoint_is_asked_once_and_a_cancel_follows_its_deadline() -> None:
    assert step(RUNNING, CANCEL, T0) == Step("checkpoint", "cancel_other", 2)
    assert step(ASKED, CANCEL, T0 + 59_999) is None
    assert look_again_at(ASKED, CANCEL) == T0 + 60_000
    assert step(ASKED, CANCEL, T0 + 60_000) == Step("cancel", "cancel_other", 2)


def test_a_cancel_that_was_asked_ends_by_its_own_clock() -> None:
    assert step(CANCELED, CANCEL, T0 + 10**9) is None
    assert look_again_at(CANCELED, CANCEL) is None


@pytest.mark.parametrize("session", [RUNNING, ASKED, CANCELED])
def test_terminate_waits_for_nothing_and_is_the_harder(session: object) -> None:
    assert step(session, TERMINATE, T0) == Step("terminate", "terminate_other", 1)  # type: ignore[arg-type]
    assert step(session, {**CANCEL, **TERMINATE}, T0) == Step("terminate", "terminate_other", 1)  # type: ignore[arg-type]
