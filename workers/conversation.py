"""One session with an agent behind a URL: sent once, held or followed, asked to stop, ended.

Everything it goes by is stored: whether it was sent, the agent's name for its task, what the
session was asked. So another worker goes on where one died.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from redis.exceptions import RedisError

from app.core import agents, keys, sessions
from app.core.agent_pushes import Invitation
from app.core.agents import Held
from app.core.egress import ExchangeCut
from app.core.errors import IllegalTransition, SessionNotFound, StaleFence
from app.core.platform import Platform
from app.core.records import Session
from workers.adapters.a2a import checkpoint_of, ending_of, message_of
from workers.adapters.a2a_http import TASK_UNKNOWN, Agent, AgentError, Declined, Unreachable
from workers.adapters.a2a_wire import NotA2A, Said

INSTANCE = "a2a"
KEEPALIVE_S = 75.0
AWAY_S = 0.5
ORPHAN_LOOK_S = 1.0
SUBSCRIBE_TRIES = 3
PUSH_PAUSE_S = 0.25
log = structlog.get_logger(__name__)


class PutDown(Exception):
    """Another worker, or this one later, goes on."""


@dataclass
class Unit:
    """A session that this worker holds; the service's thread renews the lease and writes here.

    ``stop``: it is not ours to go on with: it ended, somebody else holds it, the process stops.
    ``pushed``: its agent has pushed since it was looked at last; also set with ``stop``.
    """

    workspace_id: str
    session_id: str
    token: str
    is_sending: bool
    held: Held | None = None
    ended: Session | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    should_yield: bool = False
    pushes: int = 0
    pushed: threading.Event = field(default_factory=threading.Event)

    def hear(self, held: Held) -> None:
        """The lease was renewed: what stands on the session now."""
        self.held = held
        if held.session.pushes > self.pushes:
            self.pushes = held.session.pushes
            self.pushed.set()

    def end(self) -> None:
        """Have its thread go on with it no longer."""
        self.stop.set()
        self.pushed.set()


@dataclass
class Conversation:
    """What one thread does about one session."""

    platform: Platform
    unit: Unit
    held: Held
    agent: Agent
    is_first: bool = False
    push: Invitation | None = None
    _remote: str = ""
    _asked: set[str] = field(default_factory=set)
    _words: str = ""
    _told_at: float = 0.0

    @property
    def session(self) -> Session:
        """As it was when the lease was last renewed."""
        return (self.unit.held or self.held).session

    def run(self) -> None:
        """Until the session has ended, or is put down."""
        try:
            if self.session.remote:
                self._follow(self.session.remote)
            elif self.is_first:
                self._send()
            else:
                self._wait_for_word()
        except (StaleFence, SessionNotFound, IllegalTransition, ExchangeCut):
            self._ended_by_us()
        except PutDown:
            pass

    def _place(self) -> tuple[Platform, str, str, int]:
        session = self.session
        return self.platform, self.unit.workspace_id, session.id, session.fence

    def _say(self, write: Callable[..., object], *words: object) -> None:
        """Write what the agent said, however long Redis is away: nobody else has heard it."""
        while True:
            try:
                write(*self._place(), *words)
                return
            except RedisError:
                if self.unit.stop.is_set():
                    raise
                log.warning("an agent's word waits for redis", session_id=self.session.id)
                self.platform.clock.wait(self.unit.stop, AWAY_S)

    # Sending.

    def _send(self) -> None:
        said = None
        try:
            said = self.agent.send(
                lambda protocol: message_of(self.unit.workspace_id, self.held, protocol),
                self._holding,
                self.push,
            )
        except Declined as refusal:
            self._say(agents.decline, refusal.mechanism, refusal.reason, refusal.retry_after_s)
        except Unreachable as error:
            self._give_back("delivery_failed", str(error))
        except (AgentError, NotA2A) as error:
            self._fail(error)
        if said is not None:
            self._answered(said)

    def _holding(self) -> None:
        """Once a second while the agent holds the answer back: it has the message by now."""
        self._look()
        if "begun" not in self._asked:
            with suppress(RedisError):  # the agent goes on; so do we, in a second
                sessions.deliver(*self._place())
                sessions.start(*self._place(), INSTANCE)
                self._asked.add("begun")

    def _answered(self, said: Said) -> None:
        self._remote = said.task_id
        if not said.is_message:
            self._say(sessions.deliver, said.task_id, said.context_id)
            self._say(sessions.start, INSTANCE)
        self.unit.is_sending = False
        if not self._take(said):
            self._follow(said.task_id)

    # Following.

    def _follow(self, task_id: str) -> None:
        self._say(sessions.start, INSTANCE)
        settings = self.platform.settings
        tries_left, pause_s = SUBSCRIBE_TRIES, settings.agent_poll_s
        while True:
            self._look()
            if self.agent.endpoint.is_streaming and tries_left and not self.unit.should_yield:
                tries_left -= 1
                if self._subscribe(task_id):
                    tries_left = SUBSCRIBE_TRIES
            before = self._words
            if self._poll(task_id):
                return
            pause_s = settings.agent_poll_s if self._words != before else pause_s
            if self.unit.should_yield:
                agents.watch(self.platform, self.unit.workspace_id, pause_s)
                raise PutDown
            self._wait(pause_s, task_id)
            pause_s = min(pause_s * 2, settings.agent_poll_max_s)

    def _subscribe(self, task_id: str) -> bool:
        """Hear what happens until the stream ends. Returns whether something was heard."""
        heard = False
        try:
            for said in self.agent.subscribe(task_id, lambda: self._orders(task_id)):
                heard = True
                self._orders(task_id)
                if said.has_stopped:
                    return True
                self._progress(said)
        except (Unreachable, Declined, NotA2A, AgentError) as error:
            log.debug("not subscribed", session_id=self.session.id, reason=str(error))
        return heard

    def _poll(self, task_id: str) -> bool:
        """Look at the task once. Returns whether the session is over."""
        self.unit.pushed.clear()  # before the look: what is pushed during it is worth another
        try:
            return self._take(self.agent.task(task_id))
        except AgentError as error:
            if error.code == TASK_UNKNOWN:
                self._give_back("lost", "the agent does not know its task any more")
                return True
            log.warning("task not read", session_id=self.session.id, code=error.code)
        except (Unreachable, Declined, NotA2A) as error:  # its clocks go on; so do we
            log.info("agent away", session_id=self.session.id, reason=str(error))
        return False

    def _wait(self, wait_s: float, task_id: str) -> None:
        """Until the next look. A push brings it forward, but not without any pause: an agent may
        push each word that it writes."""
        clock = self.platform.clock
        now = clock.monotonic()
        end, soonest = now + wait_s, now + min(wait_s, PUSH_PAUSE_S)
        while (left_s := end - clock.monotonic()) > 0:
            self._orders(task_id)
            if clock.wait(self.unit.pushed, min(left_s, 0.5)):
                end = soonest
                clock.wait(self.unit.stop, max(0.0, end - clock.monotonic()))

    def _take(self, said: Said) -> bool:
        """Take what the agent said. Returns whether the session is over by it."""
        if not said.has_stopped:
            self._progress(said)
            return False
        outcome, result = ending_of(said, self.platform.settings.output_max_bytes)
        self._say(sessions.finish, outcome, result)
        return True

    def _progress(self, said: Said) -> None:
        now = self.platform.clock.monotonic()
        if said.text and said.text != self._words:
            self._words, self._told_at = said.text, now
            text = said.text[: self.platform.settings.prompt_max_bytes]
            self._say(sessions.progress, "text", {"text": text}, INSTANCE)
        elif now - self._told_at >= KEEPALIVE_S:
            self._told_at = now
            self._say(sessions.progress, "keepalive", {}, INSTANCE)

    # What the session is asked, and its end by the platform.

    def _look(self) -> None:
        """Raises: ExchangeCut, PutDown."""
        if self.unit.ended is not None:
            raise ExchangeCut
        if self.unit.stop.is_set():
            raise PutDown

    def _orders(self, task_id: str) -> None:
        self._look()
        session = self.session
        if session.checkpoint_asked_at and "checkpoint" not in self._asked:
            self._asked.add("checkpoint")
            if self.agent.endpoint.takes_checkpoint:
                self._try(lambda: self.agent.tell(checkpoint_of(self._now(), self.agent.protocol)))
        if session.cancel_asked_at and "cancel" not in self._asked:
            self._asked.add("cancel")
            self._try(lambda: self.agent.cancel(task_id))

    def _now(self) -> Held:
        return self.unit.held or self.held

    def _try(self, ask: Callable[[], None]) -> None:
        """Ask the agent; that it does not listen is what the ceiling is for."""
        try:
            ask()
        except (Unreachable, Declined, AgentError, NotA2A) as error:
            log.info("agent does not listen", session_id=self.session.id, reason=str(error))

    def _ended_by_us(self) -> None:
        """The fence has moved: have the agent stop, which it may or may not do."""
        remote = self._remote or self.session.remote
        if remote and "cancel" not in self._asked:
            self._try(lambda: self.agent.cancel(remote))

    # A message that was sent, and whose answer nobody waits for any more.

    def _wait_for_word(self) -> None:
        """The worker that held the answer died: only the agent's own heartbeat can tell whether
        it still works on it, and only when it does not is the turn given back."""
        since_ms = self.platform.now_ms()
        own = keys.of(self.unit.workspace_id)
        while True:
            beat = self.platform.clients.data.hgetall(own["capacity"])
            counts = "active_tasks" in beat and beat.get("instance") != agents.PROBE
            if not counts:
                self._give_back("lost", "its worker died, and the agent does not count its tasks")
                return
            live = int(self.platform.clients.data.zcard(own["live"]))
            if int(beat["at"]) > since_ms and int(beat["active_tasks"]) < live:
                self._give_back("lost", "its worker died, and the agent counts fewer tasks")
                return
            self._look()
            self.platform.clock.wait(self.unit.stop, ORPHAN_LOOK_S)

    def _give_back(self, mechanism: str, reason: str) -> None:
        holds = mechanism == "delivery_failed"
        self._say(sessions.release, mechanism, reason, True, holds)

    def _fail(self, error: AgentError | NotA2A) -> None:
        code = f"agent_{error.code}" if isinstance(error, AgentError) else "not_a2a"
        result = {"text": "", "error": {"code": code, "message": str(error)[:2000]}}
        self._say(sessions.finish, "failed", result)
