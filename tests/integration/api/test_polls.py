"""The runtime's long poll: woken by the bind, bounded, and nothing handed to nobody."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from app.api.a2a.sending import of_turn
from app.api.runtime import BRINGS_NOTHING, LOOK_S, may_bring
from app.core import keys, sessions
from app.core.events import NAMES
from tests.integration.api.conftest import Make
from tests.support.wait import wait_until
from tests.unit.api.web import Web

NEXT = "/workspaces/w1/turns/next"


def polling(pool: ThreadPoolExecutor, site: Web, query: str) -> "Future[tuple[Any, float]]":
    def poll() -> tuple[Any, float]:
        turn = site.ok("GET", f"{NEXT}?{query}")["turn"]
        return turn, time.monotonic()

    return pool.submit(poll)


def wait_for_polls(site: Web, count: int = 1) -> None:
    """Until so many requests wait."""
    hub = site.app.extensions["turnkeeper"].hub
    wait_until(lambda: hub.waiting_count == count, 10)


def wait_for_ears(site: Web) -> None:
    """Until the hub hears of ``w1``, and whoever is woken when that begins has been."""
    data, channel, heard = site.platform.clients.data, keys.of("w1")["wake"], list[str]()

    def hears(event: str, turn_id: str) -> bool:
        heard.append(event)
        return False

    with site.app.extensions["turnkeeper"].hub.waiting("w1", wants=hears):
        wait_until(lambda: dict(data.pubsub_numsub(channel))[channel], 10)
        data.publish(channel, "0-0 SAID")
        wait_until(lambda: "SAID" in heard, 10)


def claimed(site: Web) -> sessions.Claim:
    site.ok("POST", "/workspaces/w1/heartbeat", {"active_tasks": 0})
    claim = sessions.claim(site.platform, "w1")
    assert isinstance(claim, sessions.Claim)
    return claim


def test_a_poll_is_woken_within_milliseconds_of_the_bind(make: Make) -> None:
    site, other = make(), make()
    site.workspace("w1")
    took = []
    with ThreadPoolExecutor(1) as pool:
        for number in range(20):
            site.send("w1", str(number))
            claim = claimed(site)
            answer = polling(pool, site, "wait_s=20")
            wait_for_polls(site)
            bound_at = time.monotonic()
            other.bind("w1", claim)
            turn, answered_at = answer.result(30)
            assert turn["prompt"] == str(number)
            took.append(answered_at - bound_at)
            fence = {"fence": turn["fence"]}
            site.ok("POST", f"/workspaces/w1/sessions/{turn['session_id']}/finish", fence)
    took.sort()
    assert took[0] < 0.05 and took[len(took) // 2] < LOOK_S / 5, took


@pytest.mark.parametrize("wait_s", [0, 0.2])
def test_a_poll_answers_null_when_nothing_came_in_time(site: Web, wait_s: float) -> None:
    began_at = time.monotonic()
    assert site.ok("GET", f"{NEXT}?wait_s={wait_s}") == {"turn": None, "directives": []}
    assert wait_s <= time.monotonic() - began_at < wait_s + LOOK_S - 1


def test_the_platforms_own_bound_holds_for_a_longer_wish(make: Make) -> None:
    site = make(poll_wait_max_s=0.2)
    site.workspace("w1")
    began_at = time.monotonic()
    assert site.ok("GET", f"{NEXT}?wait_s=300")["turn"] is None
    assert time.monotonic() - began_at < 10


def test_a_session_that_never_started_is_handed_out_again(make: Make) -> None:
    site = make(redeliver_after_s=0.3)
    site.workspace("w1")
    site.send("w1")
    site.bound("w1")
    first = site.ok("GET", f"{NEXT}?wait_s=0&instance=lost")["turn"]
    began_at = time.monotonic()
    again = site.ok("GET", f"{NEXT}?wait_s=20")["turn"]
    assert again["session_id"] == first["session_id"] and again["fence"] == first["fence"]
    assert time.monotonic() - began_at < LOOK_S - 1
    body = {"fence": again["fence"], "instance": "here"}
    site.ok("POST", f"/workspaces/w1/sessions/{again['session_id']}/start", body)
    assert site.ok("GET", f"{NEXT}?wait_s=0.5")["turn"] is None, "started: not again"


def test_a_session_that_was_just_handed_out_is_not_handed_out_again(make: Make) -> None:
    site = make(redeliver_after_s=60)
    site.workspace("w1")
    site.send("w1")
    site.bound("w1")
    assert site.ok("GET", f"{NEXT}?wait_s=0&instance=lost")["turn"]
    assert site.ok("GET", f"{NEXT}?wait_s=0")["turn"] is None


def test_a_stopping_process_answers_its_polls(site: Web) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = polling(pool, site, "wait_s=20")
        wait_for_polls(site)
        stopped_at = time.monotonic()
        site.app.extensions["turnkeeper"].stop()
        turn, answered_at = answer.result(30)
    assert turn is None and answered_at - stopped_at < LOOK_S - 1


def test_more_polls_than_the_bound_are_refused(make: Make) -> None:
    site = make(waiters_max=1)
    site.workspace("w1")
    with ThreadPoolExecutor(1) as pool:
        answer = polling(pool, site, "wait_s=20")
        wait_for_polls(site)
        refused = site.ask("GET", NEXT)
        assert refused.status_code == 503 and int(refused.headers["Retry-After"]) > 0
        assert refused.get_json()["setting"] == "TURNKEEPER_WAITERS_MAX"
        site.app.extensions["turnkeeper"].stop()
        assert answer.result(30)[0] is None


def test_a_turn_goes_to_one_poll_only(make: Make) -> None:
    site = make(redeliver_after_s=60)
    site.workspace("w1")
    with ThreadPoolExecutor(8) as pool:
        answers = [polling(pool, site, f"wait_s=20&instance=i{n}") for n in range(8)]
        wait_for_polls(site, 8)
        site.send("w1")
        site.bound("w1")
        wait_until(lambda: any(answer.done() for answer in answers), 15)
        site.app.extensions["turnkeeper"].stop()  # the others look once more, and answer
        turns = [answer.result(30)[0] for answer in answers]
    assert len([turn for turn in turns if turn]) == 1


def test_message_send_answers_as_soon_as_the_agent_has(make: Make) -> None:
    site = make(message_wait_s=30)
    site.workspace("w1")
    message = {"role": "user", "parts": [{"kind": "text", "text": "2+2"}], "messageId": "m"}
    call = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": message}}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(site.ok, "POST", "/workspaces/w1/a2a", call)
        wait_until(lambda: site.ok("GET", "/workspaces/w1/turns")["turns"], 10)
        claim = site.bound("w1")
        session = f"/workspaces/w1/sessions/{claim.session.id}"
        fence = {"fence": claim.session.fence}
        site.ok("POST", f"{session}/start", fence)
        began_at = time.monotonic()
        site.ok("POST", f"{session}/finish", fence | {"result": {"text": "4"}})
        task = answer.result(40)["result"]
    assert time.monotonic() - began_at < 10
    assert task["status"]["state"] == "completed"
    assert task["artifacts"][0]["parts"][0]["text"] == "4"


def test_a_feed_that_nobody_waits_for_is_given_up_in_the_end(make: Make) -> None:
    site = make()
    hub = site.app.extensions["turnkeeper"].hub
    for number in range(1_005):
        with hub.waiting(f"w{number}"):
            pass
    data = site.platform.clients.data
    wait_until(lambda: len(data.pubsub_channels("*")) <= 1_001, 20)
    assert threading.active_count() < 20


def test_a_poll_looks_when_a_turn_is_laid_out_and_not_at_what_comes_before(site: Web) -> None:
    hub = site.app.extensions["turnkeeper"].hub
    site.ok("POST", "/workspaces/w1/heartbeat", {"active_tasks": 0})
    wait_for_ears(site)
    with hub.waiting("w1", wants=may_bring) as poll, hub.waiting("w1") as control:
        site.send("w1")
        claim = claimed(site)
        assert control.wait(10), "who wants everything is woken"
        assert not poll.wait(0.2)
        site.bind("w1", claim)
        assert poll.wait(10)


@pytest.mark.parametrize("asked", ["checkpoint", "cancel", "end"])
def test_what_a_session_is_asked_ends_a_poll_at_once(site: Web, asked: str) -> None:
    """With its event among those that bring nothing it came with the next look, five seconds on."""
    turn_id = site.send("w1")
    claim = site.bound("w1")
    session = f"/workspaces/w1/sessions/{claim.session.id}"
    site.ok("POST", f"{session}/start", {"fence": claim.session.fence, "instance": "i"})
    with ThreadPoolExecutor(1) as pool:
        path = f"{NEXT}?wait_s=20&room=0&instance=i"
        answer = pool.submit(site.ok, "GET", path)
        wait_for_polls(site)
        asked_at = time.monotonic()
        turn = f"/workspaces/w1/turns/{turn_id}"
        site.ok("POST", f"{turn if asked == 'cancel' else session}/{asked}", {})
        (told,) = answer.result(30)["directives"]
    assert time.monotonic() - asked_at < LOOK_S - 1
    assert told["type"] == {"end": "terminate"}.get(asked, asked)


def test_what_brings_nothing_are_events_that_there_are() -> None:
    assert set(NAMES) >= BRINGS_NOTHING


def test_a_request_that_waits_for_its_turn_looks_at_that_turns_events_only(site: Web) -> None:
    hub = site.app.extensions["turnkeeper"].hub
    first, _ = (site.send("w1", text) for text in ("mine", "another's"))
    claim = claimed(site)
    wait_for_ears(site)
    with hub.waiting("w1", wants=of_turn(first)) as mine, hub.waiting("w1") as control:
        site.send("w1", "a third")
        assert control.wait(10)
        assert not mine.wait(0.2)
        sessions.finish(
            site.platform, "w1", claim.session.id, claim.session.fence, "completed", {"text": "4"}
        )
        assert mine.wait(10)
