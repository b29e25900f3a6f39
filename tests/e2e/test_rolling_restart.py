"""A deploy: every process is told to stop and started again, one after another, while clients send
and fires come due. Nothing is lost, nothing is doubled, and each is down within its drain."""

from pathlib import Path

import pytest

from app.core.platform import Platform
from tests.e2e.test_kill import (
    RECOVERED,
    RECOVERY_MAX_S,
    WORKSPACES,
    Trickle,
    all_ended_once,
    completed,
    plan_fires,
)
from tests.support.wait import wait_until
from tests.support.world import (
    World,
    new_workspace,
    real_platform,
    settings_of,
    world,
)

pytestmark = pytest.mark.e2e

# A busy machine may hold the interpreter's end back; a drain that is not kept takes far longer.
SLACK_S = 5.0


def restart_each_in_turn(here: World, platform: Platform) -> dict[str, float]:
    """SIGTERM, wait for the end, start again, wait until work flows. Returns seconds to the end."""
    took = {}
    for name in ("web", "workers", "scheduler"):
        before, process = completed(platform), here.processes[name]
        took[name] = round(process.terminate(), 2)
        process.start()
        wait_until(lambda before=before: completed(platform) >= before + RECOVERED, RECOVERY_MAX_S)
    return took


def test_a_rolling_restart_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with (
        world(tmp_path, TURNKEEPER_MESSAGE_WAIT_S="0") as here,
        real_platform(here.redis.url) as platform,
    ):
        here.add_workers()
        here.add_scheduler()
        here.add_web()
        for name in WORKSPACES:
            new_workspace(platform, name)
            here.add_runtime(name, "sh", "-c", "sleep 0.1; echo ok")
        wanted = plan_fires(platform)
        with Trickle(here) as trickle:
            wait_until(lambda: completed(platform) >= RECOVERED, RECOVERY_MAX_S)
            rounds = [restart_each_in_turn(here, platform) for _ in range(2)]
        print("seconds to stop:", rounds, "refused while away:", trickle.refused_count)
        all_ended_once(platform, wanted, trickle.accepted, RECOVERY_MAX_S)
        drain_s = settings_of(here).drain_s
        assert max(max(took.values()) for took in rounds) <= drain_s + SLACK_S, rounds
