"""heartbeat.lua and offline.lua: what an agent says of itself, and what may be claimed for it."""

import pytest

from app.core import capacity, keys, workspaces
from app.core.records import Session
from app.core.sessions import Claim
from tests.contract.conftest import PAUSE_MS, Pass
from tests.support.kernel import Kernel


def running(kernel: Kernel) -> Session:
    """A session that was taken and has started."""
    kernel.submit()
    session = kernel.claimed().session
    kernel.bind(session)
    kernel.taken()
    kernel.start(session)
    return kernel.session(session.id)


def free(kernel: Kernel) -> int:
    """How many more claims succeed."""
    count = 0
    for _ in range(10):
        kernel.submit()
    while isinstance(found := kernel.claim(), Claim):
        count += 1
    assert found.reason == "capacity_full"
    return count


def said(kernel: Kernel) -> dict[str, str]:
    return dict(kernel.data.hgetall(kernel.keys["capacity"]))


def test_heartbeat_opens_claims_and_its_ttl_closes_them(kernel: Kernel, pass_ms: Pass) -> None:
    brief = kernel.tuned(
        heartbeat_interval_s=0.04, heartbeat_ttl_s=0.15, heartbeat_late_s=0.1, idle_timeout_s=1
    )
    kernel.submit()
    answer = brief.beat(seq=2, instance="i", sessions=[])
    assert (answer.accepted, answer.status, answer.depth) == (True, "online", 1)
    assert 0 < kernel.data.pttl(kernel.keys["capacity"]) <= PAUSE_MS
    pass_ms(PAUSE_MS + 1)
    assert kernel.refused() == "heartbeat_expired"
    brief.beat(seq=1, instance="j", sessions=[])
    brief.claimed()


def test_offline_marks_a_silent_workspace_once_and_leaves_its_work_alone(kernel: Kernel) -> None:
    session = running(kernel)
    assert not capacity.mark_offline(kernel.platform, kernel.id), "it beats"
    kernel.data.delete(kernel.keys["capacity"])
    assert capacity.mark_offline(kernel.platform, kernel.id)
    assert not capacity.mark_offline(kernel.platform, kernel.id)
    offline = kernel.events("WORKSPACE_OFFLINE")
    assert [row["mechanism"] for row in offline] == ["heartbeat_ttl"]
    assert offline[0]["payload"]["limit_ms"] == kernel.platform.limits["heartbeat_ttl_ms"]
    assert kernel.finish(session) == "completed"
    assert kernel.beat(sessions=[]).status == "online"
    assert kernel.events()[-1]["event"] == "WORKSPACE_ONLINE"


def test_heartbeat_that_brings_a_workspace_back_tells_the_reaper(kernel: Kernel) -> None:
    control = kernel.platform.clients.control
    control.delete(keys.DEADLINES)
    kernel.beat(seq=2, instance="i", sessions=[])
    assert control.zscore(keys.DEADLINES, kernel.id) is None
    kernel.data.hset(kernel.keys["workspace"], "status", "offline")
    kernel.beat(seq=3, instance="i", sessions=[])
    assert control.zscore(keys.DEADLINES, kernel.id) is not None


@pytest.mark.parametrize(
    ("owner", "agent", "slots"), [(None, None, 1), (3, None, 3), (None, 2, 2), (3, 2, 2), (1, 4, 1)]
)
def test_heartbeat_leaves_the_smaller_of_what_owner_and_agent_allow(
    owner: int | None, agent: int | None, slots: int, kernel: Kernel
) -> None:
    workspaces.change(kernel.platform, kernel.id, {"max_concurrent": owner})
    kernel.beat(seq=2, instance="i", sessions=[], max_concurrent=agent)
    assert free(kernel) == slots


def test_heartbeat_with_no_slots_takes_no_work(kernel: Kernel) -> None:
    kernel.beat(seq=2, instance="i", sessions=[], max_concurrent=0)
    assert free(kernel) == 0


def test_heartbeat_by_ids_counts_what_is_not_ours(kernel: Kernel) -> None:
    ours = running(kernel)
    kernel.beat(seq=2, instance="i", sessions=[ours.id, "theirs", "theirs"], max_concurrent=4)
    assert said(kernel)["foreign"] == "1"
    assert free(kernel) == 2


def test_heartbeat_by_count_takes_off_what_was_delivered_before_it(
    kernel: Kernel, pass_ms: Pass
) -> None:
    running(kernel)
    pass_ms(1)
    kernel.beat(seq=2, instance="i", active_tasks=3, max_concurrent=4)
    assert said(kernel)["foreign"] == "2"
    assert free(kernel) == 1


def test_heartbeat_by_count_takes_off_nothing_for_a_session_not_yet_delivered(
    kernel: Kernel, pass_ms: Pass
) -> None:
    kernel.submit()
    kernel.claimed()
    pass_ms(1)
    kernel.beat(seq=2, instance="i", active_tasks=1, max_concurrent=2)
    assert (said(kernel)["foreign"], kernel.refused()) == ("1", "capacity_full")


def test_heartbeat_by_count_below_ours_frees_nothing(kernel: Kernel, pass_ms: Pass) -> None:
    running(kernel)
    pass_ms(1)
    kernel.beat(seq=2, instance="i", active_tasks=0)
    assert said(kernel)["foreign"] == "0"
    assert free(kernel) == 0


def test_heartbeat_never_counts_a_zombie_by_ids(kernel: Kernel) -> None:
    session = running(kernel)
    kernel.reap(session, "ceiling")
    answer = kernel.beat(seq=2, instance="i", sessions=[session.id])
    assert kernel.zombies() == [session.id]
    assert said(kernel)["foreign"] == "0"
    (order,) = answer.directives
    assert (order["type"], order["session_id"]) == ("terminate", session.id)
    assert free(kernel) == 1
    kernel.beat(seq=3, instance="i", sessions=[])
    assert kernel.zombies() == []


def test_heartbeat_never_counts_a_zombie_by_count(kernel: Kernel) -> None:
    session = running(kernel)
    kernel.reap(session, "ceiling")
    kernel.beat(seq=2, instance="i", active_tasks=1)
    assert (kernel.zombies(), said(kernel)["foreign"]) == ([session.id], "0")
    kernel.beat(seq=3, instance="i", active_tasks=2)
    assert said(kernel)["foreign"] == "1", "what is more than the zombies is foreign"
    kernel.beat(seq=4, instance="i", active_tasks=0)
    assert kernel.zombies() == []


def test_heartbeat_that_says_nothing_of_the_work_leaves_zombies_and_foreign_as_they_are(
    kernel: Kernel,
) -> None:
    session = running(kernel)
    kernel.reap(session, "ceiling")
    kernel.beat(seq=2, instance="i", active_tasks=2)
    kernel.beat(seq=3, instance="i", current_task="thinking")
    assert (kernel.zombies(), said(kernel)["foreign"]) == ([session.id], "1")
    kernel.beat(seq=4, instance="i", active_tasks=1)
    assert said(kernel)["foreign"] == "0", "the zombie is still known as one"


def test_heartbeat_of_a_finished_session_makes_it_neither_foreign_nor_zombie(
    kernel: Kernel,
) -> None:
    session = running(kernel)
    kernel.finish(session)
    answer = kernel.beat(seq=2, instance="i", sessions=[session.id])
    assert (kernel.zombies(), said(kernel)["foreign"], answer.directives) == ([], "0", [])


def test_heartbeat_older_than_the_last_of_its_instance_changes_nothing(kernel: Kernel) -> None:
    kernel.beat(seq=5, instance="i", sessions=[], max_concurrent=2)
    before = kernel.dump()
    for seq in (5, 4):
        assert not kernel.beat(seq=seq, instance="i", active_tasks=9, error_rate=1.0).accepted
    assert kernel.dump() == before
    assert kernel.beat(seq=1, instance="another", sessions=[]).accepted
    assert kernel.beat(sessions=[], instance="another").accepted, "without a sequence: the next"
    assert said(kernel)["seq"] == "2"


def test_heartbeat_changes_only_what_it_carries(kernel: Kernel) -> None:
    kernel.beat(
        seq=2,
        instance="i",
        sessions=["theirs"],
        max_concurrent=5,
        idle_timeout_s=12.5,
        error_rate=0.25,
        current_task="reading",
        active_tasks=1,
    )
    before = (said(kernel), kernel.data.hgetall(kernel.keys["workspace"]))
    kernel.beat(seq=3, instance="i")
    after = (said(kernel), kernel.data.hgetall(kernel.keys["workspace"]))
    changed = {
        key
        for old, new in zip(before, after, strict=True)
        for key in old | new
        if old.get(key) != new.get(key)
    }
    assert changed <= {"seq", "at", "beat_at", "own_beat_at"}
    assert kernel.field("beat_idle_ms") == "12500"


def test_heartbeat_clears_the_idle_override_only_by_an_explicit_null(kernel: Kernel) -> None:
    kernel.beat(seq=2, instance="i", idle_timeout_s=0)
    assert kernel.field("beat_idle_ms") == "0"
    kernel.beat(seq=3, instance="i")
    assert kernel.field("beat_idle_ms") == "0"
    kernel.beat(seq=4, instance="i", idle_timeout_s=None)
    assert kernel.field("beat_idle_ms") is None


def test_heartbeat_judges_by_error_rate_and_wedge_with_a_gap_between(kernel: Kernel) -> None:
    def status(**fields: object) -> str:
        return kernel.beat(instance="i", **fields).status

    assert status(error_rate=0.49) == "online"
    assert status(error_rate=0.5) == "degraded"
    assert status(error_rate=0.1) == "degraded"
    assert status() == "degraded", "a beat that says nothing leaves it"
    assert status(error_rate=0.09) == "online"
    assert status(runtime_state="wedged") == "degraded"
    assert status(error_rate=0.0) == "degraded", "still wedged"
    assert status(runtime_state="") == "online"
    degraded = [row["mechanism"] for row in kernel.events("WORKSPACE_DEGRADED")]
    assert degraded == ["error_rate", "wedged"]


def test_heartbeat_moves_the_idle_clock_of_what_it_names_and_of_nothing_else(
    kernel: Kernel, pass_ms: Pass
) -> None:
    workspaces.change(kernel.platform, kernel.id, {"max_concurrent": 2})
    kernel.beat(seq=2, instance="i", sessions=[])
    one, two = running(kernel), running(kernel)
    pass_ms(5)
    kernel.beat(seq=3, instance="i", sessions=[one.id])
    assert kernel.session(one.id).seen_at > one.seen_at
    assert kernel.session(two.id).seen_at == two.seen_at
    pass_ms(5)
    kernel.beat(seq=4, instance="i", current_task="a beat of the whole workspace")
    assert kernel.session(two.id).seen_at > two.seen_at


def test_heartbeat_twice_without_a_started_session_loses_it_once_does_not(kernel: Kernel) -> None:
    session = running(kernel)
    control = kernel.platform.clients.control
    kernel.beat(seq=2, instance="i", sessions=[])
    assert not kernel.reap(session, "lost")
    kernel.beat(seq=3, instance="i", sessions=[session.id])
    kernel.beat(seq=4, instance="i", sessions=[])
    assert not kernel.reap(session, "lost"), "the count began anew"
    control.delete(keys.DEADLINES)
    kernel.beat(seq=5, instance="i", sessions=[])
    assert control.zscore(keys.DEADLINES, kernel.id) is not None, "the reaper is told"
    assert kernel.reap(session, "lost")
    assert kernel.turn(session.turn_id).state == "queued"


def test_heartbeat_of_another_runtime_loses_no_session_whose_own_was_just_heard(
    kernel: Kernel,
) -> None:
    session = running(kernel)
    for seq in range(2, 6):
        kernel.beat(seq=seq, instance="a second runtime", sessions=[])
    assert not kernel.reap(session, "lost")


def test_heartbeat_carries_the_directives_of_the_sessions_it_names(kernel: Kernel) -> None:
    session = running(kernel)
    by = kernel.ask(session, "checkpoint", "ceiling", 9)
    (order,) = kernel.beat(seq=2, instance="i", sessions=[session.id]).directives
    assert order == {
        "type": "checkpoint",
        "session_id": session.id,
        "fence": session.fence,
        "deadline_at": by,
        "reason": "as told",
    }
    assert len(kernel.beat(seq=3, instance="i", active_tasks=1).directives) == 1


def test_heartbeat_with_room_rings_for_what_waits(kernel: Kernel) -> None:
    kernel.submit()
    kernel.platform.clients.control.delete(keys.READY)
    kernel.beat(seq=2, instance="i", sessions=["theirs"])
    assert kernel.platform.clients.control.zcard(keys.READY) == 0
    kernel.beat(seq=3, instance="i", sessions=[])
    assert kernel.platform.clients.control.zcard(keys.READY) == 1


def test_late_degrades_a_workspace_once_and_its_next_heartbeat_brings_it_back(
    kernel: Kernel, pass_ms: Pass
) -> None:
    def late() -> str:
        return str(kernel.run("late", heartbeat_late_ms=PAUSE_MS)[0])

    kernel.beat(seq=2, instance="i", sessions=[])
    assert late() == "beating"
    pass_ms(PAUSE_MS + 1)
    assert [late(), late()] == ["late", "was"]
    (told,) = kernel.events("WORKSPACE_DEGRADED")
    assert told["mechanism"] == "heartbeat_late"
    assert told["payload"]["limit_ms"] == PAUSE_MS <= told["payload"]["measured_ms"]
    assert kernel.beat(seq=3, instance="i", sessions=[]).status == "online"
    kernel.data.delete(kernel.keys["capacity"])
    assert late() == "silent", "offline is another limit's word"
