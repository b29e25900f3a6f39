"""Report B: "tool chain lost" at 300 s, at sixty times the speed and through real processes.

The step is longer than the idle limit, as six minutes were longer than five. The negative
control of the pipe burst is ``tests/unit/runtime/test_child_output.py``
(``test_waiting_before_draining_hangs_at_80_kb_and_not_at_60_kb``).
"""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from app.core import capacity, sessions, turns
from app.core.events import Event
from tests.seeds.agents import Agent, beat_on_the_loop_of_the_work, beat_perfectly_and_never_end
from tests.support.wait import wait_until
from tests.support.world import (
    ADMIN,
    World,
    all_events,
    new_workspace,
    real_platform,
    virtual_platform,
    world,
)
from workers import reaper

IDLE_S, STEP_S, CEILING_S = 5, 7, 4
# How much later than its limit a session may be ended, so that its agent reports after that.
LATE_S = 5
STEPS = {
    "sleep": ("sh", "-c", f"sleep {STEP_S}; echo done"),
    "burn": (
        sys.executable,
        "-c",
        f"import time\nend = time.monotonic() + {STEP_S}\n"
        "while time.monotonic() < end: pass\nprint('done')",
    ),
    # PyDLL keeps the interpreter's lock: no thread of the agent's own runs meanwhile.
    "lock": (
        sys.executable,
        "-c",
        f"import ctypes\nctypes.PyDLL(None).sleep({STEP_S})\nprint('done')",
    ),
}
BURST = (
    "import sys\nwhat = sys.argv[1]\n"
    "if what == 'line': print('x' * 81919)\n"
    "else: getattr(sys, what).write(('y' * 79 + chr(10)) * 1024)\n"
)


@dataclass
class Window:
    """What happened to five agents within one window of silence."""

    streamed: dict[str, dict[str, Any]]
    events: dict[str, list[Event]]
    turns: dict[str, dict[str, Any]]
    late_finish: dict[str, httpx.Response]

    def ending(self, workspace_id: str) -> Event:
        return next(e for e in self.events[workspace_id] if e.event == "SESSION_ENDED")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    env = {
        "TURNKEEPER_IDLE_TIMEOUT_S": str(IDLE_S),
        "TURNKEEPER_KEEPALIVE_S": "1.25",
        "TURNKEEPER_KEEPALIVE_MIN_S": "1",
        "TURNKEEPER_MESSAGE_WAIT_S": "0",
        # A worker or a runtime that stands still for a moment loses no turn.
        "TURNKEEPER_HANDOVER_S": "10",
        "TURNKEEPER_LEASE_TTL_S": "15",
    }
    with world(tmp_path_factory.mktemp("report-b"), **env) as made:
        made.add_workers()
        made.add_scheduler()
        made.add_web()
        yield made


def answer_on_the_stream(here: World, workspace_id: str) -> dict[str, Any]:
    """Subscribe as a canvas does, send, and wait for the answer as an event."""
    headers = {"Authorization": f"Bearer {ADMIN}"}
    url = f"{here.url}/workspaces/{workspace_id}/events/stream"
    with (
        httpx.Client(trust_env=False, timeout=60, headers=headers) as client,
        connect_sse(client, "GET", url) as stream,
    ):
        lines = stream.iter_sse()
        next(lines)  # the snapshot: from here on nothing is missed
        turn_id = here.send(workspace_id, "move 102 images")
        for line in lines:
            if line.event == "AGENT_MESSAGE":
                found: dict[str, Any] = json.loads(line.data)
                assert found["turn_id"] == turn_id
                return found
    raise AssertionError("the stream ended")


@pytest.fixture(scope="module")
def window(here: World) -> Window:
    for name in (*STEPS, "loop", "hung"):
        here.ask("POST", "/workspaces", {"id": name})
    here.ask("PATCH", "/workspaces/hung", {"ceiling_s": CEILING_S})
    for name, command in STEPS.items():
        here.add_runtime(name, *command)
    loop_s, hung_s = IDLE_S + LATE_S + 1, CEILING_S + LATE_S + 1
    with ThreadPoolExecutor(8) as pool:
        streams: dict[str, Future[dict[str, Any]]] = {
            name: pool.submit(answer_on_the_stream, here, name) for name in STEPS
        }
        here.send("loop", "block the loop")
        here.send("hung", "never end")
        late = {
            "loop": pool.submit(beat_on_the_loop_of_the_work, Agent(here, "loop"), loop_s),
            "hung": pool.submit(beat_perfectly_and_never_end, Agent(here, "hung"), hung_s),
        }
        streamed = {name: future.result() for name, future in streams.items()}
        finished = {name: future.result() for name, future in late.items()}
    with real_platform(here.redis.url) as platform:
        told = {name: all_events(platform, name) for name in (*STEPS, *late)}
    found = {
        name: here.ask("GET", f"/workspaces/{name}/turns")["turns"][0] for name in (*STEPS, *late)
    }
    return Window(streamed, told, found, finished)


@pytest.mark.e2e
@pytest.mark.parametrize("step", STEPS)
def test_a_step_longer_than_the_idle_limit_survives_and_its_answer_is_an_event(
    window: Window, step: str
) -> None:
    assert window.streamed[step]["payload"]["text"].strip() == "done"
    assert window.turns[step]["state"] == "completed"
    ending = window.ending(step)
    assert ending.mechanism == "finish"
    assert ending.payload["duration_ms"] >= STEP_S * 1000
    names = [event.event for event in window.events[step]]
    assert names.count("TURN_CLAIMED") == 1, "one session, never lost and given again"
    assert names.count("TURN_KEEPALIVE") >= 2


@pytest.mark.e2e
def test_control_a_heartbeat_on_the_loop_of_the_work_dies_at_the_idle_limit(window: Window) -> None:
    ending = window.ending("loop")
    assert ending.mechanism == "idle_timeout"
    assert ending.payload["limit_ms"] == IDLE_S * 1000
    assert ending.payload["setting"] == "TURNKEEPER_IDLE_TIMEOUT_S"
    assert IDLE_S * 1000 <= ending.payload["measured_ms"] < (IDLE_S + LATE_S) * 1000
    assert window.late_finish["loop"].status_code == 409
    assert window.turns["loop"]["state"] == "queued", "not lost: it waits for a runtime"


@pytest.mark.e2e
def test_a_hung_agent_that_beats_perfectly_ends_at_the_ceiling_and_is_refused_after(
    window: Window,
) -> None:
    ending = window.ending("hung")
    assert ending.mechanism == "ceiling"
    assert ending.payload["limit_ms"] == CEILING_S * 1000
    assert CEILING_S * 1000 <= ending.payload["measured_ms"] < (CEILING_S + LATE_S) * 1000
    assert window.turns["hung"]["state"] == "force_idled"
    refused = window.late_finish["hung"]
    assert (refused.status_code, refused.json()["code"]) == (409, "stale_fence")
    fenced = [event for event in window.events["hung"] if event.event == "WRITE_FENCED"]
    assert fenced
    assert fenced[-1].payload["ended_by"] == "ceiling"
    assert fenced[-1].payload["text"] == "much too late"


@pytest.mark.e2e
def test_a_burst_of_80_kb_passes_the_whole_path(here: World) -> None:
    here.ask("POST", "/workspaces", {"id": "burst"})
    runtime = here.add_runtime("burst", sys.executable, "-c", BURST, "{prompt}")
    sent = {what: here.send("burst", what) for what in ("stdout", "stderr", "line")}
    for what, turn_id in sent.items():
        turn = wait_until(
            lambda turn_id=turn_id: (
                (found := here.turn("burst", turn_id))["state"] == "completed" and found
            ),
            60,
        )
        text = turn["result"]["text"]
        if what != "stderr":
            assert len(text) in (81_919, 81_920), "one newline may be taken off the end"
    runtime.end()


def test_idle_is_reset_by_an_event_and_ends_a_session_only_after_true_silence() -> None:
    """Fifteen minutes, in virtual time; no heartbeat comes at all."""
    with virtual_platform(datetime(2026, 3, 1, 12, tzinfo=UTC)) as platform:
        workspace_id = new_workspace(platform, "ws", ceiling_s=0)
        capacity.heartbeat(platform, workspace_id, capacity.Beat(sessions=[]))
        turns.submit(platform, workspace_id, turns.Request(body={"text": "x"}))
        claim = sessions.claim(platform, workspace_id)
        assert isinstance(claim, sessions.Claim)
        session = claim.session
        sessions.bind(platform, workspace_id, session, {"digest": "d"}, inbox=False)
        sessions.start(platform, workspace_id, session.id, session.fence, "one")

        def pass_time(minutes: float) -> bool:
            """Whether the session still lives after so many minutes of silence."""
            end = datetime.now() + timedelta(minutes=minutes)
            while datetime.now() < end:
                platform.clock.wait(platform.stopping, 15)
                reaper.reap(platform)
            return bool(sessions.live(platform, workspace_id))

        for kind in ("output", "keepalive", "output", "keepalive"):
            assert pass_time(14.5)
            sessions.progress(platform, workspace_id, session.id, session.fence, kind, {})
        assert pass_time(14.75)
        assert not pass_time(0.5)
        ended = [e for e in all_events(platform, workspace_id) if e.event == "SESSION_ENDED"]
        assert [event.mechanism for event in ended] == ["idle_timeout"]
        assert ended[0].payload["limit_ms"] == 900_000
        assert 900_000 <= ended[0].payload["measured_ms"] <= 930_000
