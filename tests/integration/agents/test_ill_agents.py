"""Agents that refuse, vanish, hold or say nonsense: where the turn is then, and what is said."""

import json
import threading
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from app.core import turns, why, workspaces
from app.core.clock import rfc3339
from app.core.platform import Platform
from app.core.records import Turn
from tests.integration.agents.conftest import Site, site_on
from tests.support import receiver as receivers
from tests.support.kernel import Kernel
from tests.support.receiver import Answer, Handler, Receiver, receiver, status


def rpc(result: Any = None, error: Any = None, code: int = 200, **headers: str) -> Answer:
    content = {"jsonrpc": "2.0", "id": "1"}
    content |= {"error": error} if error else {"result": result}
    return status(code, json.dumps(content).encode(), content_type="application/json", **headers)


BARE = rpc({"kind": "message", "messageId": "a", "role": "agent", "parts": [{"text": "done"}]})
BUSY = rpc(error={"code": -32000, "message": "workspace agent busy"})


def held_for(event: threading.Event, then: Answer) -> Answer:
    def answer(handler: Handler) -> None:
        event.wait(20)
        then(handler)

    return answer


def old(site: Site, told: Receiver, workspace_id: str = "w1", **fields: Any) -> Kernel:
    """A workspace of an agent of 0.3 that beats by itself."""
    card = {"name": "ill", "url": told.url, "protocolVersion": "0.3"}
    kernel = site.workspace(told.url, workspace_id, agent_card=card, **fields)
    site.beat(kernel)
    return kernel


@dataclass(frozen=True)
class AsOf(Platform):
    """A platform that is asked about one moment."""

    at_ms: int = 0

    def now_ms(self) -> int:
        return self.at_ms


def why_then(site: Site, turn: Turn) -> why.Why:
    """What was said of ``w1`` when its turn had just come to where it is."""
    here = site.platform
    return why.explain(AsOf(here.settings, here.clients, at_ms=turn.state_at), "w1")


def sent(told: Receiver) -> list[dict[str, Any]]:
    with told.lock:
        rows = [json.loads(one.body) for one in told.got if one.body]
    return [row["params"] for row in rows if row["method"] == "message/send"]


def test_a_message_drained_into_an_agent_that_is_busy_again_stays_in_the_queue(site: Site) -> None:
    with receiver(BUSY, BUSY, BARE) as told:
        kernel = old(site, told)
        turn_id, second = kernel.submit("one").turn_id, kernel.submit("two").turn_id
        site.until(lambda: kernel.turn(turn_id).declines == 1)
        turn = kernel.turn(turn_id)
        assert (turn.state, turn.losses, turn.mechanism) == ("queued", 0, "busy")
        told_why = why_then(site, turn)
        assert told_why.code == "backing_off" and "busy" in told_why.sentence
        assert site.ended(kernel, turn_id).state == "completed"
        assert site.ended(kernel, second).state == "completed"
        texts = [one["message"]["parts"][0]["text"] for one in sent(told)]
        assert texts == ["one", "one", "one", "two"], "in its place, and nobody before it"
        ids = [one["message"]["messageId"] for one in sent(told)]
        assert len(set(ids[:3])) == 1


@pytest.mark.parametrize(("code", "reason"), [(429, "rate_limited"), (503, "backing_off")])
def test_an_agent_that_says_when_is_not_asked_before(site: Site, code: int, reason: str) -> None:
    with receiver(status(code, retry_after="2"), BARE) as told:
        kernel = old(site, told)
        turn_id = kernel.submit().turn_id
        site.until(lambda: kernel.turn(turn_id).declines == 1)
        turn = kernel.turn(turn_id)
        assert why_then(site, turn).code == reason
        assert int(turn.not_before or 0) - turn.state_at == 2000
        assert site.ended(kernel, turn_id).state == "completed"


def test_an_agent_that_cannot_be_reached_uses_up_the_attempts(real_redis: redis.Redis) -> None:
    with receiver(receivers.die) as told, site_on(real_redis, max_attempts=3) as site:
        kernel = old(site, told)
        turn_id = kernel.submit().turn_id
        site.until(lambda: kernel.turn(turn_id).losses == 1)
        told_why = why_then(site, kernel.turn(turn_id))
        assert told_why.code == "backing_off" and "could not be reached" in told_why.sentence
        assert site.ended(kernel, turn_id).state == "dead"
        assert len(sent(told)) == 3
        ended = kernel.events("SESSION_ENDED")[0]
        assert ended["mechanism"] == "delivery_failed"
        assert ended["payload"]["reason"] == "the answer is not HTTP, or ends in the middle"


def test_a_private_address_is_not_called(real_redis: redis.Redis) -> None:
    with receiver(BARE) as told, site_on(real_redis, max_attempts=1, egress_allow="") as site:
        kernel = old(site, told)
        turn_id = kernel.submit().turn_id
        assert site.ended(kernel, turn_id).state == "dead"
        assert not told.got
        ended = kernel.events("SESSION_ENDED")[0]
        assert "TURNKEEPER_EGRESS_ALLOW" in ended["payload"]["reason"]


def test_an_error_of_the_agent_is_final(site: Site) -> None:
    with receiver(rpc(error={"code": -32603, "message": "it broke"})) as told:
        kernel = old(site, told)
        turn_id = kernel.submit().turn_id
        assert site.ended(kernel, turn_id).state == "failed"
        result = turns.read_parts(site.platform, "w1", turn_id)[1]
        assert result["error"] == {"code": "agent_-32603", "message": "it broke"}
        assert len(sent(told)) == 1


@pytest.mark.parametrize("result", [None, [], {"kind": "task"}, {"parts": [{"text": 3}]}, "busy"])
def test_what_is_no_a2a_is_told_and_breaks_nothing(site: Site, result: Any) -> None:
    with receiver(rpc(result)) as told:
        kernel = old(site, told)
        turn_id = kernel.submit().turn_id
        assert site.ended(kernel, turn_id).state == "failed"
        told_error = turns.read_parts(site.platform, "w1", turn_id)[1]["error"]
        assert told_error["code"] == "not_a2a"


def test_an_answer_that_is_held_is_waited_for_and_counts_as_begun(site: Site) -> None:
    go = threading.Event()
    with receiver(held_for(go, BARE)) as told:
        kernel = old(site, told)
        turn_id = kernel.submit().turn_id
        site.until(lambda: kernel.turn(turn_id).state == "running")
        go.set()
        assert site.ended(kernel, turn_id).state == "completed"
        assert len(sent(told)) == 1


def test_without_a_free_hold_slot_the_turn_waits_and_says_so(real_redis: redis.Redis) -> None:
    go = threading.Event()
    with (
        receiver(held_for(go, BARE)) as told,
        receiver(BARE) as quick,
        site_on(real_redis, hold_slots=1) as site,
    ):
        first, second = old(site, told), old(site, quick, "w2")
        one = first.submit().turn_id
        site.until(lambda: sent(told))
        two = second.submit().turn_id
        site.until(lambda: second.events("LIMIT_HIT"))
        hit = second.events("LIMIT_HIT")[0]
        assert hit["mechanism"] == "hold_slots"
        named = {"limit_count": 1, "measured_count": 1, "setting": "TURNKEEPER_HOLD_SLOTS"}
        assert named.items() <= hit["payload"].items()
        turn = second.turn(two)
        assert (turn.losses, sent(quick)) == (0, [])
        assert "slot" in why.explain(site.platform, "w2").sentence
        go.set()
        assert site.ended(first, one).state == "completed"
        assert site.ended(second, two).state == "completed"
        assert second.turn(two).losses == 0


def test_one_workspace_holds_half_of_the_slots_and_the_others_go_on(
    real_redis: redis.Redis,
) -> None:
    go = threading.Event()
    with (
        receiver(held_for(go, BARE)) as told,
        receiver(BARE) as quick,
        site_on(real_redis, hold_slots=4) as site,
    ):
        first, second = old(site, told, max_concurrent=10), old(site, quick, "w2")
        ids = [first.submit().turn_id for _ in range(5)]
        site.until(lambda: first.events("LIMIT_HIT"))
        named = {"limit_count": 2, "measured_count": 2, "setting": "TURNKEEPER_HOLD_SLOTS"}
        assert named.items() <= first.events("LIMIT_HIT")[0]["payload"].items()
        site.until(lambda: len(sent(told)) >= 2)  # its threads take their time
        assert site.ended(second, second.submit().turn_id).state == "completed"
        assert len(sent(told)) == 2
        go.set()
        assert {site.ended(first, one).state for one in ids} == {"completed"}


def test_the_ceiling_ends_a_deaf_agent_that_holds_its_answer(real_redis: redis.Redis) -> None:
    settings = {"ceiling_s": 3, "checkpoint_grace_s": 1, "cancel_grace_s": 0.5}
    with receiver(receivers.hang, BARE) as told, site_on(real_redis, **settings) as site:
        kernel = old(site, told)
        one, two = kernel.submit().turn_id, kernel.submit().turn_id
        assert site.ended(kernel, one).state == "force_idled"
        assert site.ended(kernel, two).state == "completed", "the slot is free, the thread too"


def playing(told: Receiver, state: list[str]) -> None:
    """Answers every method with the task ``T1`` in the state that stands in the list."""

    def answer(handler: Handler) -> None:
        task = {"kind": "task", "id": "T1", "contextId": "c", "status": {"state": state[0]}}
        rpc(task)(handler)

    told.then(answer)


@pytest.mark.parametrize("takes", [True, False])
def test_an_agent_that_takes_it_is_asked_to_save_and_stop(site: Site, takes: bool) -> None:
    state = ["working"]
    with receiver() as told:
        playing(told, state)
        kernel = old(site, told, agent_checkpoint=takes)
        turn_id = kernel.submit().turn_id
        site.until(lambda: kernel.turn(turn_id).state == "running")
        session = kernel.session(str(kernel.turn(turn_id).session_id))
        deadline_ms = kernel.ask(session, "checkpoint", "operator")
        count = len(told.got)
        site.until(lambda: len(told.got) > count + 12)
        assert len(sent(told)) == (2 if takes else 1), "asked once, and only who takes it"
        if takes:
            asked = sent(told)[1]["message"]
            assert (asked["taskId"], asked["messageId"]) == ("T1", f"{session.id}-checkpoint")
            assert asked["metadata"]["turnkeeper"]["deadline_at"] == rfc3339(deadline_ms)
        state[0] = "completed"
        assert site.ended(kernel, turn_id).state == "completed"


def test_a_task_that_the_agent_does_not_know_any_more_is_lost(site: Site) -> None:
    task = {"kind": "task", "id": "T1", "contextId": "c", "status": {"state": "working"}}
    unknown = rpc(error={"code": -32001, "message": "Task not found"})
    with receiver(rpc(task), unknown, BARE) as told:
        kernel = old(site, told)
        turn_id = kernel.submit().turn_id
        assert site.ended(kernel, turn_id).state == "completed"
        assert (kernel.turn(turn_id).attempt, kernel.turn(turn_id).losses) == (2, 1)
        assert kernel.events("TURN_RETURNED")[0]["mechanism"] == "lost"


def test_a_cancel_reaches_the_remote_task_and_no_other(site: Site) -> None:
    task = {"kind": "task", "id": "T1", "contextId": "c", "status": {"state": "working"}}
    gone = {**task, "status": {"state": "canceled"}}
    with receiver() as told:

        def answer(handler: Handler) -> None:
            method = json.loads(told.got[-1].body)["method"] if told.got[-1].body else ""
            canceled = any(b"tasks/cancel" in one.body for one in told.got)
            rpc(gone if canceled and method != "message/send" else task)(handler)

        told.then(answer)
        kernel = old(site, told)
        turn_id = kernel.submit().turn_id
        site.until(lambda: kernel.turn(turn_id).state == "running")
        kernel.cancel(turn_id)
        assert site.ended(kernel, turn_id).state == "canceled"
        asked = [json.loads(one.body) for one in told.got if b"tasks/cancel" in one.body]
        assert [one["params"]["id"] for one in asked] == ["T1"]


def test_who_authorises_us_is_sent_to_its_host_only(site: Site) -> None:
    auth = {"scheme": "Bearer", "credentials": "s3cret"}
    with receiver(BARE) as told, receiver(BARE) as other:
        kernel = old(site, told, agent_auth=auth)
        assert site.ended(kernel, kernel.submit().turn_id).state == "completed"
        assert told.got[-1].headers["authorization"] == "Bearer s3cret"
        card = {"name": "ill", "url": other.url, "protocolVersion": "0.3"}
        workspaces.register(site.platform, "w1", {"agent_url": other.url, "agent_card": card})
        site.beat(kernel)
        assert site.ended(kernel, kernel.submit().turn_id).state == "completed"
        assert "authorization" not in other.got[-1].headers
        assert "s3cret" not in json.dumps(kernel.events())


def test_a_card_cannot_send_us_to_another_host(site: Site) -> None:
    with receiver(BARE) as told, receiver(BARE) as other:
        card = {"name": "ill", "url": other.url, "protocolVersion": "0.3"}
        kernel = site.workspace(told.url, agent_card=card)
        site.beat(kernel)
        assert site.ended(kernel, kernel.submit().turn_id).state == "completed"
        assert told.got and not other.got


def test_traceparent_and_facts_go_along(site: Site) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with receiver(BARE) as told:
        kernel = old(site, told)
        body = {"text": "hi", "traceparent": trace}
        turn_id = turns.submit(site.platform, "w1", turns.Request(body=body)).turn_id
        site.ended(kernel, turn_id)
        assert told.got[-1].headers["traceparent"] == trace
        facts = sent(told)[0]["message"]["metadata"]["turnkeeper"]
        assert (facts["turn_id"], facts["attempt"]) == (turn_id, 1)
