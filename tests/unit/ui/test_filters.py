"""The filters of the fleet's table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ui import filters
from tests.unit.core.test_attention import HOUR, NOW, Row, session, waiting, workspace

BUSY = Row(workspace(3), [session(2 * HOUR)], waiting_fires=2, dead_letters=1, **waiting(700_000))
IDLE = Row(workspace())


@pytest.mark.parametrize(
    ("text", "busy"),
    [
        ("", True),
        ("state:online", True),
        ("state:paused", False),
        ("state:waiting", True),
        ("waiting:>2", True),
        ("waiting:>3", False),
        ("waiting:3", True),
        ("age:>1h", True),
        ("age:>=3h", False),
        ("wait:>10m", True),
        ("wait:<10m", False),
        ("fires:>=2 dead:>0", True),
        ("fires:>=2 dead:0", False),
        ("SEO", True),
        ("agent seo", True),
        ("nobody", False),
    ],
)
def test_a_row_passes_when_every_word_holds(text: str, busy: bool) -> None:
    found = filters.parse(text)
    assert found.fault == ""
    assert found.passes(BUSY, NOW) is busy


@pytest.mark.parametrize("word", ["nonsense:1", "waiting:many", "state:odd", "age:>1y", "waiting:"])
def test_a_word_that_is_not_understood_is_named_with_the_rule_and_hides_nothing(word: str) -> None:
    found = filters.parse(word)
    assert word in found.fault
    assert "state:running" in found.fault
    assert found.passes(IDLE, NOW)


@given(st.text(max_size=80))
def test_no_text_breaks_a_filter(text: str) -> None:
    found = filters.parse(text)
    assert found.passes(BUSY, NOW) in (True, False)
