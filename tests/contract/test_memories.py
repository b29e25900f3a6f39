"""memory_put, memory_delete, memory_read, memory_tell and memory_seen: one store, one sequence."""

import json
from typing import Any

import pytest

from app.core import keys, memories, telling, workspaces
from app.core.errors import MemoriesFull, SessionNotFound
from app.core.memories import Draft, Memory
from app.core.memory_stores import Store, store_of
from tests.contract.conftest import Pass
from tests.contract.refusals import live, put_memory, remember
from tests.support import invariants
from tests.support.kernel import Kernel


def told(kernel: Kernel) -> list[dict[str, Any]]:
    return [row["payload"] for row in kernel.events("POLICY_CHANGED")]


def read(kernel: Kernel, **args: Any) -> memories.Reading:
    own = Store("LOCAL", kernel.id)
    usual: dict[str, Any] = {"before": None, "max_count": 1000, "max_bytes": 2**30}
    return memories.read(kernel.platform, own, **{**usual, **args})


def texts(found: memories.Reading) -> list[str]:
    return [memory.text for memory in found.memories]


def two_in_a_team(kernel: Kernel) -> Kernel:
    workspaces.change(kernel.platform, kernel.id, {"team": "red"})
    return Kernel(kernel.platform, "other").create(team="red")


def test_memory_put_writes_once_however_often_it_is_called(kernel: Kernel) -> None:
    first = remember(kernel, "deploy on Fridays", put_id="mem_a")
    again = remember(kernel, "deploy on Fridays", put_id="mem_a")
    assert again == first
    assert (first.seq, first.version) == (1, 1)
    assert [row["change"] for row in told(kernel)] == ["written"]
    assert texts(read(kernel)) == ["deploy on Fridays"]


def test_memory_put_of_a_known_key_is_a_new_version_at_the_newest_place(kernel: Kernel) -> None:
    first = remember(kernel, "old", key="rule", namespace="a")
    remember(kernel, "between")
    second = remember(kernel, "new", key="rule", namespace="a")
    elsewhere = remember(kernel, "other", key="rule", namespace="b")
    assert (second.id, second.version, second.seq) == (first.id, 2, 3)
    assert elsewhere.id != first.id
    assert second.created_at == first.created_at
    assert texts(read(kernel)) == ["other", "new", "between"]


def test_memory_put_repeated_after_another_version_does_not_undo_that(kernel: Kernel) -> None:
    """The reply was lost, somebody else wrote, the writer tries again."""
    remember(kernel, "mine", key="rule", put_id="mem_a")
    remember(kernel, "theirs", key="rule", put_id="mem_b")
    again = remember(kernel, "mine", key="rule", put_id="mem_a")
    assert (again.version, texts(read(kernel))) == (2, ["theirs"])


def test_memory_put_repeated_after_its_removal_does_not_bring_it_back(kernel: Kernel) -> None:
    memory = remember(kernel, "wrong", put_id="mem_a")
    memories.delete(kernel.platform, kernel.id, memory.id)
    remember(kernel, "wrong", put_id="mem_a")
    assert texts(read(kernel)) == []


def test_memory_put_under_the_key_of_a_removed_one_is_its_next_version(kernel: Kernel) -> None:
    first = remember(kernel, "one", key="rule")
    memories.delete(kernel.platform, kernel.id, first.id)
    again = remember(kernel, "two", key="rule")
    assert (again.id, again.version, texts(read(kernel))) == (first.id, 2, ["two"])


def test_memory_put_beyond_the_bound_names_it_and_new_versions_still_go(kernel: Kernel) -> None:
    small = kernel.tuned(memories_max_count=2)
    remember(small, "one", key="a")
    remember(small, "two")
    with pytest.raises(MemoriesFull) as full:
        remember(small, "three")
    hit = kernel.events("LIMIT_HIT")[0]
    assert hit["mechanism"] == full.value.fields["mechanism"] == "memories_count"
    assert (hit["payload"]["limit_count"], hit["payload"]["measured_count"]) == (2, 2)
    assert hit["payload"]["setting"] == "TURNKEEPER_MEMORIES_MAX_COUNT"
    assert remember(small, "one again", key="a").version == 2


def test_memory_put_of_a_full_team_is_told_in_the_workspace_that_wrote(kernel: Kernel) -> None:
    two_in_a_team(kernel)
    small = kernel.tuned(memories_max_count=1)
    remember(small, "one", scope="TEAM")
    with pytest.raises(MemoriesFull):
        remember(small, "two", scope="TEAM")
    assert [hit["payload"]["scope"] for hit in kernel.events("LIMIT_HIT")] == ["TEAM"]


def test_memory_put_keeps_no_secret_anywhere(kernel: Kernel) -> None:
    secret = "ghp_" + "a1B2" * 9
    memory = remember(kernel, f"push with {secret}", namespace=f"n {secret}", key=secret)
    assert memory.redactions == {"github_token": 1}
    assert memory.text == "push with [redacted:github_token]"
    assert secret not in json.dumps(kernel.dump())


def test_memory_delete_leaves_nothing_but_that_it_is_gone(kernel: Kernel) -> None:
    memory = remember(kernel, "precious")
    gone = memories.delete(kernel.platform, kernel.id, memory.id)
    assert memories.delete(kernel.platform, kernel.id, memory.id) == gone
    assert (gone.seq, gone.gone) == (2, True)
    assert "precious" not in json.dumps(kernel.dump())
    assert [row["change"] for row in told(kernel)] == ["written", "deleted"]


def test_memory_delete_remembers_only_the_newest_removals(kernel: Kernel) -> None:
    few = kernel.altered("memory_delete", "local GONE_KEPT = 1000", "local GONE_KEPT = 2")
    made = [remember(kernel, str(at), key=f"k{at}") for at in range(4)]
    for memory in made:
        memories.delete(few.platform, few.id, memory.id)
    assert set(kernel.data.hkeys(kernel.keys["memories"])) == {made[2].id, made[3].id}
    assert kernel.data.hlen(kernel.keys["memory_names"]) == 2


@pytest.mark.parametrize("count", [10, 20, 60, 130])
def test_memory_read_gives_the_newest_and_says_what_is_left(kernel: Kernel, count: int) -> None:
    for at in range(count):
        remember(kernel, f"m{at}")
    newest = [f"m{at}" for at in reversed(range(count))]
    some = read(kernel, max_count=10)
    assert (texts(some), some.total, some.has_more) == (newest[:10], count, count > 10)
    everything = read(kernel)
    assert (texts(everything), everything.has_more) == (newest, False)
    below = read(kernel, before=some.memories[-1].seq)
    assert texts(below) == newest[10:]


def test_memory_read_stops_before_the_byte_budget_but_reads_the_first(kernel: Kernel) -> None:
    for text in ("äää", "bb", "c" * 50):
        remember(kernel, text)
    assert texts(read(kernel, max_bytes=10)) == ["c" * 50]
    remember(kernel, "dd")
    assert read(kernel, max_bytes=52).has_more
    assert texts(read(kernel, max_bytes=54)) == ["dd", "c" * 50, "bb"]
    assert texts(read(kernel, max_bytes=60)) == ["dd", "c" * 50, "bb", "äää"]
    assert read(kernel).bytes == 60


def test_memory_tell_tells_each_workspace_of_a_team_once(kernel: Kernel) -> None:
    other = two_in_a_team(kernel)
    stranger = Kernel(kernel.platform, "stranger").create()
    memory = remember(kernel, "for all of us", scope="TEAM")
    for one in (kernel, other):
        (row,) = told(one)
        assert (row["scope"], row["team"], row["memory_seq"]) == ("TEAM", "red", 1)
        assert row["memory_id"] == memory.id
    assert told(stranger) == []
    everybody = [one.id for one in (kernel, other, stranger)]
    assert telling.tell(kernel.platform, team_store(kernel), 1, everybody, {}) == 0
    assert len(told(kernel)) == len(told(other)) == 1


def team_store(kernel: Kernel) -> Store:
    return store_of(kernel.platform, kernel.id, "TEAM")


def untold(kernel: Kernel, text: str) -> None:
    """The writer died between the write and the telling."""
    store = team_store(kernel)
    at = Kernel(kernel.platform, store.tag)
    args = {"put_id": text, "digest": "d", "record": '{"namespace": ""}', "text": text, "bytes": 1}
    at.run("memory_put", **args, count_max=9, scope="TEAM", team="red")


def test_memory_tell_is_repaired_by_the_sweep_and_says_how_many(kernel: Kernel) -> None:
    other = two_in_a_team(kernel)
    untold(kernel, "a")
    untold(kernel, "b")
    kernel.data.delete(keys.team_members("red"))
    found = [one for one in workspaces.read_many(kernel.platform, [kernel.id, other.id]) if one]
    assert telling.repair(kernel.platform, found) == 2
    assert telling.repair(kernel.platform, found) == 0
    assert [row["changes_count"] for row in told(other)] == [2]
    assert kernel.data.smembers(keys.team_members("red")) == {kernel.id, other.id}


def test_memory_tell_passes_over_who_has_left_the_team_or_is_removed(kernel: Kernel) -> None:
    other = two_in_a_team(kernel)
    workspaces.change(kernel.platform, other.id, {"team": None})
    Kernel(kernel.platform, "gone").create(team="red")
    workspaces.remove(kernel.platform, "gone")
    remember(kernel, "ours", scope="TEAM")
    assert told(other) == told(Kernel(kernel.platform, "gone")) == []
    assert kernel.data.smembers(keys.team_members("red")) == {kernel.id}


def test_memory_tell_reaches_every_workspace_for_global(kernel: Kernel) -> None:
    others = [Kernel(kernel.platform, f"w{at}").create() for at in range(3)]
    remember(kernel, "for everybody", scope="GLOBAL")
    assert [len(told(one)) for one in (kernel, *others)] == [1] * 4


def test_memory_seen_only_moves_forward_and_only_while_the_session_lives(kernel: Kernel) -> None:
    session = live(kernel)

    def seen(numbers: dict[str, int], team: str = "") -> str:
        given = {"session_id": session.id, "seen": json.dumps(numbers), "team": team}
        return str(kernel.run("memory_seen", **given)[0])

    assert seen({"LOCAL": 3, "GLOBAL": 0}) == "seen"
    assert seen({"LOCAL": 2}) == "known"
    assert seen({"TEAM": 5}, "red") == "seen"
    assert seen({"TEAM": 1}, "blue") == "seen", "another team's numbers are others"
    stored = kernel.session(session.id)
    assert stored.memory_seq == {"LOCAL": 3, "GLOBAL": 0, "TEAM": 1}
    assert stored.memory_team == "blue"
    assert len(kernel.events("POLICY_SEEN")) == 3
    kernel.finish(session)
    assert seen({"LOCAL": 9}) == "ended"


def test_memory_put_names_a_session_that_there_is(kernel: Kernel) -> None:
    with pytest.raises(SessionNotFound):
        remember(kernel, session_id="ses_unknown")
    session = live(kernel)
    remember(kernel, session_id=session.id)
    assert kernel.events("POLICY_CHANGED")[0]["session_id"] == session.id


def test_bind_says_what_was_cut_with_the_binding(kernel: Kernel, pass_ms: Pass) -> None:
    from app.core import sessions

    session = live(kernel)
    cut = {"mechanism": "memories_bound", "limit_bytes": 1, "measured_bytes": 2, "setting": "S"}
    bound = {"prompt": "p", "digest": "d", "memory_seq": {"LOCAL": 4}, "limits": [cut]}
    sessions.bind(kernel.platform, kernel.id, session, bound, inbox=True)
    (hit,) = kernel.events("LIMIT_HIT")
    assert (hit["mechanism"], hit["session_id"]) == ("memories_bound", session.id)
    assert hit["payload"] == cut
    assert kernel.session(session.id).memory_seq == {"LOCAL": 4}


def test_schedule_put_marks_the_sessions_that_its_new_prompt_leaves_behind(
    kernel: Kernel, pass_ms: Pass
) -> None:
    from app.core import schedules

    schedule = kernel.scheduled()
    schedules.run_now(kernel.platform, kernel.id, schedule.id)
    session = kernel.claimed().session
    schedules.change(kernel.platform, kernel.id, schedule.id, {"notes": "no new prompt"})
    assert kernel.session(session.id).prompt_stale_at is None
    schedules.change(kernel.platform, kernel.id, schedule.id, {"prompt": "new"})
    since = kernel.session(session.id).prompt_stale_at
    assert since is not None
    pass_ms(5)
    schedules.change(kernel.platform, kernel.id, schedule.id, {"prompt": "newer"})
    assert kernel.session(session.id).prompt_stale_at == since, "since the first change"


def test_control_two_memories_under_one_number_are_found(bare: Kernel) -> None:
    put_memory(bare)
    bare.data.hset(bare.keys["policy"], "seq", 0)
    Memory.parse(bare.run("memory_put", **second_put())[1])
    with pytest.raises(AssertionError, match="one number"):
        invariants.check(bare)


def second_put() -> dict[str, Any]:
    return {
        "put_id": "mem_2",
        "digest": "d",
        "record": '{"namespace": ""}',
        "text": "y",
        "bytes": 1,
        "count_max": 9,
        "scope": "LOCAL",
        "team": "",
    }


def test_drafts_of_the_same_text_are_two_memories_unless_they_are_named(kernel: Kernel) -> None:
    made = [memories.commit(kernel.platform, kernel.id, Draft("same"))[0] for _ in range(2)]
    assert made[0].id != made[1].id
