"""hand_over, memory_seq, and scripts that go out together."""

from typing import Any

from app.core import claims, handing, keys, memories, scripts
from app.core.claims import Claim, NoClaim
from app.core.errors import StaleFence
from app.core.memories import Draft
from app.core.scripts import Call
from tests.support.kernel import Kernel


def told(kernel: Kernel) -> list[str]:
    return [row["event"] for row in kernel.events()]


def record(kernel: Kernel, session_id: str) -> dict[str, Any]:
    """A session, its own id and fence aside."""
    found = vars(kernel.session(session_id))
    return {name: value for name, value in found.items() if name not in ("id", "turn_id", "fence")}


def by_steps(kernel: Kernel, session: Any) -> None:
    kernel.bind(session, inbox=False)
    kernel.run("deliver", session_id=session.id, fence=session.fence, remote="", remote_context="")
    kernel.start(session)


def test_hand_over_leaves_what_bind_deliver_and_start_leave_and_tells_the_same(
    kernel: Kernel,
) -> None:
    first = kernel.claimed_turn()
    by_steps(kernel, first)
    steps = told(kernel)
    kernel.finish(first, text="")
    second = kernel.claimed_turn()
    before = len(told(kernel))
    kernel.hand_over(second)
    assert told(kernel)[before:] == steps[-2:] == ["TURN_DELIVERED", "SESSION_STARTED"]
    assert kernel.turn(second.turn_id).state == kernel.session(second.id).state == "running"
    bound = kernel.data.hmget(kernel.keys["bound"], [first.id, second.id])
    assert bound[0] == bound[1] is not None
    lasting = ("instance", "digest", "state", "attempt")
    alike = record(kernel, second.id)
    assert {name: alike[name] for name in lasting} == {
        "instance": "i",
        "digest": "d",
        "state": "running",
        "attempt": 1,
    }
    assert alike["delivered_at"] is not None
    assert alike["started_at"] is not None


def test_hand_over_again_after_a_lost_reply_changes_nothing(kernel: Kernel) -> None:
    session = kernel.claimed_turn()
    kernel.hand_over(session)
    before = kernel.dump()
    kernel.hand_over(session)
    assert kernel.dump() == before


def test_hand_over_tells_what_was_cut_before_it_tells_of_the_handover(kernel: Kernel) -> None:
    session = kernel.claimed_turn()
    before = len(told(kernel))
    kernel.run(
        "hand_over",
        session_id=session.id,
        fence=session.fence,
        bound="{}",
        facts="{}",
        limits='[["memories_bound", "{}"]]',
        instance="i",
    )
    assert told(kernel)[before:] == ["LIMIT_HIT", "TURN_DELIVERED", "SESSION_STARTED"]


def test_hand_over_of_a_session_its_progress_began_belongs_to_who_hands_over(
    kernel: Kernel,
) -> None:
    session = kernel.claimed_turn()
    kernel.progress(session)
    kernel.hand_over(session, "i")
    assert kernel.session(session.id).instance == "i"
    assert told(kernel).count("SESSION_STARTED") == 1


def test_finish_looks_what_waits_only_for_who_rings(kernel: Kernel) -> None:
    for rings, told_of in ((True, [1, 1]), (False, [0, 0])):
        for _ in range(2):
            kernel.submit()
        session = kernel.claimed().session
        kernel.hand_over(session)
        args = handing.ending(session.id, session.fence, "completed", {"text": ""}, rings=rings)
        assert kernel.run("finish", **args)[:4] == ["ok", "completed", *told_of]


def test_memory_seq_is_the_stores_own_and_0_where_nothing_was_written(kernel: Kernel) -> None:
    assert kernel.run("memory_seq") == ["read", 0]
    memories.commit(kernel.platform, kernel.id, Draft("keep this"))
    assert kernel.run("memory_seq") == ["read", 1]


def test_a_claim_says_whose_memories_there_are(kernel: Kernel) -> None:
    kernel.submit()
    assert (kernel.claimed("ses_1").team, kernel.claimed("ses_1").memory_seq) == ("", 0)
    memories.commit(kernel.platform, kernel.id, Draft("keep this"))
    kernel.platform.clients.data.hset(kernel.keys["workspace"], "team", "red")
    again = kernel.claimed("ses_1")
    assert (again.team, again.memory_seq) == ("red", 1)


def test_claims_of_many_each_answer_for_themselves_and_both_looks_are_told(
    kernel: Kernel,
) -> None:
    kernel.submit()
    kernel.platform.clients.control.delete(keys.DEADLINES)
    memories.commit(kernel.platform, kernel.id, Draft("all", scope="GLOBAL"))
    found = claims.claim_each(kernel.platform, [kernel.id, "nobody"])
    mine, none = found.answers[kernel.id], found.answers["nobody"]
    assert isinstance(mine, Claim)
    assert getattr(none, "code", "") == "workspace_not_found"
    assert found.global_seq == 1
    watched = kernel.platform.clients.control.zrange(keys.DEADLINES, 0, -1)
    assert {kernel.id, "nobody"} <= set(watched)
    again = claims.claim_each(kernel.platform, [kernel.id]).answers[kernel.id]
    assert again == NoClaim("capacity_full", 0)


def test_a_refusal_among_calls_sent_together_stands_in_its_place(kernel: Kernel) -> None:
    session = kernel.claimed_turn()
    stale = {"session_id": session.id, "fence": session.fence + 1}
    own = {"session_id": session.id, "fence": session.fence}
    given = {"bound": "{}", "facts": "{}", "limits": "[]", "instance": "i"}
    calls = [Call("hand_over", kernel.id, {**who, **given}) for who in (stale, own, own)]
    first, second, third = kernel.platform.run_each(calls)
    assert isinstance(first, StaleFence)
    assert (second[0], third[0]) == ("ok", "replayed")


def test_a_server_that_lost_its_scripts_is_given_them_again(kernel: Kernel) -> None:
    calls = [Call("memory_seq", kernel.id, {})] * 2
    assert scripts.call_each(kernel.data, calls) == [["read", 0]] * 2
    kernel.data.script_flush()
    assert scripts.call_each(kernel.data, calls) == [["read", 0]] * 2


def test_control_a_claim_that_says_nothing_of_memories_leaves_them_unread(kernel: Kernel) -> None:
    """What ``claim`` answers is all that a visit looks at before it reads memories."""
    memories.commit(kernel.platform, kernel.id, Draft("keep this"))
    kernel.submit()
    silent = kernel.altered("claim", "redis.call('HGET', K.policy, 'seq') or ''", "''")
    found = silent.claimed()
    assert found.memory_seq == 0
    here = (kernel.platform, kernel.id, found.team)
    assert [one.total for one in memories.readings(*here, bool(found.memory_seq), 100)] == [0, 0]
    assert [one.total for one in memories.readings(*here, True, 100)] == [1, 0]
