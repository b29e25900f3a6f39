"""The minute's look at the events: what it trims, what it leaves, which lines it mends."""

from dataclasses import replace

from app.core import events, keys, lines
from app.core.platform import Platform
from tests.integration.workers.test_webhooks import hook, platform, tell
from tests.support.receiver import receiver
from tests.support.world import new_workspace
from workers import trimming

__all__ = ["platform"]


def keeping(platform: Platform, events_kept: int) -> Platform:
    return replace(
        platform, settings=platform.settings.model_copy(update={"events_kept": events_kept})
    )


def test_a_line_that_a_death_left_open_is_closed_by_the_trimming(platform: Platform) -> None:
    lines.open_one(platform, "w1", "wh_gone", "0-0")
    trimming.trim(platform)
    assert not platform.clients.data.exists(keys.of("w1")["owed"])
    [hit] = [one for one in events.latest(platform, "w1", 9) if one.event == "LIMIT_HIT"]
    assert hit.mechanism == "webhook_removed"


def test_the_trimming_leaves_the_lines_of_a_webhook_alone(platform: Platform) -> None:
    with receiver() as told:
        made = hook(platform, told)
        trimming.trim(platform)
        assert platform.clients.data.hexists(keys.of("w1")["lines"], made.id)


def test_one_look_trims_all_that_is_over_however_much_was_told_meanwhile(
    platform: Platform,
) -> None:
    lines.open_one(platform, "w1", "push|x:y", "0-0")
    for _ in range(2_500):
        last = tell(platform)
    own, data = keys.of("w1"), platform.clients.data
    data.zadd(own["owed"], {"push|x:y": int(last.partition("-")[0])})
    trimming.trim(keeping(platform, 100))
    assert data.xlen(own["events"]) < 330


def test_a_new_workspace_owes_its_beginning_while_nobody_delivers(platform: Platform) -> None:
    with receiver() as told:
        made = hook(platform, told)
        new_workspace(platform, "w3")
        first = tell(platform, "w3")
        trimming.trim(platform)
        few = keeping(platform, 100)
        for _ in range(350):
            tell(few, "w3")
        taken = lines.take(few, "w3", made.id, "t", 1)
        assert isinstance(taken, lines.Taken)
        assert first in [event.id for event in taken.events]
