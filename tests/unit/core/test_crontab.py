"""app.core.crontab: what a crontab says, line by line, and that what is written is read back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import crontab
from app.core.crontab import Crontab, Entry

WHOLE = """\
# Edit this file to introduce tasks to be run by cron.
#
# m h  dom mon dow   command

MAILTO="owner@example.org"
SHELL = /bin/sh
# seo-tick
# recall the newest memories,
# then do one piece of work
*/30 * * * *  Do one bounded piece of work.
@daily\tWrite the report.%Keep it to 90\\% of a page.

CRON_TZ=Europe/Berlin
# 0 9 * * 1-5 Greet the team.
0 9 * * MON-FRI Greet the team.
TZ='America/New_York'
0 17 * * 5 Say goodbye.
CRON_TZ=
15 3 1 * * Clean up.
"""


def only(text: str) -> Entry:
    found = crontab.parse(text)
    assert not found.faults, found.faults
    (entry,) = found.entries
    return entry


def test_a_whole_crontab_is_read() -> None:
    found = crontab.parse(WHOLE)
    assert found.faults == ()
    assert [(e.number, e.name, e.cron_expr, e.timezone) for e in found.entries] == [
        (10, "seo-tick", "*/30 * * * *", "UTC"),
        (11, "Write the report. Keep it to 90% of a page.", "@daily", "UTC"),
        (15, "Greet the team.", "0 9 * * MON-FRI", "Europe/Berlin"),
        (17, "Say goodbye.", "0 17 * * 5", "America/New_York"),
        (19, "Clean up.", "15 3 1 * *", "UTC"),
    ]
    assert found.entries[0].notes == "recall the newest memories,\nthen do one piece of work"
    assert found.entries[0].prompt == "Do one bounded piece of work."
    assert found.entries[1].prompt == "Write the report.\nKeep it to 90% of a page."
    assert [(note.number, note.text.split()[0]) for note in found.notes] == [
        (5, "MAILTO"),
        (6, "SHELL"),
    ]


@pytest.mark.parametrize(
    ("line", "field", "rule"),
    [
        ("60 * * * * go", "minute", "'60' is not a valid minute (0-59)"),
        ("* 24 * * * go", "hour", "'24' is not a valid hour (0-23)"),
        ("* * 0 * * go", "day", "'0' is not a valid day"),
        ("* * * 13 * go", "month", "'13' is not a valid month"),
        ("* * * * 8 go", "weekday", "'8' is not a valid weekday"),
        ("0 0 30 2 * go", "cron_expr", "never fires: no day 30 in month 2"),
        ("0 0 31 4,6 * go", "cron_expr", "never fires: no day 31 in month 4,6"),
        ("* * * *", "cron_expr", "must be minute hour day month weekday, then the command; "),
        ("go", "cron_expr", "must be minute hour day month weekday, then the command; "),
        ("* * * * *", "command", "is missing"),
        ("* * * * * %", "command", "is missing"),
        ("@hourly", "command", "is missing"),
        ("@reboot go", "cron_expr", "@reboot is not a time: a schedule fires by the clock"),
        ("@Reboot", "cron_expr", "@reboot is not a time"),
        ("@every 5m", "cron_expr", "@every is not known"),
        ("CRON_TZ=Mars/Olympus", "timezone", "must name an IANA time zone"),
        ("TZ=:/etc/localtime", "timezone", "must name an IANA time zone"),
    ],
)
def test_a_bad_line_is_a_fault_with_its_number_field_and_rule(
    line: str, field: str, rule: str
) -> None:
    found = crontab.parse(f"# above\n* * * * * first\n{line}\n* * * * * last\n")
    (fault,) = found.faults
    assert (fault.number, fault.field) == (3, field)
    assert fault.rule.startswith(rule)
    assert [entry.prompt for entry in found.entries] == ["first", "last"], "the rest is read"


def test_a_comment_names_only_the_line_directly_below_it() -> None:
    assert only("# far\n\n* * * * * go").name == "go"
    assert only("# near\n* * * * * go").name == "near"
    found = crontab.parse("# one\n* * * * * a\n* * * * * b")
    assert [entry.name for entry in found.entries] == ["one", "b"]


def test_a_long_comment_is_cut_as_a_name_and_kept_as_notes() -> None:
    entry = only(f"# {'long ' * 60}\n* * * * * go")
    assert (len(entry.name), entry.name[-1]) == (200, "…")
    assert entry.notes == ("long " * 60).strip()


def test_a_repeated_name_gets_a_number_that_stays_the_same() -> None:
    text = "@daily go\n@hourly go\n# go (2)\n@weekly stay\n@monthly go\n"
    names = [entry.name for entry in crontab.parse(text).entries]
    assert names == ["go", "go (2)", "go (2) (2)", "go (3)"]
    assert names == [entry.name for entry in crontab.parse(text).entries]


def test_a_template_wraps_each_command_and_means_nothing_else() -> None:
    found = crontab.parse("@daily say {x} 50\\%", "Run: {command}\nThen {y}.")
    assert found.entries[0].prompt == "Run: say {x} 50%\nThen {y}."
    assert found.entries[0].name == "say {x} 50%"


def test_line_ends_of_windows_a_byte_order_mark_and_no_last_line_end() -> None:
    found = crontab.parse("\ufeff# tick\r\n*/5 * * * * go\r\n@daily stay")
    assert [(e.name, e.prompt) for e in found.entries] == [("tick", "go"), ("stay", "stay")]


def test_spaces_and_tabs_between_fields_are_one_blank() -> None:
    entry = only("  0\t9  *\t* 1-5   go  on ")
    assert (entry.cron_expr, entry.prompt) == ("0 9 * * 1-5", "go  on")


@given(st.text(st.sampled_from("*/5 012@#%=\\\n\r\t\"'abTZ{}CRON_rebotdailyhu,-"), max_size=80))
def test_any_text_is_read_or_told_by_line(text: str) -> None:
    found = crontab.parse(text)
    lines = text.count("\n") + 1
    for item in (*found.entries, *found.faults, *found.notes):
        assert 1 <= item.number <= lines
    names = [entry.name for entry in found.entries]
    assert len(set(names)) == len(names)
    assert all(entry.prompt and entry.name for entry in found.entries)


words = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" %\\\n"), min_size=1
)
rows = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True),
        "cron_expr": st.sampled_from(["*/5 * * * *", "@daily", "0 9 * * MON-FRI"]),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo"]),
        "prompt": words.map(str.strip).filter(bool),
        "notes": st.sampled_from(["", "one line", "two\nlines"]),
    }
)


@given(st.lists(rows, max_size=5, unique_by=lambda row: row["name"]))
def test_what_is_written_is_read_back(made: list[dict[str, Any]]) -> None:
    found: Crontab = crontab.parse(crontab.write(made))
    assert found.faults == ()
    read = [(e.name, e.cron_expr, e.timezone, e.notes) for e in found.entries]
    assert read == [(row["name"], row["cron_expr"], row["timezone"], row["notes"]) for row in made]
    for entry, row in zip(found.entries, made, strict=True):
        assert entry.prompt.replace("\\ \n", "\\\n") == row["prompt"].replace("\\ \n", "\\\n")


def test_a_paused_schedule_is_written_as_a_comment() -> None:
    row = {"name": "tick", "cron_expr": "@daily", "timezone": "UTC", "prompt": "go"}
    text = crontab.write([row | {"enabled": False}, row | {"name": "tock"}])
    assert "# off: @daily go\n" in text
    assert [entry.name for entry in crontab.parse(text).entries] == ["tock"]
