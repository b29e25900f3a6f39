"""One session: start the child, report while it runs, carry out directives, give the outcome."""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from runtime.agents.base import Agent, Command, Ending, LaunchError, Outcome, Resume
from runtime.cgroup import Group
from runtime.chats import Chats
from runtime.child import Child, start_child
from runtime.children import Children
from runtime.client import Platform
from runtime.environ import child_environ
from runtime.files import SessionFiles, read_checkpoint, session_files, write_atomically
from runtime.guard import Guard
from runtime.kill import CANCEL_RUNGS, KILL_RUNGS, LEFTOVER_RUNGS, Target
from runtime.killer import Killer
from runtime.pace import due
from runtime.reporter import Reporter
from runtime.settings import RuntimeSettings
from runtime.spool import Spool
from runtime.wire import Directive, Turn

log = structlog.get_logger(__name__)

STUCK_LOOK_S = 1.0
MECHANISMS = {"canceled": "cancel", "terminated": "terminate"}

Rungs = tuple[signal.Signals, ...]


@dataclass(frozen=True)
class Host:
    """What every session of one supervisor shares."""

    workspace_id: str
    settings: RuntimeSettings
    command: Command
    make_agent: Callable[[Command], Agent]
    chats: Chats
    platform: Platform
    spool: Spool
    children: Children
    guard: Guard
    find_strays: Callable[[], list[int]]
    groups_in: Path | None
    on_directives: Callable[[tuple[Directive, ...]], None]
    on_left: Callable[[tuple[str, ...]], None]
    make_killer: Callable[..., Killer] = Killer


@dataclass
class _State:
    """Guarded by the session's lock. ``end_as``: why we end the child, the first reason wins
    over later ones except that ``stale`` wins over all. ``came_late``: the child (``is_over``) had
    ended by itself before that. ``wish``: what was asked of the child."""

    obeyed: set[str] = field(default_factory=set)
    end_as: str = ""
    reason: str = ""
    is_over: bool = False
    came_late: bool = False
    wish: dict[str, Any] | None = None
    killer: Killer | None = None
    group: Group = field(default_factory=lambda: Group(None))
    files: SessionFiles | None = None
    child: Child | None = None


class Session:
    """Runs in the thread that calls run(); the other methods may come from any thread."""

    def __init__(self, turn: Turn, host: Host) -> None:
        self.turn = turn
        self._host = host
        self._state = _State()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._reporter = Reporter(turn, host.platform, host.spool, host.on_directives, self.abandon)
        self._log = log.bind(session_id=turn.session_id, turn_id=turn.turn_id, fence=turn.fence)

    def run(self) -> None:
        """Do the whole turn; at its end the platform or the spool knows how it ended."""
        try:
            with session_files(self.turn) as files:
                resume = self._host.chats.find(self.turn)
                outcome, report = self._attempt(files, resume)
                if self._may_try_again(outcome):
                    self._log.warning("chat_lost", error=str(outcome.error))
                    self._host.chats.forget(self.turn)
                    outcome, report = self._attempt(files, None)
                self._finish(outcome, report)
        except LaunchError as error:
            self._state.group.remove()
            self._host.guard.unwatch(self.turn.session_id)
            self._log.error("launch_failed", code=error.code, error=str(error))
            failure = {"code": error.code, "message": str(error)}
            self._finish(Outcome("failed", error=failure), {"exit_code": None})

    def direct(self, directive: Directive) -> None:
        """Carry out a directive once; one for another fence is not for us."""
        if directive.fence is not None and directive.fence != self.turn.fence:
            self._log.debug("directive_ignored", reason="other fence", type=directive.type)
            return
        with self._lock:
            if directive.type in self._state.obeyed:
                return
            self._state.obeyed.add(directive.type)
        self._log.info("directive", type=directive.type, reason=directive.reason)
        if directive.type == "checkpoint":
            self.request_checkpoint(directive.deadline_at, directive.reason)
        elif directive.type == "cancel":
            self._end_child("canceled", CANCEL_RUNGS, directive.reason or "canceled")
        else:
            self._end_child("terminated", KILL_RUNGS, directive.reason or "terminated")

    def request_checkpoint(self, deadline_at: str | None, reason: str) -> None:
        """Ask the child to save and exit: by its control file, and in its agent's own way."""
        with self._lock:
            self._state.wish = {
                "action": "checkpoint",
                "deadline_at": deadline_at,
                "reason": reason,
                "session_id": self.turn.session_id,
            }
            self._pass_on_wish()

    def hand_back(self) -> None:
        """End the child and release the turn unfinished: this runtime is stopping."""
        self._end_child("handed_back", LEFTOVER_RUNGS, "drain")

    def abandon(self) -> None:
        """The platform ended this session: end the child, report nothing."""
        self._log.warning("session_is_stale")
        self._end_child("stale", KILL_RUNGS, "stale_fence")

    def _pass_on_wish(self) -> None:
        """Under the lock. Nothing while there is no child to ask: its start comes back here."""
        files, child, wish = self._state.files, self._state.child, self._state.wish
        if files is None or child is None or wish is None:
            return
        wish["checkpoint_file"] = str(files.checkpoint)
        try:
            write_atomically(files.control, wish)
        except OSError as error:
            self._log.error("control_file_failed", error=str(error))
        child.wrap_up(wish)

    def _end_child(self, end_as: str, rungs: Rungs, why: str) -> None:
        with self._lock:
            state = self._state
            if not state.end_as or end_as == "stale":
                state.end_as, state.reason = end_as, why
                has_exited = state.child is not None and state.child.is_done.is_set()
                state.came_late = state.is_over or has_exited
            killer = state.killer
        if killer is not None:
            killer.start(rungs, why)
        self._wake.set()  # from now on it looks each second whether the ladder has given up

    def _may_try_again(self, outcome: Outcome) -> bool:
        """Without the chat that its agent has lost; not when the session is to end."""
        with self._lock:
            if not outcome.is_resume_lost or self._state.end_as:
                return False
            self._state.is_over = False
            return True

    def _attempt(
        self, files: SessionFiles, resume: Resume | None
    ) -> tuple[Outcome, dict[str, Any]]:
        """One child from start to end. Raises: LaunchError."""
        agent = self._host.make_agent(self._host.command)
        child = self._launch(agent, files, resume)
        self._report_while_running(child, agent)
        return self._end(child, agent, files)

    def _launch(self, agent: Agent, files: SessionFiles, resume: Resume | None) -> Child:
        """Raises: LaunchError, also when the session was ended before it began."""
        host, turn = self._host, self.turn
        command, settings = host.command, host.settings
        launch = agent.launch(turn, str(files.prompt), resume)
        environ = child_environ(settings, host.workspace_id, turn, files, command, launch.environ)
        with self._lock:
            if self._state.end_as:
                raise LaunchError("canceled", "ended before it began")
            group = Group.make(host.groups_in, turn.session_id)
            self._state.group = group
            host.guard.watch(Target(0, 0.0, turn.session_id), files.directory, group)
            child = start_child(
                launch,
                environ,
                turn.session_id,
                agent,
                host.children,
                settings,
                self._wake.set,
                uses_pty=command.uses_pty,
            )
            group.add(child.target.pid)  # what it forked before that is found by the search
            self._state.killer = host.make_killer(
                child.target, settings.kill_grace_s, host.find_strays, group
            )
            self._state.files, self._state.child = files, child
            self._pass_on_wish()
        host.guard.watch(child.target, files.directory, group)
        self._log.info("child_started", pid=child.process.pid)
        return child

    def _report_while_running(self, child: Child, agent: Agent) -> None:
        began_at = sent_at = time.monotonic()
        over_at = 0.0
        kept: Resume | None = None
        settings = self._host.settings
        batch_s, keepalive_s = settings.output_interval_s, settings.keepalive_s
        while not (child.is_done.is_set() or self._is_stuck()):
            now = time.monotonic()
            kept = self._keep_chat(agent, kept)
            next_due = due(now, sent_at, child.has_news(), batch_s, keepalive_s)
            if next_due.what == "news":
                self._report_news(child)
            elif next_due.what == "keepalive":
                self._reporter.progress({"kind": "keepalive"})
            if next_due.what:
                sent_at = time.monotonic()
                continue
            wait_s = next_due.wait_s
            if agent.is_over:
                over_at = over_at or now
                wait_s = min(wait_s, settings.exit_wait_s)
                if now - over_at >= settings.exit_wait_s:
                    self._kill_lingering()
            self._wake.wait(min(wait_s, STUCK_LOOK_S) if self._state.end_as else wait_s)
            self._wake.clear()
        if child.has_news() and (sent_at > began_at or agent.reads_lines):
            self._report_news(child)  # the end of what somebody follows live; every tool event

    def _is_stuck(self) -> bool:
        """Has the ladder given up? Then nobody waits for this child any longer: its slot would
        never be free, and nobody would be told that the runtime is wedged."""
        killer = self._state.killer
        return killer is not None and bool(killer.left)

    def _keep_chat(self, agent: Agent, kept: Resume | None) -> Resume | None:
        """Remember the agent's chat as soon as it is known: it outlives a killed supervisor."""
        chat = agent.chat
        if chat is not None and chat != kept:
            self._host.chats.keep(self.turn, chat)
        return chat

    def _report_news(self, child: Child) -> None:
        for event in child.take_news():
            report = {"kind": event.kind, "text": event.text, "tool": event.tool}
            self._reporter.progress({k: v for k, v in report.items() if v is not None})

    def _kill_lingering(self) -> None:
        """The agent said its last word but does not exit: its outcome stands, the process goes."""
        killer = self._state.killer
        if killer is not None:
            killer.start(CANCEL_RUNGS, "lingers_after_terminal_event")

    def _end(
        self, child: Child, agent: Agent, files: SessionFiles
    ) -> tuple[Outcome, dict[str, Any]]:
        """After the child's exit: end what it left, and read what it did."""
        with self._lock:
            killer, state = self._state.killer, self._state
            is_asked = state.wish is not None
            state.files = state.child = None  # a late request has nowhere to go
            state.is_over = True
        assert killer is not None  # noqa: S101 - set together with the child
        killer.clean_up()
        state.group.remove()
        self._host.guard.unwatch(self.turn.session_id)
        self._host.children.reap_orphans()
        if killer.left:
            self._host.on_left(killer.left)
        self._keep_chat(agent, None)
        note, exit_code = read_checkpoint(files.checkpoint), child.process.returncode
        ending = Ending(
            -signal.SIGKILL if exit_code is None else exit_code,
            child.stdout.text(),
            child.stderr.text(),
            is_asked,
            note is not None,
        )
        outcome = agent.outcome(ending)
        mechanism = "" if state.came_late else MECHANISMS.get(state.end_as, "")
        ladder = killer.limits(mechanism, state.reason if mechanism else "")
        return outcome, {
            "checkpoint": note if note is not None else outcome.checkpoint,
            "exit_code": exit_code,
            "limits": [*child.limits(), *outcome.limits, *ladder],
        }

    def _finish(self, outcome: Outcome, report: dict[str, Any]) -> None:
        with self._lock:
            end_as, reason = self._state.end_as, self._state.reason
            is_late = self._state.came_late and not outcome.is_resume_lost
        if is_late and end_as != "stale":  # its own end stands; a second run would do it again
            self._log.info("outcome_stands", outcome=outcome.outcome, asked=end_as)
            end_as = ""
        if end_as == "stale":
            self._log.warning("finish_dropped", outcome=outcome.outcome, error="stale_fence")
            return
        if end_as == "handed_back":
            self._reporter.release(reason)
            return
        if end_as:
            error = {"code": end_as, "message": reason}
            outcome = replace(outcome, outcome="canceled", error=error)
        for hit in report.get("limits", ()):
            self._log.warning("limit_hit", **hit)
        self._reporter.finish(
            {
                "checkpoint": None,
                "limits": [],
                **report,
                "outcome": outcome.outcome,
                "result": {"text": outcome.text, **outcome.extra},
                "error": None if outcome.error is None else dict(outcome.error),
            }
        )
