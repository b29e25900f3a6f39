"""What ``up`` puts into an empty platform, and what it leaves alone in another."""

import pytest

from app.cli import demo
from app.cli.client import Api
from tests.unit.cli.fake_api import TOKEN, FakeApi

SCHEDULES = "/workspaces/demo/schedules"


@pytest.mark.parametrize(("known", "runs"), [([], 1), ([{"name": demo.TICK}], 0)])
def test_a_new_schedule_fires_at_once_and_one_that_is_there_does_not(
    api: FakeApi, known: list[dict[str, str]], runs: int
) -> None:
    api.on("GET", SCHEDULES, (200, {"schedules": known}))
    api.on("POST", SCHEDULES, (201, {"id": "sch_1"}))
    api.on("POST", f"{SCHEDULES}/sch_1/run", (202, {}))
    demo.ensure_schedule(Api(api.url, TOKEN, 5))
    assert [one.path for one in api.asked].count(f"{SCHEDULES}/sch_1/run") == runs
