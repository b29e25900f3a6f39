"""What a limit says when it acts, and the limits of memories being hit."""

from collections.abc import Mapping
from typing import Any

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
