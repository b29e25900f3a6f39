"""The same scenes in real time, with the default of every setting: by hand or nightly.

A shortened run of each goes with the other end-to-end tests: the long one is known to work.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import pytest

from app.core.settings import Settings
from tests.e2e.scenes import (
    REAP_S,
    SLOWER,
    STANDSTILL_S,
    Scene,
    beats_of,
    deaf,
    locked,
    overshoot_s,
)
from tests.support.world import SIXTY_TIMES, world

pytestmark = pytest.mark.e2e

DEFAULTS = {name: "" for name in SIXTY_TIMES if name != "TURNKEEPER_LOG_FORMAT"}


@dataclass(frozen=True)
class Pace:
    """How long a step and a ceiling are, how often a runtime beats, and what says so."""

    step_s: int
    ceiling_s: float
    keepalives: range
    interval_s: float
    runtime: dict[str, str]
    platform: dict[str, str]

    def setting(self, name: str) -> float:
        """A number of the platform's settings."""
        return float(getattr(Settings.from_env({**SIXTY_TIMES, **self.platform}), name))


REAL = Pace(370, 1860, range(4, 7), 30, {"TURNKEEPER_HEARTBEAT_INTERVAL_S": "30"}, DEFAULTS)
SHORT = Pace(
    8,
    8,
    range(2, 8),
    2,
    {
        "TURNKEEPER_HEARTBEAT_INTERVAL_S": "2",
        "TURNKEEPER_KEEPALIVE_S": "1.25",
        "TURNKEEPER_KEEPALIVE_MIN_S": "1",
    },
    SLOWER,
)


@pytest.fixture(
    scope="module",
    params=[SHORT, pytest.param(REAL, marks=pytest.mark.nightly)],
    ids=["short", "real"],
)
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pace, Scene, Scene]]:
    """The six-minute step and the 31-minute ceiling, beside one another."""
    pace: Pace = request.param
    with world(tmp_path_factory.mktemp("pace"), **pace.platform) as here:
        here.add_workers()
        here.add_scheduler()
        here.add_web()
        with ThreadPoolExecutor(2) as pool, beats_of(here, "step") as gaps:
            step = pool.submit(locked, here, "step", pace.step_s, **pace.runtime)
            ceiling = pool.submit(deaf, here, "ceiling", pace.ceiling_s, **pace.runtime)
            try:
                found = step.result(), ceiling.result()
            except BaseException:
                print(here.logs())
                raise
            found[0].facts["gaps"] = gaps("step")
        yield pace, *found


def test_a_step_of_more_than_six_minutes_survives_with_a_beat_in_every_interval(
    played: tuple[Pace, Scene, Scene],
) -> None:
    pace, scene, _ = played
    gaps = scene.facts["gaps"]
    print(f"beat gaps / interval: max {max(gaps) / pace.interval_s:.3f} of {len(gaps)}")
    assert scene.facts["state"] == "completed"
    assert median(gaps) <= 1.2 * pace.interval_s
    late_s = pace.setting("heartbeat_late_s")
    assert max(gaps) < late_s < pace.step_s, "no beat waited for the end of the step"
    assert len(gaps) + 1 >= pace.step_s // pace.interval_s
    assert len(scene.told("TURN_KEEPALIVE")) in pace.keepalives
    (ended,) = scene.told("SESSION_ENDED")
    assert (ended.mechanism, ended.payload["state"]) == ("finish", "completed")
    assert ended.payload["duration_ms"] >= pace.step_s * 1000
    assert [
        e.event for e in scene.events if e.event in ("TURN_RETURNED", "WORKSPACE_OFFLINE")
    ] == []


def test_a_deaf_child_ends_at_a_ceiling_of_31_minutes(played: tuple[Pace, Scene, Scene]) -> None:
    pace, _, scene = played
    ended = scene.told("SESSION_ENDED")[0]
    print(f"overshoot {overshoot_s(ended):.3f} s at a ceiling of {pace.ceiling_s} s")
    assert ended.mechanism == "ceiling"
    assert ended.payload["limit_ms"] == pace.ceiling_s * 1000
    assert 0 <= overshoot_s(ended) <= REAP_S + STANDSTILL_S
    assert scene.facts["gone_after_s"] <= 5
    asked_ms = scene.at_ms("SESSION_ENDED", 0) - scene.at_ms("SESSION_CHECKPOINT_REQUESTED", 0)
    grace_s, late_s = pace.setting("checkpoint_grace_s"), REAP_S + STANDSTILL_S
    assert (grace_s - late_s) * 1000 <= asked_ms <= (grace_s + late_s) * 1000
