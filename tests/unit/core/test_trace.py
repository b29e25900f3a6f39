"""Trace context by the W3C rules: what is passed on, and what must be ignored."""

import pytest

from app.core import trace

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_what_is_well_formed_is_passed_on_as_it_is(flags: str) -> None:
    given = f"00-{TRACE}-{PARENT}-{flags}"
    assert trace.parent(given) == given
    assert trace.parent(f" {given}\t") == given


@pytest.mark.parametrize(
    "given",
    [
        *(None, "", "x", "00-1-2-01", GOOD.upper(), GOOD + "-", GOOD + "-more", GOOD + "0"),
        *(f"ff-{TRACE}-{PARENT}-01", f"0-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}"),
        *(f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01"),
        *(f"00-{TRACE[:-1]}-{PARENT}-01", f"00-{TRACE}-{PARENT}-0g", f"00-{TRACE}-{PARENT}-1"),
        *(f"00-{TRACE[:-1]}g-{PARENT}-01", f"{GOOD},{GOOD}", f"{GOOD}\n", f"00{TRACE}{PARENT}01"),
        *(f"01-{TRACE}-{PARENT}-01more", f"00-{TRACE[:-1]}٣-{PARENT}-01"),
    ],
)
def test_what_is_not_is_ignored(given: str | None) -> None:
    assert trace.parent(given) is None


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [("01", "01"), ("00", "00"), ("f3", "03"), ("01-what-comes-later", "01")],
)
def test_a_later_version_is_read_as_far_as_we_know_it(given: str, passed_on: str) -> None:
    assert trace.parent(f"cc-{TRACE}-{PARENT}-{given}") == f"00-{TRACE}-{PARENT}-{passed_on}"
