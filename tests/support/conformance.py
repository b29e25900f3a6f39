"""A whole platform with a scripted agent, open to programs on this machine: for conformance runs.

``python -m tests.support.conformance`` prints two addresses, for kits of A2A 1.0 and of 0.3, and
runs until it is stopped. The kit of 1.0 takes only a card without what 0.3 reads; that of 0.3 looks
for the card at the root of the host.
"""

import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.front import front
from tests.support.processes import module
from tests.support.wait import wait_until
from tests.support.world import START_S, World, world

NEW, OLD = "conformance-1-0", "conformance-0-3"
# No token from this machine, addresses on it may be pushed to, nothing ends while a kit looks on.
PROFILE = {
    "TURNKEEPER_OPEN_LOOPBACK": "true",
    "TURNKEEPER_EGRESS_ALLOW": "localhost, 127.0.0.1/32, ::1/128",
    "TURNKEEPER_IDLE_TIMEOUT_S": "900",
    "TURNKEEPER_CEILING_S": "1800",
    "TURNKEEPER_CHECKPOINT_GRACE_S": "60",
    "TURNKEEPER_CANCEL_GRACE_S": "0.2",
}


@contextmanager
def conformance(folder: Path, **env: str) -> Iterator[World]:
    """A running platform with an agent for each version; ``agent_url`` says where."""
    with world(folder, **{**PROFILE, **env}) as here:
        here.add_web()
        here.add_workers()
        here.add_scheduler()
        for name in (NEW, OLD):
            own = {"id": name, "max_concurrent": 8, "legacy_card": name == OLD}
            here.ask("POST", "/workspaces", own)
            here.add(name, module("tests.support.scripted_agent", name))
        for name in (NEW, OLD):
            path = f"/workspaces/{name}"
            wait_until(lambda path=path: here.ask("GET", path)["status"] == "online", START_S)
        yield here


def agent_url(here: World, workspace_id: str) -> str:
    """Where A2A clients find a scripted agent."""
    return f"{here.url}/workspaces/{workspace_id}/a2a"


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with (
        tempfile.TemporaryDirectory() as folder,
        conformance(Path(folder)) as here,
        front(agent_url(here, OLD)) as old_url,
    ):
        print(f"1.0: {agent_url(here, NEW)}\n0.3: {old_url}", flush=True)
        stopping.wait()
        print(here.logs(), file=sys.stderr)


if __name__ == "__main__":
    main()
