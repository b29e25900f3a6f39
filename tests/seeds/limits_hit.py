"""What a limit says when it acts, and some limits being hit."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from app.core import follow_up, push, turns
from app.core.errors import TooManyPushConfigs
from app.core.events import Event
from tests.seeds.clocks import WS, Shift
from tests.unit.api.web import Web

Told = Mapping[str, Any]


def whole(event: Event) -> Told:
    return {"mechanism": event.mechanism, **event.payload}


def problem(answer: Any, status: int) -> Told:
    assert answer.status_code == status, answer.text
    told: Told = answer.get_json()
    return told


def remember(site: Web, count: int, text: str = "x" * 200, **fields: Any) -> Any:
    for _ in range(count):
        body = {"content": text, **fields}
        answer = site.ask("POST", f"/workspaces/{WS}/memories", body)
    return answer


def too_many_memories(shift: Shift, site: Web) -> Told:
    remember(site, 4)
    return whole(shift.one("LIMIT_HIT"))


def too_many_memories_says_so(shift: Shift, site: Web) -> Told:
    return problem(remember(site, 4, scope="GLOBAL"), 409)


def big_memory(shift: Shift, site: Web) -> Told:
    return problem(remember(site, 1, "x" * 501), 422)


def memories_bound(shift: Shift, site: Web) -> Told:
    remember(site, 3)
    return whole(shift.one("LIMIT_HIT", shift.begin()))


def too_many_polls(shift: Shift, site: Web) -> Told:
    with site.app.extensions["turnkeeper"].hub.waiting(WS):
        return problem(site.ask("GET", f"/workspaces/{WS}/turns/next?wait_s=0"), 503)


def too_many_push_configs(shift: Shift, site: Web) -> Told:
    turn_id = turns.submit(site.platform, WS, turns.Request(body={"text": "x"})).turn_id
    for number in range(3):
        config = push.made(turn_id, "https://e.com/", "1.0", config_id=str(number))
        with suppress(TooManyPushConfigs):
            push.put(site.platform, WS, config)
    return whole(shift.one("LIMIT_HIT"))


def long_exchange(shift: Shift, site: Web) -> Told:
    """More is said in a turn than is kept of it."""
    session = shift.session(shift.begin())
    shift.agent.finish(session.id, "input_required")
    message = {"role": "user", "parts": [{"kind": "text", "text": "x" * 1000}]}
    given = follow_up.FollowUp(text="x", message=message, asked=message)
    follow_up.submit(site.platform, WS, session.turn_id, given)
    return whole(shift.one("LIMIT_HIT"))
