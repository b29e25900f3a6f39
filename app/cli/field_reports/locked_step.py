"""The step of the second report: one call that holds the interpreter's lock, then the answer.

Run by itself it is the agent's command, beside a runtime. With a URL it is an agent whose
heartbeat is a thread of the same process, as the reported one's was a task on the same loop.
"""

import ctypes
import os
import sys
import threading
from typing import Any

from app.cli.client import Api
from app.cli.faults import Fault

BEAT_S = 0.5
POLL_WAIT_S = 2
INSTANCE = "beats-inside"


def blocked(seconds: int) -> None:
    """No thread of this process runs meanwhile: PyDLL, unlike CDLL, keeps the lock."""
    ctypes.PyDLL(None).sleep(seconds)


def main(argv: list[str]) -> int:
    """``SECONDS``: the step and its answer; ``SECONDS WORKSPACE``: the agent that beats itself."""
    seconds = int(argv[0])
    if len(argv) > 1:
        return beat_inside(Api(os.environ["TURNKEEPER_URL"], os.environ["TURNKEEPER_TOKEN"]),
                           argv[1], seconds)  # fmt: skip
    blocked(seconds)
    print("102 of 102 images moved")
    return 0


def beat_inside(api: Api, workspace: str, seconds: int) -> int:
    """Take one turn, do the step, report its end; beats come from a thread."""
    base, held, has_ended = f"/workspaces/{workspace}", list[str](), threading.Event()

    def beats() -> None:
        while not has_ended.is_set():
            body = {"instance": INSTANCE, "active_tasks": len(held), "sessions": list(held)}
            try:
                api.call("POST", f"{base}/heartbeat", body)
            except Fault as fault:
                print(f"beat: {fault.message}", flush=True)
            has_ended.wait(BEAT_S)

    thread = threading.Thread(target=beats, daemon=True)
    thread.start()
    turn: dict[str, Any] | None = None
    while turn is None:
        query = {"wait_s": POLL_WAIT_S, "instance": INSTANCE}
        turn = api.call("GET", f"{base}/turns/next", query=query)["turn"]
    session = f"{base}/sessions/{turn['session_id']}"
    held.append(turn["session_id"])
    api.call("POST", f"{session}/start", {"fence": turn["fence"], "instance": INSTANCE})
    blocked(seconds)
    body = {"fence": turn["fence"], "outcome": "completed", "result": {"text": "too late"}}
    try:
        api.call("POST", f"{session}/finish", body)
    except Fault as fault:
        print(f"finish: {fault.message}", flush=True)
    held.clear()
    has_ended.set()
    threading.Event().wait()  # until it is stopped: it takes no second turn
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
