"""Webhooks over a real Redis and a receiver on loopback that fails in every way it can."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis
import standardwebhooks

from app.core import events, keys, lines, webhooks
from app.core.platform import Platform
from app.core.webhooks import Webhook
from tests.support import receiver as receivers
from tests.support.kernel import Kernel
from tests.support.receiver import Receiver, receiver, status
from tests.support.wait import wait_until
from tests.support.world import new_workspace, real_platform
from workers import jobs
from workers.webhooks import Service

SOON = {
    "egress_allow": "127.0.0.0/8",
    "webhook_retry_s": 0.05,
    "webhook_retry_max_s": 0.2,
    "webhook_timeout_s": 5,
    "webhook_attempts": 4,
    "webhook_slots": 8,
}
Serve = Callable[[Callable[[], Any]], None]


@pytest.fixture
def platform(real_redis: redis.Redis) -> Iterator[Platform]:
    port = real_redis.connection_pool.connection_kwargs["port"]
    with real_platform(f"redis://127.0.0.1:{port}/0", **SOON) as here:
        new_workspace(here, "w1")
        new_workspace(here, "w2")
        yield here


@contextmanager
def service(platform: Platform) -> Iterator[Service]:
    made = Service(platform)
    try:
        yield made
    finally:
        made.close()


def run_until(made: Service, is_so: Callable[[], Any], timeout_s: float = 10) -> None:
    def step() -> Any:
        made.step(0.02)
        return is_so()

    wait_until(step, timeout_s, 0.001)


@pytest.fixture
def served(platform: Platform) -> Iterator[Serve]:
    with service(platform) as made:
        yield lambda is_so: run_until(made, is_so)


def hook(platform: Platform, told: Receiver, **fields: Any) -> Webhook:
    return webhooks.create(platform, {"url": told.url, "events": ("ACTIVITY_LOGGED",), **fields})


def tell(platform: Platform, workspace_id: str = "w1", text: str = "x") -> str:
    payload = {"type": "agent_log", "text": text}
    return events.append(platform, workspace_id, "ACTIVITY_LOGGED", payload)


def texts(told: Receiver) -> list[str]:
    with told.lock:
        return [json.loads(one.body)["payload"]["text"] for one in told.got]


def attempts(platform: Platform, webhook: Webhook, outcome: str = "") -> list[dict[str, Any]]:
    return lines.attempts(platform, ["w1", "w2"], webhook.id, outcome, 100)


def outcomes(platform: Platform, webhook: Webhook) -> list[str]:
    return [row["outcome"] for row in reversed(attempts(platform, webhook))]


def behind(platform: Platform) -> int:
    return lines.owing(platform, ["w1", "w2"]).lines_count


def test_events_come_in_order_signed_and_verify(platform: Platform, served: Serve) -> None:
    with receiver() as told:
        made = hook(platform, told)
        for number in range(120):
            tell(platform, text=str(number))
        served(lambda: len(told.got) == 120)
        assert texts(told) == [str(number) for number in range(120)]
        one = told.got[7]
        body = standardwebhooks.Webhook(made.secret).verify(one.body, one.headers)
        assert (body["event"], body["workspace_id"]) == ("ACTIVITY_LOGGED", "w1")
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(webhooks.new_secret()).verify(one.body, one.headers)
        served(lambda: not behind(platform))


def test_what_happened_before_is_not_owed_and_other_events_are_not_sent(
    platform: Platform, served: Serve
) -> None:
    tell(platform, text="before")
    with receiver() as told:
        hook(platform, told, workspaces=("w1",))
        events.append(platform, "w1", "AGENT_MESSAGE", {"text": "another name"})
        tell(platform, "w2", "another workspace")
        tell(platform, text="after")
        served(lambda: told.got and not behind(platform))
        assert texts(told) == ["after"]


def test_a_workspace_made_later_is_covered_from_its_beginning(
    platform: Platform, served: Serve
) -> None:
    with receiver() as told:
        hook(platform, told, events=("WORKSPACE_CHANGED",))
        served(lambda: True)
        new_workspace(platform, "w3")
        served(lambda: told.got)
        assert json.loads(told.got[0].body)["workspace_id"] == "w3"


def test_a_failing_receiver_is_tried_again_in_order_under_the_same_id(
    platform: Platform, served: Serve
) -> None:
    with receiver(status(500), receivers.die, status(503), status(204)) as told:
        made = hook(platform, told)
        tell(platform, text="one"), tell(platform, text="two")
        served(lambda: not behind(platform))
        assert texts(told) == ["one", "one", "one", "one", "two"]
        assert len(set(told.ids[:4])) == 1
        assert outcomes(platform, made) == ["retry", "retry", "retry", "acked", "acked"]
        rows = attempts(platform, made)[::-1]
        assert [row["attempt"] for row in rows] == [1, 2, 3, 4, 1]
        assert (rows[0]["status"], rows[1]["code"]) == (500, "not_http")
        assert "hook" not in json.dumps(rows), "the path may be a secret"


def test_a_receiver_that_hangs_delays_no_other(platform: Platform, served: Serve) -> None:
    with receiver(receivers.hang) as silent, receiver() as quick:
        hook(platform, silent), hook(platform, quick)
        for number in range(20):
            tell(platform, text=str(number))
        served(lambda: len(quick.got) == 20)
        assert len(silent.got) == 1


def test_receivers_that_hang_leave_room_for_the_others(platform: Platform) -> None:
    """As many that hang as there are slots in four shares, and the slice ends meanwhile."""
    with ExitStack() as stack:
        silent = [stack.enter_context(receiver(receivers.hang)) for _ in range(4)]
        quick = stack.enter_context(receiver())
        for told in silent:
            hook(platform, told)
        tell(platform, "w1", "first"), tell(platform, "w2", "first")
        brief = Kernel(platform, "w1").tuned(webhook_timeout_s=2).platform
        with service(brief) as made:
            run_until(made, lambda: all(told.got for told in silent))
            hook(platform, quick)
            made.run(0.2)
            tell(platform, "w1", "second")
            # Those that hang take four attempts each before they are disabled.
            run_until(made, lambda: quick.got, brief.settings.webhook_timeout_s * 3)


def test_a_redirect_is_a_failure_and_leads_nowhere(platform: Platform, served: Serve) -> None:
    with receiver() as other, receiver() as told:
        told.then(receivers.redirect(other.url), status(200))
        made = hook(platform, told)
        tell(platform)
        served(lambda: not behind(platform))
        assert other.got == []
        assert attempts(platform, made, "retry")[0]["code"] == "redirect_refused"


def test_410_disables_at_once_and_says_what_is_given_up(platform: Platform, served: Serve) -> None:
    with receiver(status(410)) as told:
        made = hook(platform, told)
        tell(platform, "w1"), tell(platform, "w2")
        served(lambda: not webhooks.get(platform, made.id).enabled)
        served(lambda: not behind(platform))
        assert "410" in str(webhooks.get(platform, made.id).disabled_reason)
        hits = [one for one in events.latest(platform, "w2", 50) if one.event == "LIMIT_HIT"]
        assert [one.mechanism for one in hits] == ["webhook_disabled"]
        tell(platform), served(lambda: True)
        came = len(told.got)
        assert came <= 2, "one for each workspace, if both were on their way"
        told.then(status(200))
        webhooks.change(platform, made.id, {"enabled": True})
        served(lambda: len(told.got) >= came + 3)
        assert webhooks.get(platform, made.id).disabled_reason is None


def test_a_dead_receiver_is_disabled_after_its_attempts(platform: Platform, served: Serve) -> None:
    with receiver(status(500)) as told:
        made = hook(platform, told, workspaces=("w1",))
        tell(platform)
        served(lambda: not webhooks.get(platform, made.id).enabled)
        assert len(told.got) == 4
        served(lambda: outcomes(platform, made) == ["retry"] * 3 + ["disabled"])
        served(lambda: not behind(platform))


def test_one_bad_event_is_dead_where_the_receiver_takes_others(
    platform: Platform, served: Serve
) -> None:
    def picky(handler: receivers.Handler) -> None:
        handler.say(500 if b"poison" in handler.receiver.got[-1].body else 200)

    with receiver(picky) as told:
        made = hook(platform, told)
        tell(platform, text="poison"), tell(platform, text="after")
        served(lambda: attempts(platform, made, "retry"))
        tell(platform, "w2", "elsewhere")
        served(lambda: "after" in texts(told))
        assert webhooks.get(platform, made.id).enabled
        assert outcomes(platform, made).count("dead") == 1
        [dead] = attempts(platform, made, "dead")
        told.then(status(200))
        line = f"{made.id}|{dead['event_id']}"
        lines.open_one(platform, "w1", line, dead["event_id"], dead["event_id"])
        webhooks.change(platform, made.id, {"description": "replayed"})
        served(lambda: attempts(platform, made)[0]["is_replay"])
        assert texts(told)[-1] == "poison"


def test_two_workers_deliver_each_event_once(platform: Platform) -> None:
    with receiver() as told, service(platform) as one, service(platform) as two:
        hook(platform, told)
        for number in range(60):
            tell(platform, f"w{1 + number % 2}", str(number))

        def both() -> bool:
            one.step(0.005), two.step(0.005)
            return len(told.got) >= 60 and not behind(platform)

        wait_until(both, 10, 0.001)
        assert len(told.ids) == len(set(told.ids)) == 60


def test_a_removed_webhook_leaves_nothing_behind(platform: Platform, served: Serve) -> None:
    with receiver(status(500)) as told:
        made = hook(platform, told)
        tell(platform)
        served(lambda: told.got)
        webhooks.remove(platform, made.id)
        served(lambda: not platform.clients.data.hlen(keys.of("w1")["lines"]))
        assert not platform.clients.data.exists(keys.of("w1")["owed"], keys.of("w2")["owed"])


def test_an_old_secret_signs_beside_the_new_one(platform: Platform, served: Serve) -> None:
    with receiver() as told:
        made = hook(platform, told)
        new = webhooks.rotate(platform, made.id)
        tell(platform)
        served(lambda: told.got)
        for secret in (made.secret, new.secret):
            one = told.got[0]
            standardwebhooks.Webhook(secret).verify(one.body, one.headers)


def test_a_job_serves_for_its_slice_and_hears_of_events(platform: Platform) -> None:
    """The whole slice as the worker runs it; the event comes after the slice has begun."""
    with receiver() as told:
        hook(platform, told)
        thread = threading.Thread(target=jobs.webhooks.serve, args=(platform, 20.0))
        thread.start()
        try:
            tell(platform, text="first")
            wait_until(lambda: len(told.got) == 1, 10)
            tell(platform, text="second")
            wait_until(lambda: len(told.got) == 2, 8)  # unheard it came with the next slice
        finally:
            platform.stopping.set()
            thread.join(15)
        assert not thread.is_alive()


def test_nobody_is_heard_while_there_is_no_receiver(platform: Platform, served: Serve) -> None:
    served(lambda: True)
    assert platform.clients.data.pubsub_numpat() == 0
    assert platform.clients.data.pubsub_channels("tk:*") == []
