"""What a limit says when it acts, and the limits of memories being hit."""

from collections.abc import Mapping
from typing import Any

from app.core import lines, webhooks
from app.core.events import Event
from tests.integration.api.streaming import chunks, parse, stream_of
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


def receiver_fails(shift: Shift, site: Web) -> Told:
    """As the worker does it after the last attempt."""
    made = webhooks.create(shift.platform, {"url": "https://hooks.example/"})
    site.ok("POST", f"/workspaces/{WS}/notify", {"message": "owed"})
    webhooks.disable(shift.platform, made.id, "16 attempts failed", 16)
    return whole(shift.one("LIMIT_HIT"))


def reader_of_last_week(shift: Shift, site: Web) -> Told:
    def say() -> str:
        return str(site.ok("POST", f"/workspaces/{WS}/notify", {"message": "x"})["id"])

    first, _ = say(), say()
    shift.platform.clock.wait(shift.platform.stopping, 8 * 86_400)
    say()
    lines.trim(shift.platform, [WS])
    with stream_of(site, f"/workspaces/{WS}/events/stream", last_id=first) as response:
        frames = chunks(response)
        next(frames)
        return parse(next(frames))[0].data  # type: ignore[no-any-return]
