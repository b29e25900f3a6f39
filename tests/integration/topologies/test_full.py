"""Redis has reached its maxmemory: nothing is half written, nothing new begins, all else ends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError, RedisError

from app.core import (
    agents,
    dead_letters,
    events,
    invariants,
    memories,
    schedules,
    sessions,
    snapshots,
    tokens,
    workspaces,
)
from app.core.admission import Pace, admit
from app.core.agents import Held
from app.core.errors import StoreFull
from tests.integration.api.conftest import over
from tests.integration.topologies.flow import Flow, platform_of
from tests.support import servers
from tests.support.invariants import check
from tests.support.kernel import Kernel
from tests.support.servers import RedisServer
from tests.support.wait import wait_until

NEW: dict[str, Callable[[Kernel], Any]] = {
    "submit": lambda kernel: kernel.submit(idempotency_key="again"),
    "claim": lambda kernel: kernel.claim(),
    "fire": lambda kernel: kernel.fire(*due_now(kernel)),
    "replay": lambda kernel: kernel.replay(ended(kernel)),
    "follow": lambda kernel: kernel.follow(asking(kernel)),
    "append": lambda kernel: events.append(kernel.platform, kernel.id, "ACTIVITY", {"text": "x"}),
    "schedule_put": lambda kernel: kernel.scheduled(name="other"),
    "workspace_put": lambda kernel: workspaces.create(kernel.platform, "other", {}),
    "memory_put": lambda kernel: memories.commit(kernel.platform, kernel.id, memories.Draft("x")),
    "push_put": lambda kernel: kernel.put_push(asking(kernel)),
}


@pytest.fixture
def server(binary: str) -> Iterator[RedisServer]:
    with servers.redis_server(binary) as made:
        yield made


@pytest.fixture
def kernel(server: RedisServer) -> Iterator[Kernel]:
    """One slot, three turns before it, one that has ended, a schedule."""
    with platform_of(server.url) as platform:
        made = Kernel(platform).create()
        made.beat()
        made.make_due(made.scheduled(), made.now_ms() - 1)
        turn_id = made.submit("a question").turn_id
        made.finish(made.claimed().session, "input_required")
        assert made.turn(turn_id).state == "input_required"
        made.finish(made.claimed_turn())
        for _ in range(3):
            made.submit()
        yield made


@contextmanager
def full(server: RedisServer) -> Iterator[None]:
    with server.client() as client:
        client.config_set("maxmemory", "1")
        try:
            yield
        finally:
            client.config_set("maxmemory", "0")


def due_now(kernel: Kernel) -> Any:
    schedule = schedules.listing(kernel.platform, kernel.id)[0]
    return schedule, kernel.due(schedule)


def asking(kernel: Kernel) -> str:
    return next(
        turn_id
        for turn_id in kernel.data.zrange(kernel.keys["open"], 0, -1)
        if kernel.turn(turn_id).state == "input_required"
    )


def ended(kernel: Kernel) -> str:
    return str(kernel.data.zrange(kernel.keys["done"], 0, 0)[0])


@pytest.mark.parametrize("name", NEW)
def test_what_is_new_is_refused_and_nothing_of_it_is_written(
    server: RedisServer, kernel: Kernel, name: str
) -> None:
    before = kernel.dump()
    with full(server):
        with pytest.raises((StoreFull, OutOfMemoryError)):  # by a script; by a plain command
            NEW[name](kernel)
        assert kernel.dump() == before
    NEW[name](kernel)
    assert kernel.dump() != before or name == "workspace_put"
    check(kernel)


def test_what_has_begun_goes_on_and_ends(server: RedisServer, kernel: Kernel) -> None:
    """Each way in which a session ends, with memory full from the claim on."""
    for ending in ("finish", "fail", "release", "reap", "cancel"):
        kernel.submit()
        session = kernel.claimed().session
        kernel.bind(session)
        session = kernel.taken().session
        with full(server):
            kernel.start(session)
            kernel.progress(session)
            kernel.beat()
            kernel.ask(session, "checkpoint", "operator")
            if ending in ("finish", "fail"):
                outcome = {"finish": "completed", "fail": "failed"}[ending]
                assert kernel.finish(session, outcome, text="x" * 10_000) == outcome
            elif ending == "release":
                kernel.release(session)
            elif ending == "reap":
                assert kernel.reap(session, "operator")
            else:
                assert kernel.cancel(session.turn_id) == "canceling"
                assert kernel.finish(session, "canceled") == "canceled"
            assert kernel.session(session.id).ended_at
        check(kernel)


def test_what_waits_can_be_canceled_and_expires(server: RedisServer, kernel: Kernel) -> None:
    short = kernel.submit(expires_in_s=0.01).turn_id
    waiting = kernel.submit().turn_id
    with full(server):
        wait_until(lambda: kernel.expire() is None, 5)
        assert kernel.turn(short).state == "expired"
        assert kernel.cancel(waiting) == "canceled"
    check(kernel)


def test_control_without_its_first_step_a_claim_is_made(
    server: RedisServer, kernel: Kernel
) -> None:
    with full(server):
        kernel.altered("claim", "need_memory()\nlocal turn", "local turn").claimed()


def test_control_without_its_first_step_a_finish_is_refused(
    server: RedisServer, kernel: Kernel
) -> None:
    session = kernel.claimed().session
    broken = kernel.altered("finish", "let_through()\nlocal session", "local session")
    with full(server):
        with pytest.raises(StoreFull):
            broken.finish(session)
        assert kernel.finish(session) == "completed"


def test_what_an_agent_does_on_the_way_goes_on_too(server: RedisServer, kernel: Kernel) -> None:
    """One that is behind a URL, and one that speaks through its tools."""
    behind = kernel.claimed_turn()
    with full(server):
        held_by = (kernel.platform, kernel.id, behind.id, "worker", 5.0)
        kept = agents.hold(*held_by, sends=True, push_digest="digest of a secret")
        assert isinstance(kept, Held) and kept.session.sent_at
        sessions.deliver(kernel.platform, kernel.id, behind.id, behind.fence, "task", "context")
        assert kernel.run("agent_push", session_id=behind.id) == ["ok", 1]
        kernel.note(behind)
        kernel.say(behind)
        assert kernel.finish(behind) == "completed"
    check(kernel)


def test_what_an_agent_declines_goes_back(server: RedisServer, kernel: Kernel) -> None:
    session = kernel.claimed_turn()
    with full(server):
        where = (kernel.platform, kernel.id, session.id, session.fence)
        assert agents.decline(*where, "busy", "busy") == "queued"
    assert kernel.session(session.id).ended_at
    check(kernel)


@pytest.mark.parametrize("name", ["agent_hold", "deliver", "note", "say", "decline"])
def test_control_without_its_first_step_it_is_refused(
    server: RedisServer, kernel: Kernel, name: str
) -> None:
    session = kernel.claimed_turn()
    broken = kernel.altered(name, "let_through()\nlocal ", "local ")
    where = (broken.platform, kernel.id, session.id, session.fence)
    calls: dict[str, Callable[[], Any]] = {
        "agent_hold": lambda: agents.hold(broken.platform, kernel.id, session.id, "worker", 5),
        "deliver": lambda: sessions.deliver(*where),
        "note": lambda: broken.note(session),
        "say": lambda: broken.say(session),
        "decline": lambda: agents.decline(*where, "busy", "busy"),
    }
    with full(server), pytest.raises(StoreFull):
        calls[name]()


def test_requests_are_let_in_and_counted(server: RedisServer, kernel: Kernel) -> None:
    """The control side is the same server here: who beats and reports is not kept out."""
    text, given = tokens.create(kernel.platform, "agent", ["runtime"])
    broken = kernel.altered("admit", "redis.call('HDEL', K.limited, '')", "")
    with full(server):
        assert admit(kernel.platform, text, Pace.AGENT, kernel.id) == given
        with pytest.raises(StoreFull):
            admit(broken.platform, text, Pace.AGENT, kernel.id)


def test_dead_letters_beyond_their_count_are_forgotten_and_that_makes_room(
    server: RedisServer, kernel: Kernel
) -> None:
    for _ in range(3):
        session = kernel.claimed().session
        kernel.tuned(max_attempts=1).release(session, counts=True)
    with full(server):
        assert dead_letters.bury(kernel.tuned(dead_kept=1).platform, [kernel.id]) == 2
    check(kernel)


def test_memory_that_comes_and_goes_leaves_nothing_half_done(server: RedisServer) -> None:
    """Full at any moment: every refusal is StoreFull or Redis' own, and the flow ends whole."""
    stopping = threading.Event()

    def come_and_go() -> None:
        with server.client() as client:
            while not stopping.wait(0.003):
                client.config_set("maxmemory", "1")
                stopping.wait(0.003)
                client.config_set("maxmemory", "0")

    with platform_of(server.url) as platform:
        flow = Flow(platform)
        flow.open()
        thread = threading.Thread(target=come_and_go, name="memory")
        thread.start()
        refused_count = looked_count = 0
        try:
            for number in range(12):
                try:
                    flow.submit(f"message {number}")
                except StoreFull:
                    refused_count += 1
                with suppress(StoreFull, RedisError):
                    flow.round()
                for kernel in flow.kernels():
                    with suppress(OutOfMemoryError):  # it refuses to queue a transaction too
                        found = snapshots.read(platform, kernel.id)
                        looked_count += 1
                        assert invariants.check(found) == []
        finally:
            stopping.set()
            thread.join()
        assert refused_count > 0 and looked_count > 0
        flow.serve()
        flow.check()


def test_over_http_it_is_503_with_a_time_to_come_back(server: RedisServer) -> None:
    parts = [{"kind": "text", "text": "x"}]
    message = {"kind": "message", "messageId": "m", "role": "user", "parts": parts}
    send = {"method": "message/send", "params": {"message": message}}
    with over(server) as site:
        site.workspace("w1")
        site.ok("POST", "/workspaces/w1/heartbeat", {})
        site.ok("GET", "/readyz")  # the store has been begun
        with full(server):
            for path, body in (
                ("/workspaces", {"id": "w2"}),
                ("/workspaces/w1/a2a", send),
                ("/workspaces/w1/notify", {"message": "x"}),
                ("/workspaces/w1/memories", {"content": "x"}),
                ("/admin/tokens", {"name": "x", "scopes": ["read"]}),
            ):
                answer = site.ask("POST", path, body)
                assert (answer.status_code, answer.get_json()["code"]) == (503, "store_full"), path
                assert int(answer.headers["Retry-After"]) > 0
            answer = site.ask("POST", "/workspaces/w1/a2a", {**send, "jsonrpc": "2.0", "id": 1})
            assert answer.status_code == 503
            site.ok("POST", "/workspaces/w1/heartbeat", {})
            site.ok("GET", "/workspaces/w1/why")
            site.ok("GET", "/readyz")
        site.send("w1", "hello")
