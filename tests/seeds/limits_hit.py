"""What a limit says when it acts, and some limits being hit."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from structlog.testing import capture_logs

from app.core import (
    dead_letters,
    follow_up,
    lines,
    push,
    schedules,
    sessions,
    tokens,
    turns,
    webhooks,
)
from app.core.errors import TooManyPushConfigs
from app.core.events import Event
from app.core.platform import Platform
from app.core.settings import Settings
from app.wsgi import create_app
from tests.integration.api.streaming import Reader, chunks, parse, stream_of
from tests.seeds.clocks import EVERY_30_MIN, WS, Shift
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


def handovers_used_up(shift: Shift, site: Web) -> Told:
    """No worker lives from the claim to the bind."""
    turns.submit(shift.platform, WS, turns.Request(body={"text": "x"}))
    for _ in range(2):
        claim = sessions.claim(shift.platform, WS)
        assert isinstance(claim, sessions.Claim)
        assert sessions.reap(shift.platform, WS, claim.session, "handover", 0, "a_setting")
    return whole(shift.one("TURN_DEAD"))


def bury(shift: Shift, count: int, after_s: float = 0) -> Told:
    """So many dead letters, and the look at them after so long."""
    for _ in range(count):
        turns.submit(shift.platform, WS, turns.Request(body={"text": "x"}, redeliver="never"))
        claim = sessions.claim(shift.platform, WS)
        assert isinstance(claim, sessions.Claim)
        own = (claim.session.id, claim.session.fence)
        sessions.release(shift.platform, WS, *own, "lost", "gone", counts=True)
    shift.platform.clock.wait(shift.platform.stopping, after_s)
    dead_letters.bury(shift.platform, [WS])
    return whole(shift.one("LIMIT_HIT"))


def too_many_polls(shift: Shift, site: Web) -> Told:
    with site.app.extensions["turnkeeper"].hub.waiting(WS):
        return problem(site.ask("GET", f"/workspaces/{WS}/turns/next?wait_s=0"), 503)


def beside(site: Web, **settings: Any) -> Web:
    """A web process over the same store with other settings; it holds no connection of its own."""
    known = {**site.platform.settings.model_dump(), **settings}
    known = {name: value for name, value in known.items() if value != ""}
    platform = Platform(Settings.model_validate(known), site.platform.clients)
    return Web(create_app(platform=platform), platform)


def streams_of_one(shift: Shift, site: Web) -> Told:
    path = f"/workspaces/{WS}/events/stream"
    other = beside(site, streams_max=10, streams_per_token_max=1)
    with stream_of(other, path):
        assert other.ask("GET", path, token=other.token("send")).status_code == 403
        with stream_of(other, path, token=other.token("read")):
            return problem(other.ask("GET", path), 503)


def polls_of_one(shift: Shift, site: Web) -> Told:
    other = beside(site, waiters_max=10, waiters_per_token_max=1)
    with other.app.extensions["turnkeeper"].hub.waiting(WS, "tok_root"):
        path = f"/workspaces/{WS}/turns/next?wait_s=0"
        assert other.ask("GET", path, token=other.token("runtime")).status_code == 200
        return problem(other.ask("GET", path), 503)


def too_many_logins(shift: Shift, site: Web) -> Told:
    other = beside(site, logins_per_token_max=1)
    with capture_logs() as lines:
        for _ in range(2):
            tokens.redeem(other.platform, tokens.login_code(other.platform, tokens.ROOT))
    return next(line for line in lines if line["event"] == "LIMIT_HIT")


def too_many_requests(shift: Shift, site: Web) -> Told:
    other = beside(site, rate_limit_per_min=5)
    for _ in range(5):
        other.ok("GET", f"/workspaces/{WS}")
    answer = other.ask("GET", f"/workspaces/{WS}")
    assert 1 <= int(answer.headers["Retry-After"]) <= 12
    return problem(answer, 429)


def too_many_beats(shift: Shift, site: Web) -> Told:
    other = beside(site, agent_rate_limit_per_min=5)
    for _ in range(5):
        other.ok("POST", f"/workspaces/{WS}/heartbeat", {})
    other.ok("GET", f"/workspaces/{WS}")
    return problem(other.ask("POST", f"/workspaces/{WS}/heartbeat", {}), 429)


def too_many_refusals(shift: Shift, site: Web) -> Told:
    other = beside(site, refusals_told_per_min=3)
    remember(other, 8)
    return whole(next(e for e in shift.told("LIMIT_HIT") if e.mechanism == "refusals_told"))


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


def fire_expires(**own: Any) -> Callable[[Shift, Web], Told]:
    def hit(shift: Shift, site: Web) -> Told:
        shift.begin()
        fields = {**EVERY_30_MIN, "cron_expr": "0 0 1 1 *", **own}
        schedules.run_now(shift.platform, WS, schedules.create(shift.platform, WS, fields).id)
        shift.run(61)
        shift.agent.finish(shift.live()[0])
        shift.run(1)
        return whole(shift.one("TURN_EXPIRED"))

    return hit


def missed(**own: Any) -> Callable[[Shift, Web], Told]:
    def hit(shift: Shift, site: Web) -> Told:
        schedules.create(shift.platform, WS, {**EVERY_30_MIN, "cron_expr": "0 13 1 3 *", **own})
        shift.platform.clock.wait(shift.platform.stopping, 2 * 86_400)  # nothing runs at all
        shift.run(1)
        return whole(shift.one("CRON_MISSED"))

    return hit


def bad_end(event: str, **own: Any) -> Callable[[Shift, Web], Told]:
    """What is told when a fire has failed."""

    def hit(shift: Shift, site: Web) -> Told:
        made = schedules.create(shift.platform, WS, {**EVERY_30_MIN, **own})
        schedules.run_now(shift.platform, WS, made.id)
        shift.run(1)
        shift.agent.finish(shift.live()[0], "failed")
        return whole(shift.one(event))

    return hit


def backfill_too_long(shift: Shift, site: Web) -> Told:
    path = f"/workspaces/{WS}/schedules/{site.schedule(WS)}/backfill"
    body = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T02:00:00Z"}
    return problem(site.ask("POST", path, body), 422)


OVERLAPS = {
    "buffer_one": "TURN_COALESCED",
    "skip": "CRON_SKIPPED",
    "cancel_other": "SESSION_CHECKPOINT_REQUESTED",
    "terminate_other": "SESSION_ENDED",
}


def overlaps(policy: str, name: str) -> Callable[[Shift, Web], Told]:
    def hit(shift: Shift, site: Web) -> Told:
        if not policy.endswith("other"):
            shift.begin()
        fields = {**EVERY_30_MIN, "cron_expr": "* * * * *", "overlap_policy": policy}
        schedules.create(shift.platform, WS, fields)
        shift.run(140)
        for _ in range(2):
            for held in list(shift.agent.running):
                shift.agent.finish(held)
            shift.run(1)
        return whole(next(e for e in shift.told(name) if e.mechanism == "overlap"))

    return hit


def receiver_fails(shift: Shift, site: Web) -> Told:
    """As the worker does it after the last attempt."""
    made = webhooks.create(shift.platform, {"url": "https://hooks.example/"})
    site.ok("POST", f"/workspaces/{WS}/notify", {"message": "owed"})
    webhooks.disable(shift.platform, made, "16 attempts failed", 16)
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


def long_result(shift: Shift, site: Web) -> Told:
    session = shift.session(shift.begin())
    body = {"fence": session.fence, "result": {"text": "x" * 1025}}
    site.ok("POST", f"/workspaces/{WS}/sessions/{session.id}/finish", body)
    return whole(shift.one("LIMIT_HIT", session.id))


def too_many_streams(shift: Shift, site: Web) -> Told:
    path = f"/workspaces/{WS}/events/stream"
    with stream_of(site, path):
        return problem(site.ask("GET", path), 503)


def say(site: Web, count: int) -> str:
    for _ in range(count):
        last = str(site.ok("POST", f"/workspaces/{WS}/notify", {"message": "x"})["id"])
    return last


def slow_reader(shift: Shift, site: Web) -> Told:
    with stream_of(site, f"/workspaces/{WS}/events/stream") as response:
        frames = chunks(response)
        next(frames)
        say(site, 30)
        reader = Reader(parse(next(frames)))
    return reader.named("gap")[0].data  # type: ignore[no-any-return]


def late_reader(shift: Shift, site: Web) -> Told:
    first = say(site, 1)
    say(site, 300)
    with stream_of(site, f"/workspaces/{WS}/events/stream", last_id=first) as response:
        frames = chunks(response)
        next(frames)
        return parse(next(frames))[0].data  # type: ignore[no-any-return]
