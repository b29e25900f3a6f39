"""A client whose messages are lost, cut off, delayed or doubled, one at a time, as told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError

from app.core import scripts

# What becomes of a script's call. Death: of the process, before it or after it (so also between
# a script and the ring that follows); unsent, unanswered, late: the caller lives and is told that
# the connection broke; twice: the network sends it again, and nobody is told.
FAULTS = ("death before", "death after", "unsent", "unanswered", "late", "twice")
REACHED = ("death after", "unanswered", "twice")


class Death(BaseException):  # noqa: N818 - no code may take it for an error and go on
    """The process died."""


@dataclass(frozen=True)
class Message:
    """A script's call as it goes over the wire."""

    name: str
    args: dict[str, str]
    words: tuple[Any, ...]

    @classmethod
    def of(cls, words: tuple[Any, ...]) -> "Message":
        script = next(one for one in scripts.load().values() if one.sha == words[1])
        given = words[3 + int(words[2]) :]
        return cls(script.name, dict(zip(script.args, map(str, given), strict=True)), words)


class Unsteady:
    """``arm`` says what becomes of the nth script from now; the others pass."""

    def __init__(self, client: Any, look: Callable[[], Any]) -> None:
        self._client, self._look = client, look
        self._left, self._fault = 0, ""
        self.ran: set[str] = set()
        self.cut: Message | None = None
        self.late: list[Message] = []
        self.doubled: tuple[Any, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def arm(self, fault: str, nth: int) -> None:
        self._left, self._fault, self.cut, self.doubled = nth, fault, None, None

    def disarm(self) -> None:
        self._left = 0

    def send(self, message: Message) -> Any:
        """A message that was sent before, or held back; a refusal is no trouble of ours."""
        try:
            return self._client.execute_command(*message.words)
        except NoScriptError:
            source = scripts.load()[message.name].source
            return self._client.execute_command("EVAL", source, *message.words[2:])

    def execute_command(self, *words: Any) -> Any:
        if words[0] == "EVALSHA":
            self.ran.add(words[1])
        if self._left == 0 or words[0] != "EVALSHA":
            return self._client.execute_command(*words)
        self._left -= 1
        if self._left:
            return self._client.execute_command(*words)
        self.cut = Message.of(words)
        return self._carry(self.cut)

    def _carry(self, message: Message) -> Any:
        reply = self.send(message) if self._fault in REACHED else None
        if self._fault == "twice":
            before = self._look()
            self.send(message)
            self.doubled = (before, self._look())
            return reply
        if self._fault == "late":
            self.late.append(message)
        if self._fault.startswith("death"):
            raise Death
        raise Disconnected(self._fault)
