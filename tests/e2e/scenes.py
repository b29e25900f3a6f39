"""One workspace each in a world that is shared: an agent, what is done to it, what came of it."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil

from app.core import keys
from app.core.events import Event
from tests.e2e.agents import DEAF, LOCKED, OBEDIENT, STOPPED, python
from tests.support.processes import Process, are_gone
from tests.support.wait import wait_until
from tests.support.world import World, all_events, real_platform

REAP_S = 1.0
STANDSTILL_S = 3.0  # a process of a busy machine may get no time for so long
# The reaper ticks once a second at any speed: a step of the ladder must be open for longer. What
# beats every two seconds must not be late, nor a turn be lost, because a process stood still.
SLOWER = {
    "TURNKEEPER_MESSAGE_WAIT_S": "0",
    "TURNKEEPER_CHECKPOINT_GRACE_S": "5",
    "TURNKEEPER_HEARTBEAT_LATE_S": "7",
    "TURNKEEPER_HEARTBEAT_TTL_S": "45",
    "TURNKEEPER_IDLE_TIMEOUT_S": "60",
    "TURNKEEPER_HANDOVER_S": "10",
    "TURNKEEPER_LEASE_TTL_S": "15",
}
LATE_S = float(SLOWER["TURNKEEPER_HEARTBEAT_LATE_S"])
GRACE_S = float(SLOWER["TURNKEEPER_CHECKPOINT_GRACE_S"])
BEAT_S = {"TURNKEEPER_HEARTBEAT_INTERVAL_S": "2"}
# So far apart that neither a beat nor the next poll brings what comes over the open poll.
FAR_S = 15.0
FAR = {"TURNKEEPER_HEARTBEAT_INTERVAL_S": f"{FAR_S:g}", "TURNKEEPER_POLL_WAIT_S": "25"}


@dataclass
class Scene:
    """A workspace, its runtime, and the events as they stand in the end."""

    here: World
    id: str
    runtime: Process | None = None
    events: list[Event] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/workspaces/{self.id}"

    def open(self, *command: str, ceiling_s: float | None = None, **env: str) -> "Scene":
        self.here.ask("POST", "/workspaces", {"id": self.id, "ceiling_s": ceiling_s})
        self.runtime = self.here.add_runtime(self.id, *command, **env)
        return self

    @property
    def pid_file(self) -> Any:
        return self.here.folder / f"pids-{self.id}"

    def tree(self, timeout_s: float = 30) -> list[psutil.Process]:
        """The processes that the agent named."""
        text = wait_until(lambda: self.pid_file.exists() and self.pid_file.read_text(), timeout_s)
        return [psutil.Process(int(pid)) for pid in text.split()]

    def state(self, turn_id: str) -> str:
        return str(self.here.turn(self.id, turn_id)["state"])

    def wait_for(self, turn_id: str, *states: str, timeout_s: float = 60) -> str:
        return str(
            wait_until(lambda: (state := self.state(turn_id)) in states and state, timeout_s, 0.05)
        )

    def live(self) -> dict[str, Any]:
        found = self.here.ask("GET", f"{self.path}/sessions")["sessions"]
        return next(one for one in found if not one["ended_at"])  # type: ignore[no-any-return]

    def close(self) -> "Scene":
        with real_platform(self.here.redis.url) as platform:
            self.events = all_events(platform, self.id)
        return self

    def told(self, name: str) -> list[Event]:
        return [event for event in self.events if event.event == name]

    def at_ms(self, name: str, number: int) -> int:
        """When the event of this name and number was appended."""
        return int(self.told(name)[number].id.split("-")[0])

    def gone_after_s(self, tree: list[psutil.Process], timeout_s: float = 30) -> float:
        began = time.monotonic()
        wait_until(lambda: are_gone(tree), timeout_s)
        return time.monotonic() - began


def overshoot_s(ended: Event) -> float:
    """How long after its limit a session ended, by the server's clock."""
    return float(ended.payload["measured_ms"] - ended.payload["limit_ms"]) / 1000


def deaf(here: World, workspace_id: str = "deaf", ceiling_s: float = 6, **env: str) -> Scene:
    """Ignores every signal but SIGKILL, with a child in a session of its own; one turn waits."""
    scene = Scene(here, workspace_id)
    command = python(DEAF, str(scene.pid_file))
    # The cancel's own SIGKILL comes after the ceiling, as by default: that of the ceiling kills.
    scene.open(*command, ceiling_s=ceiling_s, TURNKEEPER_KILL_GRACE_S="10", **(env or FAR))
    held = here.send(workspace_id, "hold")
    tree = scene.tree()
    waiting = here.send(workspace_id, "quick")
    scene.facts["state"] = scene.wait_for(held, "force_idled", timeout_s=ceiling_s + 30)
    scene.facts["gone_after_s"] = scene.gone_after_s(tree)
    scene.wait_for(waiting, "completed")
    return scene.close()


def stopped(here: World, workspace_id: str = "stopped", ceiling_s: float = LATE_S + 2) -> Scene:
    """The child is stopped in mid-work; were its runtime silent too, that would be late."""
    scene = Scene(here, workspace_id)
    scene.open(*python(STOPPED, str(scene.pid_file)), ceiling_s=ceiling_s, **BEAT_S)
    turn_id = here.send(workspace_id, "stop")
    tree = scene.tree()
    wait_until(lambda: tree[0].status() == psutil.STATUS_STOPPED, ceiling_s)
    scene.facts["state"] = scene.wait_for(turn_id, "force_idled", timeout_s=ceiling_s + 30)
    scene.facts["gone_after_s"] = scene.gone_after_s(tree)
    return scene.close()


def obedient(here: World, workspace_id: str = "obedient") -> Scene:
    """Two fires of one schedule: the first is asked at its ceiling, the second gets the note."""
    scene = Scene(here, workspace_id).open(*python(OBEDIENT), ceiling_s=None, **FAR)
    # The second has this long to start and end before it is asked, too.
    ceiling_s = GRACE_S + 7
    fields = {"name": "tick", "cron_expr": "0 0 1 1 *", "prompt": "go", "ceiling_s": ceiling_s}
    schedule = here.ask("POST", f"{scene.path}/schedules", fields)
    turns = []
    for _ in range(2):
        turn_id = here.ask("POST", f"{scene.path}/schedules/{schedule['id']}/run")["turn_id"]
        scene.wait_for(turn_id, "yielded", "completed", "force_idled")
        turns.append(here.turn(workspace_id, turn_id))
    scene.facts["turns"] = turns
    return scene.close()


def locked(here: World, workspace_id: str = "locked", step_s: int = 8, **env: str) -> Scene:
    """One call into C that holds the interpreter's lock."""
    scene = Scene(here, workspace_id).open(*python(LOCKED), ceiling_s=0, **(env or BEAT_S))
    turn_id = here.send(workspace_id, str(step_s))
    scene.facts["state"] = scene.wait_for(turn_id, "completed", timeout_s=step_s + 20)
    return scene.close()


def operated(here: World, workspace_id: str = "operated") -> Scene:
    """The kill button, pressed while the next beat is far away."""
    scene = Scene(here, workspace_id)
    scene.open(*python(DEAF, str(scene.pid_file)), ceiling_s=0, **FAR)
    turn_id = here.send(workspace_id, "hold")
    tree = scene.tree()
    session = scene.live()
    scene.wait_for(turn_id, "running")

    def is_beat_far() -> bool:
        last = datetime.fromisoformat(here.ask("GET", scene.path)["last_heartbeat_at"])
        return datetime.now(UTC) - last < timedelta(seconds=FAR_S / 2)

    wait_until(is_beat_far, 2 * FAR_S, 0.1)
    end = f"{scene.path}/sessions/{session['id']}/end"
    began = time.monotonic()
    here.ask("POST", end, {"reason": "enough"})
    scene.gone_after_s(tree)
    scene.facts["killed_after_s"] = time.monotonic() - began
    again = here.ask("POST", end, {"reason": "twice"})
    scene.facts["again"] = again["mechanism"]
    next_one = here.send(workspace_id, "quick")
    scene.wait_for(next_one, "completed")
    scene.facts["state"] = scene.state(turn_id)
    return scene.close()


def handed_back(here: World, workspace_id: str = "handed-back") -> Scene:
    """SIGTERM to the supervisor of a deaf child; another runtime takes the turn up."""
    scene = Scene(here, workspace_id)
    command = python(DEAF, str(scene.pid_file))
    scene.open(*command, ceiling_s=0, TURNKEEPER_DRAIN_S="1")
    turn_id = here.send(workspace_id, "hold")
    tree = scene.tree()
    scene.wait_for(turn_id, "running")
    assert scene.runtime is not None
    scene.runtime.terminate()
    scene.facts["gone"] = are_gone(tree)
    scene.pid_file.unlink()
    scene.facts["turn"] = here.turn(workspace_id, turn_id)
    here.add_runtime(workspace_id, *command)
    tree = scene.tree()
    scene.facts["attempt"] = here.turn(workspace_id, turn_id)["attempt"]
    here.ask("POST", f"{scene.path}/sessions/{scene.live()['id']}/end", {})
    scene.gone_after_s(tree)
    return scene.close()


def kill_the_reaping(workers: Process) -> list[psutil.Process]:
    """SIGKILL to both workers that reap; those that were there."""
    killed = []
    for process in workers.family()[1:]:
        with suppress(psutil.Error):
            if {"control", "dispatch"} & set(process.cmdline()):
                process.send_signal(signal.SIGKILL)
                killed.append(process)
    return killed


def unreaped(here: World, workspace_id: str = "unreaped", ceiling_s: float = GRACE_S + 1) -> Scene:
    """Both workers that reap are killed again and again before the ceiling of a call that never
    returns: control by its job, dispatch between its visits. Over it their keeper is stopped, so
    that none of them is there however slow this process is.

    For all workspaces of the world: nothing else may need the reaper meanwhile.
    """
    scene = Scene(here, workspace_id)
    scene.open(
        *python(DEAF, str(scene.pid_file)), ceiling_s=ceiling_s, TURNKEEPER_KILL_GRACE_S="10"
    )
    turn_id = here.send(workspace_id, "hold")
    scene.wait_for(turn_id, "running")
    claimed_at = datetime.fromisoformat(scene.live()["claimed_at"])

    def is_after(seconds: float) -> bool:
        return datetime.now(UTC) > claimed_at + timedelta(seconds=seconds)

    killed: list[psutil.Process] = []

    def are_killed_until(seconds: float) -> bool:
        killed.extend(found := kill_the_reaping(here.processes["workers"]))
        return not found and is_after(seconds)

    wait_until(lambda: are_killed_until(ceiling_s - STANDSTILL_S), ceiling_s + 30, 0.1)
    keeper = psutil.Process(here.processes["workers"].pid)
    keeper.suspend()
    try:
        tree = scene.tree()
        wait_until(lambda: are_killed_until(ceiling_s + REAP_S), ceiling_s + 30, 0.1)
        scene.facts["state_while_dead"] = scene.state(turn_id)
    finally:
        keeper.resume()
    back = time.monotonic()
    scene.facts["kills"] = len(killed)
    scene.facts["state"] = scene.wait_for(turn_id, "force_idled", "canceled", timeout_s=60)
    scene.facts["ended_after_s"] = time.monotonic() - back
    scene.facts["gone_after_s"] = scene.gone_after_s(tree)
    return scene.close()


@contextmanager
def beats_of(here: World, *workspace_ids: str) -> Iterator[Callable[[str], list[float]]]:
    """Listens to heartbeats; yields what tells the seconds between those of a workspace."""
    heard: dict[str, list[int]] = {name: [] for name in workspace_ids}
    channels = {keys.of(name)["wake"]: name for name in workspace_ids}
    stopping = threading.Event()
    with here.redis.client() as client, client.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(*channels)

        def listen() -> None:
            while not stopping.is_set():
                message = channel.get_message(timeout=0.2)
                if message and message["data"].startswith("{"):
                    told = json.loads(message["data"])
                    heard[channels[message["channel"]]].append(int(told["at"]))

        thread = threading.Thread(target=listen, name="beats")
        thread.start()
        try:
            yield lambda name: [
                (later - earlier) / 1000
                for earlier, later in zip(heard[name], heard[name][1:], strict=False)
            ]
        finally:
            stopping.set()
            thread.join()
