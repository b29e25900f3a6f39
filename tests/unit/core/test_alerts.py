"""Alerts as rows for the script and as sentences for a chat."""

from app.core import alerts, attention
from app.core.attention import Vitals
from app.core.events import Event
from app.core.fleet import Row
from tests.unit.core.test_attention import HOUR, NOW, SETTINGS, session, workspace


def event(name: str, workspace_id: str = "w1", **payload: object) -> Event:
    return Event("1-1", name, workspace_id, payload)


def test_what_is_measured_is_whole_milliseconds_or_a_number_of_things() -> None:
    row = Row(workspace(3), [session(2 * HOUR)], waiting_fires=3)
    found = attention.of_row(row, NOW, SETTINGS)
    assert found is not None
    over, streak = alerts.rows([found])
    assert (over["condition"], over["measured_ms"], over["limit_ms"]) == (
        "over_ceiling",
        2 * HOUR,
        HOUR,
    )
    assert (streak["condition"], streak["measured_count"], streak["limit_count"]) == (
        "waiting_streak",
        3,
        3,
    )
    assert over["sentence"] == streak["sentence"] == found.sentence


def test_two_sessions_over_their_ceiling_are_one_alert() -> None:
    row = Row(workspace(), [session(2 * HOUR), session(3 * HOUR)])
    found = attention.of_row(row, NOW, SETTINGS)
    assert found is not None
    assert [one["condition"] for one in alerts.rows([found])] == ["over_ceiling"]


def test_every_condition_of_the_platform_becomes_a_row() -> None:
    found = attention.of_platform(Vitals(NOW, {}, dispatchers=0, waiting=1))
    assert {one["condition"] for one in alerts.rows(found)} == {
        "scheduler_silent",
        "reaper_silent",
        "workers_gone",
    }


def test_a_sentence_for_a_chat_says_what_began_and_what_is_over() -> None:
    opened = event("ALERT_OPENED", severity="critical", sentence="three fires wait.")
    assert alerts.text(opened) == "[critical] three fires wait."
    over = event("ALERT_RECOVERED", condition="stalled", sentence="it hung.", open_ms=125_000)
    assert alerts.text(over) == "[recovered after 2 min 5 s] stalled: it hung."
    assert alerts.text(event("TURN_DEAD", reason="lost")) == "TURN_DEAD in w1: lost"


def test_what_users_wrote_mentions_nobody_in_a_chat() -> None:
    told = alerts.text(event("ALERT_OPENED", severity="warning", sentence="<!channel> a & b"))
    assert told == "[warning] &lt;!channel&gt; a &amp; b"


def test_only_the_format_slack_gets_a_sentence() -> None:
    one = event("ALERT_OPENED", "platform:", severity="critical", sentence="x")
    assert alerts.body("event", one)["workspace_id"] is None
    assert alerts.body("slack", one) == {"text": "[critical] x"}
