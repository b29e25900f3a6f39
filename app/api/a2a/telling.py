"""Stored events of a turn as the updates that an A2A stream carries."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.core import turns
from app.core.a2a import shapes
from app.core.errors import TurnNotFound
from app.core.platform import Platform
from app.core.records import Turn
from app.core.states import TERMINAL

# Events that tell of the same state whatever they carry.
STATES = {
    "MESSAGE_QUEUED": shapes.SUBMITTED,
    "TURN_RETURNED": shapes.SUBMITTED,
    "SESSION_STARTED": shapes.WORKING,
    "TURN_EXPIRED": shapes.FAILED,
    "TURN_DEAD": shapes.FAILED,
    "TURN_COALESCED": shapes.CANCELED,
}
ENDS = TERMINAL | {"input_required"}


@dataclass
class Teller:
    """One turn's events as updates, in order; it remembers the words that come before an end."""

    turn: Turn
    words: str = ""

    def told(
        self, platform: Platform, workspace_id: str, envelope: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """What one event is told as; often nothing.

        Raises:
            RedisError: what came back could not be read; ask again.
        """
        name, payload = envelope["event"], envelope["payload"]
        if name in STATES:
            return [self._update(STATES[name], envelope)]
        if name == "TURN_PROGRESS" and payload.get("text"):
            return [self._update(shapes.WORKING, envelope, str(payload["text"]))]
        if name == "AGENT_MESSAGE":
            if "state" not in payload:  # a word while it works
                return [self._update(shapes.WORKING, envelope, str(payload.get("text", "")))]
            self.words = str(payload.get("text", ""))
        ends = name == "SESSION_ENDED" or (name == "TASK_UPDATED" and "state" in payload)
        if ends and payload.get("state") in ENDS:
            return self._ending(platform, workspace_id, envelope, payload["state"])
        return []

    def _ending(
        self, platform: Platform, workspace_id: str, envelope: Mapping[str, Any], state: str
    ) -> list[dict[str, Any]]:
        try:
            turn = turns.get(platform, workspace_id, self.turn.id)
        except TurnNotFound:  # its retention has passed meanwhile
            turn = replace(self.turn, state=state)
        body, result = turns.read_parts(platform, workspace_id, self.turn.id)
        if turn.state != state:  # it goes on already, and what came back is in its history
            turn, result = replace(turn, state=state), {"text": self.words}
        told: list[dict[str, Any]] = [
            {"artifactUpdate": {**self._place(), "artifact": made, "lastChunk": True}}
            for made in shapes.artifacts(turn, body, result)
        ]
        status = shapes.status(turn, result) | {"timestamp": envelope["timestamp"]}
        self.words = ""
        return [*told, {"statusUpdate": {**self._place(), "status": status}}]

    def _update(self, state: str, envelope: Mapping[str, Any], text: str = "") -> dict[str, Any]:
        status: dict[str, Any] = {"state": state, "timestamp": envelope["timestamp"]}
        if text:
            message_id = f"{self.turn.id}-{envelope['id']}"
            status["message"] = shapes.agent_message(message_id, self.turn, [{"text": text}])
        return {"statusUpdate": {**self._place(), "status": status}}

    def _place(self) -> dict[str, Any]:
        return {"taskId": self.turn.id, "contextId": shapes.context_of(self.turn)}
