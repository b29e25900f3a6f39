"""``A2A_IDLE_TIMEOUT_SECONDS``: every value is decided, logged, and none stops a start."""

import logging

import pytest

from app.core.errors import SettingsFault
from app.core.settings import Settings

OLD, OWN = "A2A_IDLE_TIMEOUT_SECONDS", "TURNKEEPER_IDLE_TIMEOUT_S"
DEFAULT = 900.0


@pytest.mark.parametrize(
    ("text", "seconds", "level"),
    [
        ("", DEFAULT, "WARNING"),
        ("   ", DEFAULT, "WARNING"),
        ("fifteen", DEFAULT, "WARNING"),
        ("900s", DEFAULT, "WARNING"),
        ("0x10", DEFAULT, "WARNING"),
        ("-1", DEFAULT, "WARNING"),
        ("-0.5", DEFAULT, "WARNING"),
        ("nan", DEFAULT, "WARNING"),
        ("inf", DEFAULT, "WARNING"),
        ("-inf", DEFAULT, "WARNING"),
        ("1e999", DEFAULT, "WARNING"),
        ("5", DEFAULT, "WARNING"),
        ("59.9", DEFAULT, "WARNING"),
        ("60", 60.0, "INFO"),
        ("300", 300.0, "INFO"),
        (" 300 ", 300.0, "INFO"),
        ("899.5", 899.5, "INFO"),
        ("3.6e3", 3600.0, "INFO"),
        ("0", 0.0, "INFO"),
        ("-0", 0.0, "INFO"),
    ],
)
def test_a_value_is_taken_or_becomes_the_default_and_the_log_says_which(
    text: str, seconds: float, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "app.core.settings"):
        assert Settings.from_env({OLD: text}).idle_timeout_s == seconds
    (told,) = caplog.records
    assert told.levelname == level
    assert OLD in told.getMessage()
    assert ("never" in told.getMessage()) == (seconds == 0)
    if level == "WARNING":
        assert "900" in told.getMessage()
        assert repr(text) in told.getMessage()


def test_not_set_is_the_default_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "app.core.settings"):
        assert Settings.from_env({}).idle_timeout_s == DEFAULT
        assert Settings.from_env({OWN: "120"}).idle_timeout_s == 120
    assert caplog.records == []


@pytest.mark.parametrize("old", ["300", "text", "0", "-1"])
def test_with_both_names_set_our_own_counts_and_the_log_says_so(
    old: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "app.core.settings"):
        assert Settings.from_env({OLD: old, OWN: "120"}).idle_timeout_s == 120
    (told,) = caplog.records
    assert OLD in told.getMessage() and OWN in told.getMessage()


def test_an_empty_name_of_ours_leaves_the_other_to_count() -> None:
    assert Settings.from_env({OLD: "300", OWN: " "}).idle_timeout_s == 300


@pytest.mark.parametrize("text", ["", "text"])
def test_control_our_own_name_with_a_bad_value_stops_the_start_unless_empty(text: str) -> None:
    if text:
        with pytest.raises(SettingsFault, match=OWN):
            Settings.from_env({OWN: text})
    else:
        assert Settings.from_env({OWN: text}).idle_timeout_s == DEFAULT


def test_a_value_below_two_beats_of_the_interval_in_force_is_not_taken() -> None:
    quick = {"TURNKEEPER_HEARTBEAT_INTERVAL_S": "0.5"}
    assert Settings.from_env({OLD: "5", **quick}).idle_timeout_s == 5
