"""Talks to agents behind URLs for one time slice: sends, holds, follows, probes.

One thread looks at workspaces that are due and renews the leases; each session has a thread of a
bounded pool. What it goes by is stored, so a killed worker is followed by any other once its
leases have run out.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import structlog
from redis.exceptions import RedisError

from app.core import agent_pushes, agents, ids, keys, sessions, workspaces
from app.core.agents import Gone, Held, Later
from app.core.errors import StaleFence, TurnkeeperError
from app.core.platform import Platform
from app.core.records import Session
from app.core.workspaces import Workspace
from workers.adapters.a2a_http import Clients, Unreachable
from workers.contacts import Contacts
from workers.conversation import Conversation, Unit
from workers.slices import Slices

LEASE_S, RENEW_S = 10.0, 1.0
WAIT_S, AWAY_S = 0.25, 0.25
LOOK_MOST, LOOK_HOLD_S = 100, 10.0
LIVE_LOOK_S = 5.0
log = structlog.get_logger(__name__)


class Service:
    """Serves slice after slice; its own thread alone touches its fields."""

    def __init__(
        self, platform: Platform, lease_s: float = LEASE_S, renew_s: float = RENEW_S
    ) -> None:
        settings = platform.settings
        self.platform = platform
        self._lease_s, self._renew_s = lease_s, renew_s
        self._clients = Clients(settings)
        self._contacts = Contacts(platform, self._clients)
        slots = settings.hold_slots + settings.follow_slots
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="agent")
        self._running: dict[str, tuple[Unit, Future[None]]] = {}
        self._renew_at = 0.0

    def run(self, slice_s: float) -> None:
        """Until the slice is over or the process stops."""
        clock, platform = self.platform.clock, self.platform
        end = clock.monotonic() + slice_s
        while clock.monotonic() < end and not platform.stopping.is_set():
            try:
                self.step(WAIT_S)
            except RedisError as error:
                log.warning("agents wait for redis", error=str(error))
                clock.wait(platform.stopping, AWAY_S)

    def step(self, wait_s: float) -> None:
        """Wait for a ring, look at what is due, hold on what is ours."""
        woken = agents.wait(self.platform, wait_s) if wait_s else ""
        if woken:
            self._renew(woken)  # its agent may have pushed
        for workspace_id in agents.due(self.platform, LOOK_MOST, LOOK_HOLD_S):
            self._look(workspace_id)
        now = self.platform.clock.monotonic()
        if now >= self._renew_at:
            self._renew_at = now + self._renew_s
            self._renew()
        self._collect()
        self._contacts.collect()

    def close(self) -> None:
        """Put everything down; another worker goes on with it. An answer that an agent holds would
        be lost by that, so it has some time to come."""
        clock = self.platform.clock
        end = clock.monotonic() + self.platform.settings.drain_s / 2
        while self._count(True) and clock.monotonic() < end:
            with suppress(RedisError):
                self._renew()
            self._collect()
            clock.wait(threading.Event(), WAIT_S)
        for unit, _ in self._running.values():
            unit.end()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._contacts.close()
        self._clients.close()
        for unit, _ in self._running.values():
            self._put_down(unit)

    def _put_down(self, unit: Unit) -> None:
        try:
            agents.hold(self.platform, unit.workspace_id, unit.session_id, unit.token, 0)
            agents.watch(self.platform, unit.workspace_id, 0)
        except (RedisError, TurnkeeperError):
            log.warning("lease runs out by itself", session_id=unit.session_id)

    def _look(self, workspace_id: str) -> None:
        """One workspace's trouble is not the others'."""
        try:
            found = workspaces.read_many(self.platform, [workspace_id])[0]
            if found is None or found.stored["status"] == "removed":
                self.platform.clients.control.zrem(keys.AGENTS, workspace_id)
                return
            live = [
                one
                for one in sessions.live(self.platform, workspace_id)
                if one.adapter == agents.A2A
            ]
            for session in live:
                self._begin(found, session)
            again_s = self._contacts.probe(found) if agents.is_behind_url(found.stored) else None
            if live:
                again_s = min(LIVE_LOOK_S, again_s or LIVE_LOOK_S)
            if again_s is None:
                self.platform.clients.control.zrem(keys.AGENTS, workspace_id)
            else:
                self._again(workspace_id, again_s)
        except RedisError:
            raise
        except Exception:  # noqa: BLE001 - it comes back after LOOK_HOLD_S
            log.exception("agent not looked at", workspace_id=workspace_id)

    def _again(self, workspace_id: str, within_s: float) -> None:
        agents.watch(self.platform, workspace_id, max(0.001, within_s))

    def _begin(self, found: Workspace, session: Session) -> None:
        """Have a thread take up a session that nobody holds."""
        if session.id in self._running or session.digest is None:
            return
        if (session.held_until or 0) > self.platform.now_ms():
            return
        is_sending = session.remote is None
        if is_sending and (taken := self._taken(found.id)):
            if not session.sent_at:
                self._no_slot(found.id, session, *taken)
            return
        if not is_sending and self._count(False) >= self.platform.settings.follow_slots:
            for unit, _ in self._running.values():
                unit.should_yield = True
            return
        unit = Unit(found.id, session.id, ids.new("hold"), is_sending, pushes=session.pushes)
        self._running[session.id] = (unit, self._pool.submit(self._converse, found, unit))

    def _count(self, is_sending: bool) -> int:
        return sum(unit.is_sending == is_sending for unit, _ in self._running.values())

    def _taken(self, workspace_id: str) -> tuple[int, int] | None:
        """The bound that leaves no slot for a message of this workspace, and what is taken of it:
        all of them, or the half that one may have, so that an agent which answers nobody leaves
        room for the others. None: there is one."""
        slots, count = self.platform.settings.hold_slots, self._count(True)
        units = (unit for unit, _ in self._running.values())
        own = sum(unit.is_sending and unit.workspace_id == workspace_id for unit in units)
        half = max(1, slots // 2)
        return (slots, count) if count >= slots else (half, own) if own >= half else None

    def _no_slot(
        self, workspace_id: str, session: Session, limit_count: int, measured_count: int
    ) -> None:
        """No slot holds its answer: the turn waits in its lane, and says so."""
        facts = {
            "limit_count": limit_count,
            "measured_count": measured_count,
            "setting": "TURNKEEPER_HOLD_SLOTS",
        }
        reason = "no slot was free to hold the agent's answer"
        with suppress(StaleFence):
            here = (self.platform, workspace_id, session.id, session.fence)
            agents.decline(*here, "hold_slots", reason, 0, facts)

    def _converse(self, found: Workspace, unit: Unit) -> None:
        """In a thread of the pool."""
        held = self._hold(unit, False)
        if not isinstance(held, Held):
            return
        try:
            agent = self._contacts.agent(found, str(held.body.get("traceparent") or ""))
        except Unreachable as error:
            self._unreached(unit, held, str(error))
            return
        push = None
        if not held.session.remote and not held.session.sent_at:
            if agent.endpoint.pushes:
                push = agent_pushes.invite(self.platform, found.id, unit.session_id)
            marked = self._hold(unit, True, push.digest if push else "")
            if not isinstance(marked, Held):
                return
            held = marked
            is_first = not held.was_sent
        else:
            is_first = False
        Conversation(self.platform, unit, held, agent, is_first, push).run()
        self._contacts.learn(found, agent)

    def _hold(self, unit: Unit, sends: bool, push_digest: str = "") -> Held | Gone | Later:
        here = (self.platform, unit.workspace_id, unit.session_id, unit.token)
        return agents.hold(*here, self._lease_s, sends, push_digest)

    def _unreached(self, unit: Unit, held: Held, reason: str) -> None:
        """No card. What was not sent goes back; what was, is looked at again later."""
        session = held.session
        if session.sent_at or session.remote:
            self.platform.clock.wait(unit.stop, self.platform.settings.agent_poll_s)
            return
        here = (self.platform, unit.workspace_id, session.id, session.fence)
        with suppress(StaleFence):
            sessions.release(*here, "delivery_failed", reason, counts=True, holds=True)

    def _renew(self, workspace_id: str = "") -> None:
        """Hold on what is ours (of one workspace alone), and hear what became of it."""
        units = [unit for unit, _ in self._running.values()]
        units = [unit for unit in units if workspace_id in ("", unit.workspace_id)]
        if not units:
            return
        rows = [(unit.workspace_id, unit.session_id, unit.token) for unit in units]
        replies = agents.hold_on(self.platform, rows, self._lease_s)
        for unit, reply in zip(units, replies, strict=True):
            if isinstance(reply, Held):
                unit.hear(reply)
            elif isinstance(reply, Gone):
                unit.ended = reply.session
                unit.end()
            else:
                unit.end()

    def _collect(self) -> None:
        for session_id, (unit, future) in list(self._running.items()):
            if not future.done():
                continue
            del self._running[session_id]
            error = future.exception()
            if error is not None:
                log.error("conversation broke", session_id=session_id, exc_info=error)
            if error is not None or not unit.stop.is_set():
                with suppress(RedisError):
                    agents.hold(self.platform, unit.workspace_id, unit.session_id, unit.token, 0)


_slices = Slices(Service)


def serve(platform: Platform, slice_s: float) -> None:
    """Serve for so long. Conversations go on while the next slice begins."""
    _slices.serve(platform, slice_s)
