"""An agent whose every answer is told by how a message's id begins: for conformance runs.

``python -m tests.support.scripted_agent WORKSPACE`` polls for turns as any runtime does, with the
address and the token of the environment. Nothing of it knows A2A but the answers' own form.
"""

import os
import signal
import sys
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

SLOTS = 8
BEAT_S = 0.5
FILE = {"raw": "dGNr", "filename": "output.txt", "mediaType": "text/plain"}
LINK = {"url": "https://example.com/output.txt", "filename": "output.txt"}


@dataclass(frozen=True)
class Script:
    """What the agent does: works for so long, says so, ends."""

    outcome: str = "completed"
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    words: str = ""
    work_s: float = 0


def made(*parts: Mapping[str, Any]) -> Mapping[str, Any]:
    """A result with one artifact."""
    return {"artifacts": [{"artifactId": "artifact-1", "name": "output", "parts": list(parts)}]}


ASKS = Script("input_required", {"text": "What next?"})
# The first that fits counts.
SCRIPTS: Mapping[str, Script] = {
    "tck-complete-task": Script(result={"text": "Hello from TCK"}),
    "tck-artifact-text": Script(result=made({"text": "Generated text content"})),
    "tck-artifact-file-url": Script(result=made({**LINK, "mediaType": "text/plain"})),
    "tck-artifact-file": Script(result=made(FILE)),
    "tck-artifact-data": Script(result=made({"data": {"key": "value", "count": 42}})),
    "tck-message-response": Script(result={"text": "Direct message response", "answer": "message"}),
    "tck-input-required": ASKS,
    "tck-reject-task": Script("failed", error={"code": "rejected", "message": "rejected"}),
    "tck-stream-artifact-text": Script(result=made({"text": "Streamed text content"})),
    "tck-stream-artifact-file": Script(result=made(FILE)),
    "tck-stream-artifact-chunked": Script(result=made({"text": "chunk-1 "}, {"text": "chunk-2"})),
    "tck-stream-ordering-001": Script(result=made({"text": "Ordered output"})),
    "tck-stream-001": Script(result=made({"text": "Stream hello from TCK"})),
    "tck-stream-002": Script(),
    "tck-stream-003": Script(result=made({"text": "Stream task lifecycle"})),
    "tck-": Script(result={"text": "done"}),
    "test-resubscribe-message-id": Script(result={"text": "done"}, words="working", work_s=4.5),
    "silent-": Script(result={"text": "done after silence"}, work_s=9),
    "words-": Script(result={"text": "the answer"}, words="thinking"),
    "bare-": Script(result={"text": "a bare word", "answer": "message"}),
    "complete-": Script(result={"text": "completed"}),
    "": ASKS,
}


def script_for(message_id: str) -> Script:
    """The script of a message."""
    return next(script for prefix, script in SCRIPTS.items() if message_id.startswith(prefix))


class Agent:
    """The polling side: one poll, a thread for each turn, one beat."""

    def __init__(self, url: str, token: str, workspace_id: str) -> None:
        self.stopping = threading.Event()
        self._instance = uuid.uuid4().hex
        self._base = f"/workspaces/{workspace_id}"
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=40, trust_env=False)
        self._running: set[str] = set()

    def serve(self) -> None:
        """Until ``stopping`` is set."""
        beat = threading.Thread(target=self._beat_on)
        beat.start()
        with ThreadPoolExecutor(SLOTS) as pool:
            while not self.stopping.is_set():
                turn = self._poll()
                if turn:
                    self._running.add(turn["session_id"])
                    pool.submit(self._run, turn)
        beat.join()
        self._client.close()

    def _beat_on(self) -> None:
        seq = 0
        while True:
            seq += 1
            beat = {
                "seq": seq,
                "instance": self._instance,
                "sessions": sorted(self._running),
                "max_concurrent": SLOTS,
            }
            self._post("/heartbeat", beat)
            if self.stopping.wait(BEAT_S):
                return

    def _poll(self) -> Any:
        query = {"wait_s": 2, "instance": self._instance, "room": 1}
        try:
            answer = self._client.get(f"{self._base}/turns/next", params=query)
            return answer.raise_for_status().json()["turn"]
        except httpx.HTTPError:
            self.stopping.wait(0.2)
            return None

    def _run(self, turn: Mapping[str, Any]) -> None:
        script = script_for(str((turn["message"] or {}).get("messageId", "")))
        session, fence = f"/sessions/{turn['session_id']}", {"fence": turn["fence"]}
        self._post(f"{session}/start", {**fence, "instance": self._instance})
        if script.words:
            self._post(f"{session}/progress", {**fence, "kind": "text", "text": script.words})
        if not self.stopping.wait(script.work_s):
            end = {**fence, "outcome": script.outcome, "result": script.result}
            self._post(f"{session}/finish", end | ({"error": script.error} if script.error else {}))
        self._running.discard(turn["session_id"])

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        while True:
            try:
                answer = self._client.post(self._base + path, json=body)
            except httpx.HTTPError:
                answer = None
            if (answer is not None and answer.status_code < 500) or self.stopping.wait(0.2):
                return


def main(workspace_id: str) -> None:
    """Serve one workspace until SIGTERM or SIGINT."""
    agent = Agent(os.environ["TURNKEEPER_URL"], os.environ["TURNKEEPER_TOKEN"], workspace_id)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stopping.set())
    agent.serve()


if __name__ == "__main__":
    main(sys.argv[1])
