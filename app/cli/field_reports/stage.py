"""The platform on which a report is played: the one of ``turnkeeper up``, for a minute.

Its own data directory, its own Redis, a free port; nothing of it stays. Whatever the shell says
about another platform is left out.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from app.cli import environment, up
from app.cli.child import ChildSpec
from app.cli.client import Api, segment, workspace_path
from app.cli.console import Screen
from app.cli.data_dir import admin_token, locked
from app.cli.faults import TIMED_OUT, Fault
from app.cli.field_reports.narrator import Narrator
from app.cli.platform_processes import agent_env, module_argv, platform_env, platform_specs
from app.cli.ports import free_port
from app.cli.run import runtime_argv
from app.cli.supervisor import Supervisor

INTERRUPTED = 130
AGENT_STOP_S = 1.5
HOST = "127.0.0.1"
# Thirty seconds are half a second: the same code by settings alone.
SIXTY_TIMES = {
    "TURNKEEPER_HEARTBEAT_INTERVAL_S": "0.5",
    "TURNKEEPER_HEARTBEAT_MIN_S": "0.1",
    "TURNKEEPER_HEARTBEAT_TTL_S": "3",
    "TURNKEEPER_HEARTBEAT_LATE_S": "1.5",
    "TURNKEEPER_KEEPALIVE_S": "1.25",
    "TURNKEEPER_KEEPALIVE_MIN_S": "1",
    "TURNKEEPER_KILL_GRACE_S": "0.2",
    "TURNKEEPER_POLL_WAIT_S": "2",
    "TURNKEEPER_RETRY_MIN_S": "0.1",
    "TURNKEEPER_RETRY_MAX_S": "0.5",
    "TURNKEEPER_REDELIVER_AFTER_S": "1",
    "TURNKEEPER_SWEEP_INTERVAL_S": "2",
    "TURNKEEPER_REAP_INTERVAL_S": "0.25",
    "TURNKEEPER_MESSAGE_WAIT_S": "0",
    "TURNKEEPER_DRAIN_S": "1",
}


class Backstage(Screen):
    """Keeps every line of the processes in their files; the narrator alone speaks."""

    def child_line(self, name: str, line: str) -> None:
        """Keep the line."""
        self.keep_line(name, line)

    def print(self, text: str = "") -> None:
        """Nothing: the story says what there is."""


@dataclass
class Stage:
    """A running platform, and what a story does with it."""

    api: Api
    narrator: Narrator
    folder: Path
    group: Supervisor
    env: Mapping[str, str]

    def wait(self, is_done: Callable[[], bool], within_s: float, what: str) -> None:
        """Go on until it is so, looking after the processes meanwhile.

        Raises:
            Fault: when it does not become so in time.
            click.exceptions.Exit: on Ctrl-C.
        """
        if self.group.run_until(is_done, within_s):
            return
        if self.group.stop_requests:
            raise click.exceptions.Exit(INTERRUPTED)
        raise Fault(f"{what}: not within {within_s:g} s", "", "", TIMED_OUT)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request of the API."""
        return self.api.call(method, path, body)

    def workspace(self, workspace_id: str, **fields: Any) -> None:
        """Make a workspace."""
        self.ask("POST", "/workspaces", {"id": workspace_id, **fields})

    def turn(self, workspace_id: str, turn_id: str) -> dict[str, Any]:
        """A turn's row."""
        found: dict[str, Any] = self.ask("GET", workspace_path(workspace_id, "turns", turn_id))
        return found

    def events(self, workspace_id: str) -> list[dict[str, Any]]:
        """What happened in a workspace, oldest first."""
        answer = self.ask("GET", f"/workspaces/{segment(workspace_id)}/events?limit=1000")
        found: list[dict[str, Any]] = answer["events"]
        return found

    def attention(self, workspace_id: str) -> str:
        """The sentence that the fleet page shows of a workspace; empty: nothing to tell."""
        items = self.ask("GET", "/fleet")["attention"]
        return next((row["sentence"] for row in items if row["workspace_id"] == workspace_id), "")

    def add_runtime(self, workspace_id: str, module: str, *arguments: str) -> None:
        """A runtime beside an agent of ours."""
        command = (*module_argv(module), *arguments)
        argv = tuple(runtime_argv(workspace_id, [], command))
        self._add(workspace_id, argv)

    def add_agent(self, workspace_id: str, module: str, *arguments: str) -> None:
        """An agent that speaks the runtime's protocol itself."""
        self._add(workspace_id, (*module_argv(module), *arguments))

    def _add(self, name: str, argv: tuple[str, ...]) -> None:
        self.group.add(ChildSpec(name, argv, self.env, self.folder, AGENT_STOP_S))


@contextmanager
def stage(narrator: Narrator, **settings: str) -> Iterator[Stage]:
    """A platform until the block ends, whatever ends it."""
    given = {
        name: value
        for name, value in environment.inherited().items()
        if not name.startswith(("TURNKEEPER_", "A2A_")) and name not in ("REDIS_URL", "PORT")
    }
    given |= {**SIXTY_TIMES, **settings}
    with tempfile.TemporaryDirectory(prefix="turnkeeper-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        screen = Backstage(folder / "logs")
        group = Supervisor(screen)
        try:
            with locked(folder) as lock, up.signals_to(group):
                try:
                    yield _started(folder, given, screen, group, lock, narrator)
                finally:
                    narrator.clear()
                    group.stop()
        finally:
            screen.close()


def _started(
    folder: Path,
    given: Mapping[str, str],
    screen: Screen,
    group: Supervisor,
    lock: int,
    narrator: Narrator,
) -> Stage:
    port = free_port()
    token, _ = admin_token(folder, "")
    plan = up.Plan(HOST, port, folder, token, is_new_token=False, has_demo=False)
    narrator.tell(f"a platform of its own begins at {plan.url}")
    redis_url = up.start_redis(plan, screen, group, lock)
    env = platform_env(given, redis_url, port, token, plan.url)
    if redis_url:
        for spec in platform_specs(env, HOST, port, folder):
            group.add(spec)
        up.wait_ready(screen, group, lambda: up.answers_ready(plan), "the platform", up.READY_S)
    if group.stop_requests:
        raise click.exceptions.Exit(INTERRUPTED)
    api = Api(plan.url, token, up.CALL_TIMEOUT_S)
    return Stage(api, narrator, folder, group, agent_env(env, token, folder))
