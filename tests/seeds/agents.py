"""Agents over HTTP inside the test process, for what a good runtime would never do."""

import asyncio
import threading
import time
from typing import Any

import httpx

from tests.support.wait import wait_until
from tests.support.world import ADMIN, World

BEAT_S = 0.5


class Agent:
    """One that takes a turn of a workspace and speaks the runtime's protocol itself."""

    def __init__(self, world: World, workspace_id: str) -> None:
        self.world = world
        self.workspace_id = workspace_id
        self.turn: dict[str, Any] = {}

    def _path(self, *parts: str) -> str:
        return "/".join(("/workspaces", self.workspace_id, *parts))

    @property
    def beat_body(self) -> dict[str, Any]:
        own = self.turn.get("session_id")
        return {"instance": "own", "active_tasks": int(bool(own)), "sessions": [own] if own else []}

    def beat(self) -> Any:
        return self.world.ask("POST", self._path("heartbeat"), self.beat_body)

    def report(self, what: str, **fields: Any) -> httpx.Response:
        """``start``, ``progress`` or ``finish``, under the session's fence."""
        body = {"fence": self.turn["fence"], "instance": "own", **fields}
        if what == "finish":
            del body["instance"]
        return self.world.call("POST", self._path("sessions", self.turn["session_id"], what), body)

    def take(self) -> None:
        """Beat and wait for a turn, again and again until there is one; start it."""

        def offered() -> Any:
            self.beat()  # each time: before the workers have started the last may have run out
            return self.world.ask("GET", self._path("turns", "next?wait_s=2&instance=own"))["turn"]

        self.turn = wait_until(offered, 60)
        assert self.report("start").is_success

    def finish(self, text: str) -> httpx.Response:
        return self.report("finish", outcome="completed", result={"text": text})


def beat_on_the_loop_of_the_work(agent: Agent, work_s: float) -> httpx.Response:
    """Report B's agent: the heartbeat is a task on the loop that a blocking tool call holds.

    Returns the answer to its finish.
    """

    async def beats(client: httpx.AsyncClient) -> None:
        while True:
            await client.post("heartbeat", json=agent.beat_body)
            await asyncio.sleep(BEAT_S)

    async def live() -> None:
        headers = {"Authorization": f"Bearer {ADMIN}"}
        base = f"{agent.world.url}/workspaces/{agent.workspace_id}/"
        async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False) as client:
            beating = asyncio.create_task(beats(client))
            await asyncio.sleep(2 * BEAT_S)
            threading.Event().wait(work_s)  # the tool: it never yields to the loop
            beating.cancel()

    agent.take()
    asyncio.run(live())
    return agent.finish("too late")


def beat_perfectly_and_never_end(agent: Agent, until_s: float) -> httpx.Response:
    """A hung agent: every heartbeat in time, no result until long after its ceiling."""
    agent.take()
    end, never = time.monotonic() + until_s, threading.Event()
    while time.monotonic() < end:
        agent.beat()
        never.wait(BEAT_S)
    return agent.finish("much too late")
