"""One session: start the child, report while it runs, carry out directives, give the outcome."""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from runtime.agents.base import Agent, Command, Ending, LaunchError, Outcome
from runtime.child import Child, start_child
from runtime.children import Children
from runtime.client import Platform
from runtime.files import SessionFiles, read_checkpoint, session_files, write_atomically
from runtime.guard import Guard
from runtime.kill import CANCEL_RUNGS, KILL_RUNGS, LEFTOVER_RUNGS, MARK_NAME, Target
from runtime.killer import Killer
from runtime.pace import due
from runtime.reporter import Reporter
from runtime.settings import RuntimeSettings
from runtime.spool import Spool
from runtime.wire import Directive, Turn

log = structlog.get_logger(__name__)

AFTER_TERMINAL_EVENT_S = 10.0

Rungs = tuple[signal.Signals, ...]


@dataclass(frozen=True)
class Host:
    """What every session of one supervisor shares."""

    workspace_id: str
    settings: RuntimeSettings
    command: Command
    make_agent: Callable[[Command], Agent]
    platform: Platform
    spool: Spool
    children: Children
    guard: Guard
    find_strays: Callable[[], list[int]]
    on_directives: Callable[[tuple[Directive, ...]], None]
    on_left: Callable[[tuple[str, ...]], None]


@dataclass
class _State:
    """Guarded by the session's lock. ``end_as``: why we end the child, the first reason wins
    over later ones except that ``stale`` wins over all."""

    obeyed: set[str] = field(default_factory=set)
    end_as: str = ""
    reason: str = ""
    is_checkpoint_requested: bool = False
    killer: Killer | None = None
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

    def run(self) -> bool:
        """Do the whole turn. True when the platform knows how it ended, False when spooled."""
        agent = self._host.make_agent(self._host.command)
        try:
            with session_files(self.turn) as files:
                child = self._launch(agent, files)
                self._report_while_running(child, agent)
                return self._end(child, agent, files)
        except LaunchError as error:
            self._host.guard.unwatch(self.turn.session_id)
            self._log.error("launch_failed", code=error.code, error=str(error))
            failure = {"code": error.code, "message": str(error)}
            return self._finish(Outcome("failed", error=failure), None, None, [])

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
        """Ask the child, through its control file, to save and exit."""
        with self._lock:
            self._state.is_checkpoint_requested = True
            self._state.reason = reason
            files = self._state.files
            if files is not None:
                self._write_control(files, deadline_at)

    def hand_back(self) -> None:
        """End the child and release the turn unfinished: this runtime is stopping."""
        self._end_child("handed_back", LEFTOVER_RUNGS, "drain")

    def abandon(self) -> None:
        """The platform ended this session: end the child, report nothing."""
        self._log.warning("session_is_stale")
        self._end_child("stale", KILL_RUNGS, "stale_fence")

    def _write_control(self, files: SessionFiles, deadline_at: str | None) -> None:
        wish = {
            "action": "checkpoint",
            "deadline_at": deadline_at,
            "reason": self._state.reason,
            "session_id": self.turn.session_id,
            "checkpoint_file": str(files.checkpoint),
        }
        try:
            write_atomically(files.control, wish)
        except OSError as error:
            self._log.error("control_file_failed", error=str(error))

    def _end_child(self, end_as: str, rungs: Rungs, why: str) -> None:
        with self._lock:
            if not self._state.end_as or end_as == "stale":
                self._state.end_as, self._state.reason = end_as, why
            killer = self._state.killer
        if killer is not None:
            killer.start(rungs, why)

    def _launch(self, agent: Agent, files: SessionFiles) -> Child:
        """Raises: LaunchError, also when the session was ended before it began."""
        launch = agent.launch(self.turn, str(files.prompt))
        environ = {**self._environ(files), **launch.environ}
        host, settings = self._host, self._host.settings
        with self._lock:
            if self._state.end_as:
                raise LaunchError("canceled", "ended before it began")
            host.guard.watch(Target(0, 0.0, self.turn.session_id), files.directory)
            child = start_child(
                launch,
                environ,
                self.turn.session_id,
                agent,
                host.children,
                settings,
                self._wake.set,
                uses_pty=host.command.uses_pty,
            )
            grace_s = settings.kill_grace_s
            self._state.killer = Killer(child.target, grace_s, host.find_strays)
            self._state.files, self._state.child = files, child
            if self._state.is_checkpoint_requested:
                self._write_control(files, None)
        host.guard.watch(child.target, files.directory)
        self._log.info("child_started", pid=child.process.pid)
        return child

    def _environ(self, files: SessionFiles) -> dict[str, str]:
        turn = self.turn
        mine = {
            "TURNKEEPER_URL": self._host.settings.url,
            "TURNKEEPER_WORKSPACE": self._host.workspace_id,
            "TURNKEEPER_TURN_ID": turn.turn_id,
            "TURNKEEPER_SESSION_ID": turn.session_id,
            "TURNKEEPER_CONTROL_FILE": str(files.control),
            "TURNKEEPER_CHECKPOINT_FILE": str(files.checkpoint),
            "TURNKEEPER_TURN_FILE": str(files.turn),
            MARK_NAME: turn.session_id,
        }
        if turn.ceiling_at:
            mine["TURNKEEPER_DEADLINE"] = turn.ceiling_at
        if turn.traceparent:
            mine["TRACEPARENT"] = turn.traceparent
        return {**self._host.settings.child_environ, **mine}

    def _report_while_running(self, child: Child, agent: Agent) -> None:
        began_at = sent_at = time.monotonic()
        over_at = 0.0
        settings = self._host.settings
        batch_s, keepalive_s = settings.output_interval_s, settings.keepalive_s
        while not child.is_done.is_set():
            now = time.monotonic()
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
                wait_s = min(wait_s, AFTER_TERMINAL_EVENT_S)
                if now - over_at >= AFTER_TERMINAL_EVENT_S:
                    self._kill_lingering()
            self._wake.wait(wait_s)
            self._wake.clear()
        if sent_at > began_at and child.has_news():
            self._report_news(child)  # the end of what somebody follows live

    def _report_news(self, child: Child) -> None:
        for event in child.take_news():
            report = {"kind": event.kind, "text": event.text, "tool": event.tool}
            self._reporter.progress({k: v for k, v in report.items() if v is not None})

    def _kill_lingering(self) -> None:
        """The agent said its last word but does not exit: its outcome stands, the process goes."""
        killer = self._state.killer
        if killer is not None:
            killer.start(CANCEL_RUNGS, "lingers_after_terminal_event")

    def _end(self, child: Child, agent: Agent, files: SessionFiles) -> bool:
        killer = self._state.killer
        assert killer is not None  # noqa: S101 - set together with the child
        killer.clean_up()
        self._host.guard.unwatch(self.turn.session_id)
        self._host.children.reap_orphans()
        if killer.left:
            self._host.on_left(killer.left)
        if child.dropped_events:
            self._log.warning("limit_hit", mechanism="event_backlog", dropped=child.dropped_events)
        exit_code = child.process.returncode
        checkpoint = read_checkpoint(files.checkpoint)
        with self._lock:
            is_asked = self._state.is_checkpoint_requested
            self._state.files = None  # the directory goes; a late request has nowhere to go
        ending = Ending(exit_code, child.stdout.text(), child.stderr.text(), is_asked, checkpoint)
        return self._finish(agent.outcome(ending), exit_code, checkpoint, child.limits())

    def _finish(
        self,
        outcome: Outcome,
        exit_code: int | None,
        checkpoint: dict[str, Any] | None,
        limits: list[dict[str, Any]],
    ) -> bool:
        with self._lock:
            end_as, reason = self._state.end_as, self._state.reason
        if end_as == "stale":
            self._log.warning("finish_dropped", outcome=outcome.outcome, error="stale_fence")
            return True
        if end_as == "handed_back":
            return self._reporter.release(reason)
        if end_as:
            error = {"code": end_as, "message": reason}
            outcome = Outcome("canceled", outcome.text, error)
        for hit in limits:
            self._log.warning("limit_hit", **hit)
        return self._reporter.finish(
            {
                "outcome": outcome.outcome,
                "result": {"text": outcome.text},
                "error": None if outcome.error is None else dict(outcome.error),
                "checkpoint": checkpoint,
                "exit_code": exit_code,
                "limits": limits,
            }
        )
