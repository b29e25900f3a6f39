"""The accounts of the played reports, and how they are told."""

import io
from typing import Any

import pytest

from app.cli.field_reports.accounts import Account, of_control, of_fires, of_step
from app.cli.field_reports.narrator import Narrator, bar

FIRST = {"state": "completed", "mechanism": None}
ENDED = {"state": "force_idled", "mechanism": "ceiling"}


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"nominal_at": f"2026-01-01T{n:02}:00:00Z", "turn_id": f"trn_{n}", "state": "completed",
         "started_at": f"2026-01-02T{n:02}:00:00Z"}
        for n in range(count)
    ]  # fmt: skip


def texts(count: int, text: str = "new\n") -> dict[str, str]:
    return {f"trn_{n}": text for n in range(count)}


def account(found: list[dict[str, Any]], said: dict[str, str]) -> Account:
    return of_fires(found, said, "new", 12)


def test_twelve_in_order_under_the_newest_prompt_are_accounted() -> None:
    found = account(rows(12)[::-1], texts(12))
    assert (found.sentence, found.faults) == ("12 fired, 12 accounted", [])


def test_a_fire_that_is_not_in_the_ledger_is_a_fault() -> None:
    found = account(rows(11), texts(11))
    assert found.sentence == "12 fired, 11 accounted"
    assert "11 fires are in the ledger" in found.faults[0]


@pytest.mark.parametrize("state", ["missed", "skipped", "queued", "dead", "failed"])
def test_a_fire_that_did_not_run_is_a_fault(state: str) -> None:
    found = rows(12)
    found[3]["state"] = state
    assert account(found, texts(12)).sentence == "12 fired, 11 accounted"
    assert state in account(found, texts(12)).faults[0]


def test_the_wrong_order_is_a_fault() -> None:
    found = rows(12)
    found[3]["started_at"] = "2026-01-03T00:00:00Z"
    assert "order" in account(found, texts(12)).faults[0]


def test_a_fire_under_the_old_prompt_is_a_fault() -> None:
    assert "another prompt" in account(rows(12), texts(12) | {"trn_5": "old"}).faults[0]


@pytest.mark.parametrize(
    ("turn", "has_ceiling", "was_told", "faults"),
    [
        (FIRST, False, True, 0),
        (ENDED, True, True, 0),
        (FIRST, True, True, 1),  # the ceiling did not act
        (ENDED, False, True, 1),  # there was none
        (FIRST, False, False, 1),  # nobody was told
        ({"state": "running", "mechanism": None}, False, True, 1),
    ],
)
def test_the_long_session_is_part_of_the_account(
    turn: dict[str, Any], has_ceiling: bool, was_told: bool, faults: int
) -> None:
    found = account(rows(12), texts(12)).with_first(turn, has_ceiling, was_told)
    assert len(found.faults) == faults


def test_the_step_must_outlast_the_limit_in_one_session_and_be_answered() -> None:
    whole = {"mechanism": "finish", "age_s": 7.1}
    done = {"state": "completed"}
    assert of_step(done, [whole], 5) == []
    assert of_step({"state": "queued"}, [whole], 5)
    assert of_step(done, [whole, whole], 5)
    assert of_step(done, [{**whole, "mechanism": "idle_timeout"}], 5)
    assert of_step(done, [{**whole, "age_s": 4.0}], 5)


def test_the_control_must_have_been_ended_for_its_silence() -> None:
    assert of_control([{"mechanism": "idle_timeout"}]) == []
    assert of_control([{"mechanism": "finish"}])


def test_off_a_terminal_there_is_no_moving_line() -> None:
    out = io.StringIO()
    told = Narrator(out, monotonic=lambda: 1.0)
    told.status(0.5, "half")
    told.tell("one\x1b[2Jthing")
    assert out.getvalue() == "    0.0 s  one\\x1b[2Jthing\n"


def test_on_a_terminal_the_moving_line_is_taken_away_before_the_next() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    told = Narrator(out, monotonic=lambda: 1.0)
    told.status(0.5, "half")
    told.tell("done")
    assert "############............" in out.getvalue()
    assert out.getvalue().endswith("\r\x1b[2K    0.0 s  done\n")


def test_a_bar_stays_inside_its_width() -> None:
    assert bar(-1) == "." * 24
    assert bar(7) == "#" * 24
