"""The supervisor: parent of the agent's work, in a process of its own, with no agent code in it.

Threads: the beat, the poller, the courier of the spool, and per session one that reports and one
that drains. Nothing any of them waits for delays another.
"""

import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import psutil
import structlog

from runtime import backoff, cgroup, courier, options, threads
from runtime.agents import kinds
from runtime.beats import beat_until
from runtime.chats import Chats
from runtime.children import Children
from runtime.client import Platform, PlatformError, Refused, Token, Unreachable
from runtime.guard import Guard
from runtime.linux import become_subreaper, hide_memory
from runtime.log import configure
from runtime.options import RunOptions
from runtime.poller import Poller
from runtime.roster import Roster
from runtime.session import Host, Session
from runtime.settings import RuntimeSettings, load_settings
from runtime.spool import Spool
from runtime.stops import StopRequests
from runtime.wire import Directive, parse_directives

log = structlog.get_logger(__name__)

EXIT_CRASHED = 70
EXIT_REFUSED = 77
TICK_S = 2.0
HAND_BACK_S = 8.0
JOIN_S = 5.0


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT. 0 = stopped, 70 = a bug, 77 = the token was refused."""
    hide_memory()
    chosen = options.parse(argv)
    configure()
    settings = load_settings()
    stops = StopRequests()
    stops.listen()
    become_subreaper()
    return Supervisor(settings, chosen, stops).run()


class Supervisor:
    """One run of the runtime for one workspace."""

    def __init__(self, settings: RuntimeSettings, chosen: RunOptions, stops: StopRequests) -> None:
        self.settings = replace(settings, url=chosen.url or settings.url)
        self._chosen = chosen
        self._stops = stops
        self._instance = uuid4().hex
        self._exit_code = 0
        self._left: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._beating_ends = threading.Event()
        token, tls = Token(settings.token), httpx.create_ssl_context()
        self._reports, self._polls, self._beats = (
            Platform(self.settings.url, chosen.workspace_id, token, self._instance, tls)
            for _ in range(3)
        )
        self._roster = Roster(chosen.max_concurrent or settings.max_concurrent)
        self._spool = Spool(settings.spool_dir, chosen.workspace_id, settings.spool_max_bytes)
        self._children = Children()

    def run(self) -> int:
        """Register, work, drain. Returns the exit code."""
        try:
            if not self._register_first():
                return self._exit_code
            courier.deliver_all(self._reports, self._spool)
            guard = Guard(self._children)
            running = self._start_threads(guard)
            while not self._stops.wait(TICK_S):
                self._children.reap_orphans()
                self._left = tuple(one for one in self._left if _is_there(one))
            self._drain(running)
            guard.close()
        finally:
            for platform in (self._reports, self._polls, self._beats):
                platform.close()
        log.info("supervisor_stopped", exit_code=self._exit_code)
        return self._exit_code

    def _start_threads(self, guard: Guard) -> dict[str, threading.Thread]:
        work = Poller(
            self._polls,
            self._host(guard),
            self._roster,
            self.settings,
            self._stopping,
            self._direct,
            self._register_again,
            self._crashed,
        )
        runs = {
            "beat": self._beat,
            "poll": work.run,
            "courier": lambda: courier.run(
                self._reports, self._spool, self.settings, self._beating_ends
            ),
        }
        return {name: threads.start(name, run, self._crashed) for name, run in runs.items()}

    def _host(self, guard: Guard) -> Host:
        return Host(
            workspace_id=self._chosen.workspace_id,
            settings=self.settings,
            command=replace(self._chosen.command, mcp_url=self._mcp_url()),
            make_agent=kinds()[self._chosen.agent],
            chats=self._chats(),
            platform=self._reports,
            spool=self._spool,
            children=self._children,
            guard=guard,
            find_strays=self._find_strays,
            groups_in=cgroup.find_own(),
            on_directives=self._direct,
            on_left=self._note_left,
        )

    def _mcp_url(self) -> str:
        return f"{self.settings.url}/workspaces/{quote(self._chosen.workspace_id, safe='')}/mcp"

    def _chats(self) -> Chats:
        chosen = self._chosen
        resumes_chat = chosen.command.resumes_chat
        return Chats(self.settings.state_dir, chosen.workspace_id, chosen.agent, resumes_chat)

    def _register(self) -> None:
        card = {
            "name": self._chosen.name or self._chosen.workspace_id,
            "description": f"{self._chosen.agent} agent on {socket.gethostname()}",
        }
        self._reports.register(card, self._roster.slots)
        log.info("registered", workspace_id=self._chosen.workspace_id, url=self.settings.url)

    def _register_first(self) -> bool:
        """Until it works; False when asked to stop or when the platform says no for good."""
        failures = 0
        while True:
            try:
                self._register()
            except Refused as error:
                if error.status in (400, 401, 403, 422):
                    log.error("register_refused", error=str(error), setting="TURNKEEPER_TOKEN")
                    print(_refusal(self.settings.url, error), file=sys.stderr)
                    self._exit_code = EXIT_REFUSED
                    return False
                failures += 1
                wait_s = self._log_register_failure(error, failures)
            except Unreachable as error:
                failures += 1
                wait_s = max(error.retry_after_s, self._log_register_failure(error, failures))
            else:
                return True
            if self._stops.wait(wait_s):
                return False

    def _log_register_failure(self, error: PlatformError, failures: int) -> float:
        low_s, high_s = self.settings.retry_min_s, self.settings.retry_max_s
        wait_s = backoff.delay_s(failures, low_s, high_s)
        log.warning("register_failed", error=str(error), retry_s=round(wait_s, 2))
        return wait_s

    def _register_again(self) -> None:
        """After a refused poll. A second no is not the end: sessions may be running."""
        try:
            self._register()
        except PlatformError as error:
            log.error("register_failed", error=str(error))

    def _beat(self) -> None:
        interval_s = self.settings.heartbeat_interval_s
        beat_until(
            self._beats,
            self._instance,
            self._beat_body,
            interval_s,
            self._beating_ends.wait,
            lambda reply: self._direct(parse_directives(reply)),
        )

    def _beat_body(self) -> dict[str, Any]:
        working = [one for one in self._roster.working() if isinstance(one, Session)]
        return {
            "active_tasks": len(working),
            "max_concurrent": 0 if self._stopping.is_set() else self._roster.slots,
            # Whose outcome waits in the spool is named too, also of a run before this one: else
            # the platform took it for lost and gave its turn to somebody again.
            "sessions": sorted({*self._roster.session_ids(), *self._spool.session_ids()}),
            "runtime_state": "wedged" if self._left else "",
            "error_rate": 0.0,
            "sample_error": f"processes left: {', '.join(self._left)}" if self._left else "",
            "current_task": working[0].turn.turn_id if working else "",
        }

    def _direct(self, directives: tuple[Directive, ...]) -> None:
        for directive in directives:
            member = self._roster.find(directive.session_id)
            if member is None:
                log.debug("directive_ignored", reason="unknown", session_id=directive.session_id)
            else:
                member.direct(directive)

    def _find_strays(self) -> list[int]:
        """Unmarked orphans can be told apart only while one session works."""
        return self._children.strays() if self._roster.count() == 1 else []

    def _note_left(self, left: tuple[str, ...]) -> None:
        self._left = tuple(dict.fromkeys((*self._left, *left)))

    def _say_stopping(self) -> None:
        """A beat at once that offers no slot, or turns would be claimed for nobody to fetch."""
        beat = {"seq": int(time.time() * 1000), "instance": self._instance, **self._beat_body()}
        try:
            self._reports.heartbeat(beat)
        except PlatformError as error:
            log.warning("heartbeat_failed", error=str(error))

    def _crashed(self) -> None:
        self._exit_code = EXIT_CRASHED
        self._stops.request()

    def _drain(self, running: dict[str, threading.Thread]) -> None:
        """Take no more; ask for checkpoints; wait; end and hand back what is left."""
        drain_s = self.settings.drain_s
        log.info("draining", working=self._roster.count(), setting="TURNKEEPER_DRAIN_S")
        self._stopping.set()
        self._say_stopping()
        self._polls.abort()
        running["poll"].join(JOIN_S)
        deadline = datetime.now(UTC) + timedelta(seconds=drain_s)
        sessions = [one for one in self._roster.working() if isinstance(one, Session)]
        for session in sessions:
            session.request_checkpoint(_rfc3339(deadline), "the runtime is stopping")
        until = time.monotonic() + drain_s
        while not self._roster.wait_until_idle(0.05) and time.monotonic() < until:
            if self._stops.wait(0, more_than=1):
                break
        for one in self._roster.working():
            if isinstance(one, Session):
                one.hand_back()
        if not self._roster.wait_until_idle(HAND_BACK_S):
            log.error("sessions_left", count=self._roster.count(), limit_s=HAND_BACK_S)
        self._beating_ends.set()
        self._spool.rung.set()
        for name in ("courier", "beat"):
            running[name].join(JOIN_S)
        courier.deliver_all(self._reports, self._spool)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_there(described: str) -> bool:
    return bool(psutil.pid_exists(int(described.split()[0])))


def _refusal(url: str, error: Refused) -> str:
    return (
        f"turnkeeper run: {url} refused to register this runtime: {error}. "
        "Check TURNKEEPER_TOKEN (scope: runtime) and the workspace's name."
    )
