"""The first field report as a load: one session holds its workspace, its turns wait."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core import sessions, turns
from app.core.platform import Platform
from tests.bench.clocks import dispatcher
from tests.bench.ours import make_workspaces
from tests.support.wait import wait_until
from workers.adapters.scripted import Scripted

FIRES, OTHERS = 12, 10


@dataclass
class Told:
    """What one run tells, in seconds; and the order in which the held workspace was served."""

    release_s: float = 0.0
    drain_s: float = 0.0
    others_s: list[float] = field(default_factory=list)


@dataclass
class Agent:
    """Answers at once, but holds the first turn of the held workspace."""

    held: list[sessions.Claim] = field(default_factory=list)
    served: list[tuple[str, float]] = field(default_factory=list)
    had: dict[str, float] = field(default_factory=dict)

    def answer(self, claim: sessions.Claim, bound: Mapping[str, Any]) -> dict[str, str] | None:
        text = str(claim.body["text"])
        if text == "hold":
            self.held.append(claim)
            return None
        if text.startswith("fire"):
            self.served.append((text, time.perf_counter()))
        else:
            self.had.setdefault(text, time.perf_counter())
        return {"text": ""}


def run(here: Platform, hold_s: float, behind: int) -> Told:
    """One session holds for so long while twelve turns come, ``behind`` more wait, others flow."""
    held, *others = make_workspaces(here, 1 + OTHERS)
    agent, told = Agent(), Told()
    with dispatcher(here, Scripted(agent.answer)):
        _send(here, held, "hold")
        wait_until(lambda: agent.held, 5)
        for _ in range(behind):
            _send(here, held, "behind")
        began = time.perf_counter()
        for at in range(FIRES):
            _send(here, held, f"fire {at}")
            _flow(here, others, agent, told, began + hold_s * (at + 1) / FIRES)
        assert agent.served == []
        session = agent.held[0].session
        freed = time.perf_counter()
        sessions.finish(here, held, session.id, session.fence, "completed", {"text": ""})
        wait_until(lambda: len(agent.served) == FIRES, 60 + behind / 100, 0.0005)
        first = agent.had["behind"] if behind else agent.served[0][1]
        told.release_s, told.drain_s = first - freed, agent.served[-1][1] - freed
    assert [text for text, _ in agent.served] == [f"fire {at}" for at in range(FIRES)]
    return told


def _flow(here: Platform, others: list[str], agent: Agent, told: Told, until: float) -> None:
    """The other workspaces' turns, one at a time, until then."""
    never = threading.Event()
    while time.perf_counter() < until:
        place = others[len(told.others_s) % OTHERS]
        text = f"other {len(told.others_s)}"
        sent = time.perf_counter()
        _send(here, place, text)
        wait_until(lambda text=text: text in agent.had, 5, 0.0002)
        told.others_s.append(agent.had[text] - sent)
        never.wait(0.002)


def _send(here: Platform, workspace_id: str, text: str) -> None:
    turns.submit(here, workspace_id, turns.Request(body={"text": text}))
