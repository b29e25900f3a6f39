"""Report A's other half: the policy that never reached the agent, as told, in virtual time.

All day the agent worked under yesterday's policy: two TEAM memories of 17:51 and 18:22 and a prompt
changed at 18:23 were unknown to the session of noon and to the twelve fires queued behind it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.core import memories, policy, schedules, sessions, workspaces
from app.core.memories import Draft
from app.core.memory_index import Indexes
from app.core.platform import Platform
from app.core.recall import Question, recall
from app.core.sessions import Claim
from tests.seeds.day import BEGINS, LET_GO, OPENS, WORKSPACE, Day, fire_and_queue
from tests.support.world import all_events, new_workspace, virtual_platform
from workers.binding import bind

OWNER = "owner"
FIRST, SECOND, THIRD = "no posts about prices", "write in German", "new prompt"
AT_17_51 = OPENS.replace(hour=17, minute=51, second=0)
AT_18_22 = OPENS.replace(hour=18, minute=22, second=0)
AT_18_23 = OPENS.replace(hour=18, minute=23, second=0)
LATER = LET_GO + timedelta(minutes=30)


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(OPENS) as here:
        yield here


@dataclass
class PolicyDay(Day):
    """The same six hours; what each session was bound is kept."""

    bounds: list[Mapping[str, Any]] = field(default_factory=list)

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        self.bounds.append(bound)
        super().deliver(platform, workspace_id, claim, bound)


def team_of_two(day: Day) -> None:
    """The workspace and its owner's own, which writes what the team is to know."""
    new_workspace(day.platform, OWNER, team="seo-team")
    workspaces.change(day.platform, WORKSPACE, {"team": "seo-team"})


def write(day: Day, at: datetime, text: str) -> None:
    day.run_to(at)
    memories.commit(day.platform, OWNER, Draft(text, scope="TEAM"))


def the_afternoon(day: Day) -> None:
    write(day, AT_17_51, FIRST)
    write(day, AT_18_22, SECOND)
    day.run_to(AT_18_23)
    schedules.change(day.platform, WORKSPACE, day.schedule.id, {"prompt": THIRD})
    day.run_to(LATER)


def let_go(day: Day) -> None:
    day.is_held = False
    day.finish_all()
    day.run_to(LATER + timedelta(minutes=15))


def carries(text: str) -> list[bool]:
    return [part in text for part in (FIRST, SECOND, THIRD)]


def test_the_next_session_carries_all_three_and_so_does_every_fire_queued_before(
    platform: Platform,
) -> None:
    day = PolicyDay(platform, is_foreign=False)
    team_of_two(day)
    the_afternoon(day)
    assert len(day.bounds) == 1 and carries(day.bounds[0]["prompt"]) == [False] * 3
    let_go(day)
    later = day.bounds[1:]
    assert len(later) >= 12
    queued_before = [item for item in day.given[1:] if _nominal(item.claim) < AT_17_51]
    assert len(queued_before) >= 11
    assert [carries(bound["prompt"]) for bound in later] == [[True] * 3] * len(later)
    assert later[0]["prompt"].index(SECOND) < later[0]["prompt"].index(FIRST), "newest first"
    assert later[0]["memory_seq"] == {"LOCAL": 0, "TEAM": 2, "GLOBAL": 0}


def _nominal(claim: Claim) -> datetime:
    return datetime.fromtimestamp((claim.turn.nominal_at or 0) / 1000, OPENS.tzinfo)


def test_control_what_is_bound_when_the_fire_is_queued_is_yesterdays(platform: Platform) -> None:
    """The field platform's way: the same binding, made at the queue and not at the claim."""
    at_queue_time: dict[int, str] = {}

    def bind_and_queue(day: Day) -> None:
        before = {fire.nominal_at for fire in day.ledger()}
        fire_and_queue(day)
        for fire in day.ledger():
            if fire.nominal_at not in before:
                at_queue_time[fire.nominal_at] = _bound_now(day)

    day = PolicyDay(platform, is_foreign=False, dispatch=bind_and_queue)
    team_of_two(day)
    the_afternoon(day)
    let_go(day)
    before = [
        at_queue_time[item.claim.turn.nominal_at or 0]
        for item in day.given[1:]
        if _nominal(item.claim) < AT_17_51
    ]
    assert len(before) >= 11
    assert [carries(text) for text in before] == [[False] * 3] * len(before)


def _bound_now(day: Day) -> str:
    here = day.platform
    prompt = schedules.get(here, WORKSPACE, day.schedule.id).prompt
    claim = next((item.claim for item in day.given), None)
    if claim is None:
        return prompt
    readings = memories.at_claim(here, WORKSPACE, 32_768)
    old = Claim(claim.session, claim.turn, {}, {"prompt": prompt, "prompt_version": 1}, None, 0)
    return str(bind(old, readings, 32_768)["prompt"])


def test_the_held_session_is_shown_as_stale_since_the_first_thing_it_missed(
    platform: Platform,
) -> None:
    day = PolicyDay(platform, is_foreign=False)
    team_of_two(day)
    the_afternoon(day)
    found = workspaces.get(platform, WORKSPACE)
    (row,) = policy.read(platform, found)
    shown = row.shown(platform.now_ms())
    assert shown == {
        "running_prompt_version": 1,
        "current_prompt_version": 2,
        "unseen_memories": 2,
        "stale_for_s": (LATER - AT_17_51).total_seconds(),
        "session_id": day.given[0].claim.session.id,
    }
    assert row.sentence == "prompt 1 → 2, 2 memories unseen"
    names = [e.payload for e in all_events(platform, WORKSPACE) if e.event == "POLICY_CHANGED"]
    assert [name.get("memory_seq") for name in names] == [1, 2, None]
    of_owner = [e for e in all_events(platform, OWNER) if e.event == "POLICY_CHANGED"]
    assert len(of_owner) == 2, "the workspace that wrote is told as well"


def test_a_session_shows_exactly_what_it_saw(platform: Platform) -> None:
    day = PolicyDay(platform, is_foreign=False)
    team_of_two(day)
    the_afternoon(day)
    let_go(day)
    session = day.given[1].claim.session
    kept = dict(sessions.bound(platform, WORKSPACE, session.id) or {})
    assert kept == day.bounds[1]
    digest = kept.pop("digest")
    text = json.dumps(kept, sort_keys=True, ensure_ascii=False)
    assert digest == hashlib.sha256(text.encode()).hexdigest()
    stored = sessions.get(platform, WORKSPACE, session.id)
    assert (stored.digest, stored.prompt_version) == (digest, 2)
    assert (stored.memory_seq, stored.memory_team) == (kept["memory_seq"], "seo-team")


def test_with_checkpoint_the_stale_session_is_asked_once_within_a_look(platform: Platform) -> None:
    day = PolicyDay(platform, is_foreign=False)
    team_of_two(day)
    changes = {"on_policy_change": "checkpoint", "preempt": "off"}
    schedules.change(platform, WORKSPACE, day.schedule.id, changes)
    the_afternoon(day)
    asked = [
        event
        for event in all_events(platform, WORKSPACE)
        if event.event == "SESSION_CHECKPOINT_REQUESTED" and event.mechanism == "policy_changed"
    ]
    assert len(asked) == 1
    assert asked[0].payload["setting"] == "schedule.on_policy_change"
    assert "1 memory unseen" in asked[0].payload["reason"]
    at = datetime.fromtimestamp(int(asked[0].id.split("-")[0]) / 1000, OPENS.tzinfo)
    assert timedelta(0) <= at - AT_17_51 <= timedelta(seconds=15), "the day's step"


def test_control_without_the_setting_nobody_is_asked(platform: Platform) -> None:
    day = PolicyDay(platform, is_foreign=False)
    team_of_two(day)
    schedules.change(platform, WORKSPACE, day.schedule.id, {"preempt": "off"})
    the_afternoon(day)
    assert "SESSION_CHECKPOINT_REQUESTED" not in {e.event for e in all_events(platform, WORKSPACE)}


def test_what_a_session_writes_itself_and_what_it_recalls_is_no_news_to_it(
    platform: Platform,
) -> None:
    day = PolicyDay(platform, is_foreign=False)
    team_of_two(day)
    changes = {"on_policy_change": "checkpoint", "preempt": "off"}
    schedules.change(platform, WORKSPACE, day.schedule.id, changes)
    day.run_to(BEGINS + timedelta(minutes=30))
    own = day.given[0].claim.session.id
    indexes = Indexes()
    for text, scope in (("mine", "LOCAL"), ("ours", "TEAM")):
        memories.commit(platform, WORKSPACE, Draft(text, scope, session_id=own))
    day.run_to(BEGINS + timedelta(hours=1))
    (row,) = policy.read(platform, workspaces.get(platform, WORKSPACE))
    assert (row.unseen_memories, row.stale_since) == (0, None)

    schedules.change(platform, WORKSPACE, day.schedule.id, {"on_policy_change": "off"})
    memories.commit(platform, OWNER, Draft("theirs", "TEAM"))
    (row,) = policy.read(platform, workspaces.get(platform, WORKSPACE))
    assert row.unseen_memories == 1
    recall(platform, indexes, WORKSPACE, Question(session_id=own))
    (row,) = policy.read(platform, workspaces.get(platform, WORKSPACE))
    assert (row.unseen_memories, row.stale_since) == (0, None)
    schedules.change(platform, WORKSPACE, day.schedule.id, {"on_policy_change": "checkpoint"})
    day.run_to(BEGINS + timedelta(hours=2))
    assert "SESSION_CHECKPOINT_REQUESTED" not in {e.event for e in all_events(platform, WORKSPACE)}


def test_ten_recalls_of_sixty_give_the_newest_ten_not_the_oldest_of_the_newest_fifty(
    platform: Platform,
) -> None:
    new_workspace(platform, WORKSPACE)
    for at in range(60):
        memories.commit(platform, WORKSPACE, Draft(f"m{at}"))
    found = recall(platform, Indexes(), WORKSPACE, Question(limit=10))
    assert [one.text for one in found.memories] == [f"m{at}" for at in range(59, 49, -1)]
    assert (found.total, found.is_complete) == (60, False)
    newest_fifty = [f"m{at}" for at in range(59, 9, -1)]
    assert [one.text for one in found.memories] != newest_fifty[:-11:-1], "what the field had"
