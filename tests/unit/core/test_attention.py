"""What needs a person's attention, decided from values."""

from dataclasses import replace
from typing import Any

import pytest

from app.core import attention
from app.core.attention import Vitals
from app.core.fleet import Row
from app.core.policy import Freshness
from app.core.records import Session, Turn
from app.core.settings import Settings
from app.core.workspaces import Workspace

NOW, MINUTE, HOUR = 1_800_000_000_000, 60_000, 3_600_000
SETTINGS = Settings.model_validate({})


def workspace(depth: int = 0, beat_ago_ms: int | None = 5_000, **stored: str) -> Workspace:
    beat = {} if beat_ago_ms is None else {"beat_at": str(NOW - beat_ago_ms)}
    return Workspace(
        id="seo",
        stored={"name": "SEO Agent", "status": "online", **beat, **stored},
        live_count=1,
        waiting={"cron": depth},
        returned_count=0,
        parked_count=0,
        zombie_count=0,
        capacity={"max_concurrent": "1"} if beat_ago_ms == 5_000 else {},
    )


def session(age_ms: int, **more: Any) -> Session:
    at, ceiling_ms = NOW - age_ms, more.pop("ceiling_ms", HOUR)
    return Session(
        "ses_1", "trn_1", 7, "running", 1, "cron", "cron", at, at, at, ceiling_ms,
        started_at=at, **more,
    )  # fmt: skip


def waiting(ago_ms: int) -> dict[str, Any]:
    turn = Turn("trn_2", "queued", "cron", "cron", 2, "0-0", NOW - ago_ms, NOW, 0, 0, 600_000)
    return {"oldest_waiting": turn, "oldest_wait_ms": ago_ms}


def codes(row: Row) -> list[str]:
    found = attention.of_row(row, NOW, SETTINGS)
    return [one.code for one in found.conditions] if found else []


def test_the_six_hours_of_the_field_report_are_one_sentence_with_two_buttons() -> None:
    asked = {"checkpoint_asked_at": NOW - 5 * MINUTE, "checkpoint_by": NOW - 4 * MINUTE}
    row = Row(workspace(12), [session(6 * HOUR, **asked)], waiting_fires=12, **waiting(5 * HOUR))
    found = attention.of_row(row, NOW, SETTINGS)
    assert found is not None
    assert found.sentence == (
        "SEO Agent: one session for 6 h 00 min (ceiling 1 h 00 min), "
        "asked to checkpoint 07:55 UTC, no answer; 12 fires wait, the oldest for 5 h 00 min."
    )
    assert found.severity == "critical"
    assert [one.code for one in found.conditions] == [
        "over_ceiling",
        "checkpoint_unanswered",
        "waiting_streak",
        "oldest_wait",
    ]
    assert [one.label for one in found.actions] == ["Checkpoint", "End session"]
    assert "12 turns wait" in found.actions[1].confirm
    assert found.actions[1].path == "/workspaces/seo/sessions/ses_1/end"


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (Row(workspace(), [session(HOUR)]), []),
        (Row(workspace(), [session(HOUR + 1)]), ["over_ceiling"]),
        (Row(workspace(), [session(9 * HOUR, ceiling_ms=0)]), []),
        (Row(workspace(2), [session(1)], waiting_fires=2, **waiting(1)), []),
        (Row(workspace(3), [session(1)], waiting_fires=3, **waiting(1)), ["waiting_streak"]),
        (Row(workspace(1), [], **waiting(900_000)), []),
        (Row(workspace(1), [], **waiting(900_001)), ["oldest_wait"]),
        (Row(workspace(1, 200_000), [], **waiting(1)), ["heartbeat_lost"]),
        (Row(workspace(0, 200_000), []), []),
        (Row(workspace(1, None), [], **waiting(1)), []),
        (Row(workspace(1, None), [], **waiting(180_001)), ["heartbeat_lost"]),
        (Row(workspace(), [session(9, stalled_at=NOW)]), ["stalled"]),
        (Row(workspace(), [], dead_letters=1), ["dead_letters"]),
        (Row(workspace(3, paused_at="1"), [], waiting_fires=9, **waiting(HOUR)), []),
    ],
)
def test_each_condition_holds_only_beyond_its_limit(row: Row, wanted: list[str]) -> None:
    assert codes(row) == wanted


def test_a_session_under_an_older_policy_is_told_after_its_limit() -> None:
    stale = Freshness("ses_1", "sch_1", 7, 8, 2, NOW - 1_800_001)
    row = Row(workspace(), [session(1)], freshness=[stale])
    found = attention.of_row(row, NOW, SETTINGS)
    assert found is not None
    assert "works under an older policy (prompt 7 → 8, 2 memories unseen)" in found.sentence
    fresh = replace(row, freshness=[replace(stale, stale_since=NOW - 1_799_000)])
    assert codes(fresh) == []


def test_every_condition_names_what_was_measured_and_whose_limit_it_is() -> None:
    row = Row(workspace(12), [session(6 * HOUR)], waiting_fires=12, **waiting(5 * HOUR))
    found = attention.of_row(row, NOW, SETTINGS)
    assert found is not None
    for one in found.conditions:
        assert one.measured > one.limit - 1
        assert one.setting
    assert set(attention.SEVERITY) >= {one.code for one in found.conditions}


def test_the_platform_s_own_silence_is_told() -> None:
    alive = {"fire_due": NOW - 1000, "reap": NOW - 1000}
    assert attention.of_platform(Vitals(NOW, alive, dispatchers=1, waiting=5)) == []
    found = attention.of_platform(Vitals(NOW, {"reap": NOW - 60_000}, dispatchers=0, waiting=1))
    assert [one.mechanism for one in found] == ["scheduler_silent", "reaper_silent", "workers_gone"]
    assert "has never been heard" in found[0].sentence
    assert "1 min ago" in found[1].sentence or "60 s" in found[1].sentence
    assert "1 turn waits" in found[2].sentence
    assert attention.of_platform(Vitals(NOW, alive, dispatchers=0, waiting=0)) == []
