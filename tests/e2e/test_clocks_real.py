"""The clocks at sixty times the speed on real processes: one world, a workspace for each case."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import median

import pytest

from tests.e2e import scenes
from tests.e2e.scenes import (
    GRACE_S,
    LATE_S,
    REAP_S,
    SLOWER,
    STANDSTILL_S,
    Scene,
    beats_of,
    overshoot_s,
)
from tests.support.world import World, world

pytestmark = pytest.mark.e2e

AT_ONCE = ("deaf", "stopped", "obedient", "locked", "operated", "handed_back")
INTERVAL_S = 2.0
# What follows over the open poll; the next beat, and the next poll, come much later.
SOON_S = 5.0
Played = Callable[[str], Scene]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("clocks"), **SLOWER) as made:
        made.add_workers()
        made.add_scheduler()
        made.add_web()
        yield made


@pytest.fixture(scope="module")
def played(here: World) -> Iterator[Played]:
    """Every scene: all at once, then the one that takes the reaper away from everybody."""
    with ThreadPoolExecutor(len(AT_ONCE)) as pool, beats_of(here, "stopped", "locked") as gaps:
        found: dict[str, Future[Scene]] = {
            name: pool.submit(getattr(scenes, name), here) for name in AT_ONCE
        }
        for name in AT_ONCE:
            found[name].exception()
        found["unreaped"] = pool.submit(scenes.unreaped, here)
        found["unreaped"].exception()
        for name in ("stopped", "locked"):
            if not found[name].exception():
                found[name].result().facts["gaps"] = gaps(name)

        def of(name: str) -> Scene:
            try:
                return found[name].result()
            except BaseException:
                print(here.logs())
                raise

        yield of


def test_a_deaf_child_ends_at_its_ceiling_and_nothing_of_its_tree_is_left(played: Played) -> None:
    scene = played("deaf")
    ended = scene.told("SESSION_ENDED")[0]
    gone_s = scene.facts["gone_after_s"]
    print(f"overshoot {overshoot_s(ended):.3f} s, tree gone {gone_s:.2f} s after that was seen")
    assert (ended.mechanism, ended.payload["setting"]) == ("ceiling", "workspace.ceiling_s")
    assert 0 <= overshoot_s(ended) <= REAP_S + STANDSTILL_S
    assert scene.facts["gone_after_s"] <= SOON_S
    assert scene.told("SESSION_CHECKPOINT_REQUESTED")[0].mechanism == "ceiling"
    assert scene.facts["state"] == "force_idled"
    waited_ms = scene.at_ms("TURN_DELIVERED", 1) - scene.at_ms("SESSION_ENDED", 0)
    print(f"slot freed to next turn handed over: {waited_ms} ms")
    assert waited_ms <= SOON_S * 1000, "as soon as the child is killed, not with the next beat"


def test_a_stopped_child_keeps_no_beat_back_and_its_ceiling_ends_it(played: Played) -> None:
    scene = played("stopped")
    gaps = scene.facts["gaps"]
    assert median(gaps) <= 1.2 * INTERVAL_S
    assert max(gaps) < LATE_S, "shorter than the child was stopped"
    (ended,) = scene.told("SESSION_ENDED")
    asked_by = ended.payload.get("asked_by", ended.mechanism)
    assert asked_by == "ceiling"
    # Woken and canceled ten seconds (here 0.2) before it, or killed at it.
    assert -0.3 <= overshoot_s(ended) <= REAP_S + STANDSTILL_S
    assert scene.facts["gone_after_s"] <= SOON_S


def test_a_child_that_obeys_its_control_file_yields_its_note_to_the_next_turn(
    played: Played,
) -> None:
    scene = played("obedient")
    first, second = scene.facts["turns"]
    assert (first["state"], second["state"]) == ("yielded", "completed")
    assert second["result"]["text"].strip() == "went on: the other half"
    (left,) = scene.told("SESSION_CHECKPOINTED")
    (asked,) = scene.told("SESSION_CHECKPOINT_REQUESTED")
    assert left.payload["note"]["summary"].endswith("Z"), "an absolute deadline in UTC"
    took_ms = int(left.id.split("-")[0]) - int(asked.id.split("-")[0])
    print(f"asked, obeyed and reported in {took_ms} ms")
    assert took_ms <= GRACE_S * 1000, "over the open poll, before the ceiling came"


def test_a_call_that_holds_the_interpreters_lock_silences_nothing(played: Played) -> None:
    scene = played("locked")
    gaps = scene.facts["gaps"]
    print(f"beat gaps / interval: max {max(gaps) / INTERVAL_S:.3f} of {len(gaps)}")
    assert len(gaps) >= 3
    assert median(gaps) <= 1.2 * INTERVAL_S
    assert max(gaps) < LATE_S, "shorter than the lock was held"
    assert scene.told("WORKSPACE_DEGRADED") == []
    assert scene.told("SESSION_ENDED")[0].mechanism == "finish"


def test_the_kill_button_kills_soon_and_waits_for_no_beat(played: Played) -> None:
    scene = played("operated")
    print(f"killed {scene.facts['killed_after_s']:.3f} s after the request")
    assert scene.facts["killed_after_s"] <= SOON_S
    assert scene.facts["state"] == "force_idled"
    assert scene.facts["again"] == "operator"
    ended = scene.told("SESSION_ENDED")
    assert [event.mechanism for event in ended] == ["operator", "finish"]
    assert ended[0].payload["reason"] == "enough"


def test_a_supervisor_that_is_told_to_stop_hands_its_turn_back(played: Played) -> None:
    scene = played("handed_back")
    assert scene.facts["gone"]
    # Laid out again for nobody, as long as the last beat of the stopped runtime is believed.
    assert scene.facts["turn"]["state"] in ("queued", "claimed")
    assert scene.facts["attempt"] >= 2
    returned = scene.told("TURN_RETURNED")[0]
    assert (returned.mechanism, returned.payload["losses"]) == ("released", 0)


def test_a_call_that_never_returns_ends_though_the_reaper_was_killed_meanwhile(
    played: Played,
) -> None:
    scene = played("unreaped")
    after_s = scene.facts["ended_after_s"]
    print(f"{scene.facts['kills']} kills; ended {after_s:.2f} s after its return")
    assert scene.facts["kills"] >= 2
    assert scene.facts["state_while_dead"] not in ("force_idled", "completed")
    assert scene.facts["state"] == "force_idled"
    assert after_s <= 30 + REAP_S, "the pause before its start, that start, and one tick"
    assert len(scene.told("SESSION_ENDED")) == 1
