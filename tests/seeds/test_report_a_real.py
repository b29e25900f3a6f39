"""Report A through real processes: at sixty times the speed (nightly), and much faster."""

import sys
from pathlib import Path
from typing import Any

import pytest

from app.core import keys, schedules
from app.core.platform import Platform
from scheduler import fires
from tests.support.wait import wait_until
from tests.support.world import (
    START_S,
    all_events,
    endings,
    ledger,
    open_turns,
    real_platform,
    world,
)

WORKSPACE = "seo"
FIRES = 12
HOLD = (
    "import sys, time, pathlib\n"
    "while sys.argv[1] == 'hold' and not pathlib.Path(sys.argv[2]).exists(): time.sleep(0.1)\n"
    "print(sys.argv[1])\n"
)
# Far from now, so that the scheduler's own next time never comes; the test says the times.
YEARLY = {"name": "seo-tick", "cron_expr": "0 0 1 1 *", "timezone": "UTC", "prompt": "old"}


def fire_at(platform: Platform, schedule: schedules.Schedule, nominal: list[int]) -> bool:
    """Fire times from a list, beside a scheduler that is also at it. True: all are made."""
    own = keys.of(WORKSPACE)["due"]
    stands = platform.clients.data.zscore(own, schedule.id)  # before the ledger: see below
    made = {fire.nominal_at for fire in schedules.fires(platform, WORKSPACE, schedule.id, 100)}
    left = [at for at in nominal if at not in made]
    if left and stands > nominal[-1]:  # made by the scheduler process: it knows no next one
        platform.clients.data.zadd(own, {schedule.id: left[0]})
        schedules.hint_due(platform, schedule, left[0])
    following = dict(zip(nominal, [*nominal[1:], 2**42], strict=True))
    fires.fire_due(platform, lambda cron, zone, at: following[at])
    return not left


@pytest.mark.e2e
@pytest.mark.parametrize(
    "cadence_s", [0.4, pytest.param(30, marks=pytest.mark.nightly)], ids=["fast", "60x"]
)
def test_twelve_fires_wait_behind_a_held_child_and_drain_when_it_ends(
    tmp_path: Path, cadence_s: float
) -> None:
    release = tmp_path / "release"
    with world(tmp_path, TURNKEEPER_MESSAGE_WAIT_S="0") as here:
        here.add_workers()
        here.add_scheduler()
        here.add_web()
        here.ask("POST", "/workspaces", {"id": WORKSPACE})
        here.ask("PATCH", f"/workspaces/{WORKSPACE}", {"ceiling_s": 0})
        command = (sys.executable, "-c", HOLD, "{prompt}", str(release))
        runtime = here.add_runtime(WORKSPACE, *command)
        held = here.send(WORKSPACE, "hold")
        wait_until(lambda: here.turn(WORKSPACE, held)["state"] == "running", START_S)

        with real_platform(here.redis.url) as platform:
            schedule = schedules.create(platform, WORKSPACE, YEARLY)
            began = platform.now_ms()
            nominal = [began + round(1000 * cadence_s * n) for n in range(1, FIRES + 1)]
            wait_until(
                lambda: fire_at(platform, schedule, nominal), FIRES * cadence_s + START_S, 0.05
            )
            rows = ledger(platform, WORKSPACE)
            assert [row["state"] for row in rows.values()] == ["queued"] * FIRES
            told = here.ask("GET", f"/workspaces/{WORKSPACE}/why")
            assert told["code"] == "capacity_full"
            assert told["sentence"].endswith("12 fires of seo-tick wait.")
            here.ask("PATCH", f"/workspaces/{WORKSPACE}/schedules/{schedule.id}", {"prompt": "new"})

            release.touch()
            wait_until(lambda: not open_turns(platform, WORKSPACE), 60)
            rows = ledger(platform, WORKSPACE)
            assert [row["state"] for row in rows.values()] == ["completed"] * FIRES
            assert set(endings(platform, WORKSPACE).values()) == {1}
            assert_in_order(platform, nominal)
        for row in rows.values():
            result: Any = here.turn(WORKSPACE, row["turn_id"])["result"]
            assert result["text"].strip() == "new", "the policy of now, not of when it was queued"
        runtime.end()


def assert_in_order(platform: Platform, nominal: list[int]) -> None:
    """One at a time, the oldest first, nothing skipped, expired or returned."""
    claimed, live = [], 0
    for event in all_events(platform, WORKSPACE):
        assert event.event not in ("CRON_SKIPPED", "CRON_MISSED", "TURN_EXPIRED", "TURN_RETURNED")
        live += (event.event == "TURN_CLAIMED") - (event.event == "SESSION_ENDED")
        assert live <= 1
        if event.event == "CRON_EXECUTED":
            claimed.append(event.payload["nominal_at"])
    assert claimed == nominal
