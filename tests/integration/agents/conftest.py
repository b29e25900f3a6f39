"""Agents as processes, and a platform with workers in threads that talks to them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from app.core import doorbell
from app.core.capacity import Beat
from app.core.platform import Platform
from app.core.records import Turn
from tests.support import servers
from tests.support.kernel import Kernel
from tests.support.processes import Process
from tests.support.wait import wait_until
from tests.support.world import real_platform
from workers import reaper
from workers.adapters.a2a import ByWorkspace
from workers.agents import Service
from workers.deliver import visit

HERE = Path(__file__).parent
HOME = Path(__file__).parents[3] / ".venv/a2a-sdk-server"
WHAT = ("a2a-sdk[http-server]==1.3.0", "uvicorn")
QUICK: dict[str, Any] = {
    "egress_allow": "127.0.0.0/8",
    "agent_poll_s": 0.1,
    "agent_poll_max_s": 0.4,
    "agent_timeout_s": 5,
    "retry_backoff_s": 0.2,
    "retry_backoff_max_s": 0.4,
}


def python_of_agents() -> str:
    """The interpreter of an environment of its own with the library's server part."""
    python, stamp = HOME / "bin/python", HOME / "stamp"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(HOME)], check=True)
        words = [str(python), "-m", "pip", "install", "--quiet", *WHAT]
        made = subprocess.run(words, capture_output=True, text=True)
        if made.returncode:
            missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            missing(f"pip could not install {WHAT[0]}: {made.stderr.strip().splitlines()[-1]}")
        stamp.touch()
    return str(python)


@dataclass
class SdkAgent:
    """A running agent and what it was told."""

    port: int
    process: Process
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/rpc"

    def told(self, what: str = "message") -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        rows = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [row for row in rows if row["what"] == what]


@pytest.fixture
def sdk_agent(tmp_path: Path) -> Iterator[Callable[..., SdkAgent]]:
    """Starts agents made with the library."""
    python = python_of_agents()
    with ExitStack() as stack:

        def start(*words: str) -> SdkAgent:
            port = servers.free_port()
            log = tmp_path / f"agent-{port}.jsonl"
            argv = [python, str(HERE / "sdk_agent.py"), str(port), str(log), *words]
            process = Process(argv, dict(os.environ), tmp_path / f"agent-{port}.log")
            process.start()
            stack.callback(process.end)
            agent = SdkAgent(port, process, log)

            def is_up() -> bool:
                with suppress(httpx.HTTPError):
                    card = f"http://127.0.0.1:{port}/.well-known/agent-card.json"
                    return httpx.get(card, trust_env=False).status_code == 200
                return False

            try:
                wait_until(is_up, 60)
            except AssertionError:
                raise AssertionError(process.output()) from None
            return agent

        yield start


@dataclass
class Site:
    """A platform, and one worker of each kind that a test steps by hand."""

    platform: Platform
    services: list[Service] = field(default_factory=list)

    def workspace(self, url: str, workspace_id: str = "w1", **fields: Any) -> Kernel:
        kernel = Kernel(self.platform, workspace_id)
        return kernel.create(agent_url=url, **fields)

    def beat(self, kernel: Kernel, active_tasks: int = 0) -> None:
        kernel.beat(**vars(Beat(active_tasks=active_tasks)))

    def step(self) -> None:
        while (workspace_id := doorbell.next_ready(self.platform, 0.001)) is not None:
            visit(self.platform, ByWorkspace(), workspace_id)
        reaper.reap(self.platform)
        for service in self.services:
            service.step(0.01)

    def until(self, is_so: Callable[[], Any], timeout_s: float = 20) -> Any:
        def look() -> Any:
            self.step()
            return is_so()

        return wait_until(look, timeout_s)

    def ended(self, kernel: Kernel, turn_id: str, timeout_s: float = 20) -> Turn:
        """The turn once it is over, or waits for its caller."""

        def over() -> Turn | None:
            turn = kernel.turn(turn_id)
            return turn if turn.ended_at or turn.state == "input_required" else None

        found: Turn = self.until(over, timeout_s)
        return found


@contextmanager
def site_on(real_redis: redis.Redis, **settings: Any) -> Iterator[Site]:
    port = real_redis.connection_pool.connection_kwargs["port"]
    with real_platform(f"redis://127.0.0.1:{port}/0", **{**QUICK, **settings}) as platform:
        site = Site(platform)
        site.services.append(Service(platform, lease_s=3))
        platform.run_control("dispatcher", slice_id="test", ttl_ms=3_600_000)
        try:
            yield site
        finally:
            for service in site.services:
                service.close()


@pytest.fixture
def site(real_redis: redis.Redis) -> Iterator[Site]:
    with site_on(real_redis) as made:
        yield made
