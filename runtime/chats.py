"""Which chat of the agent belongs to which context or schedule, on disk: one file for each."""

import hashlib
import json
from pathlib import Path
from urllib.parse import quote

import structlog

from runtime.agents.base import Resume
from runtime.agents.events import numbers
from runtime.files import write_atomically
from runtime.wire import Turn

log = structlog.get_logger(__name__)


class Chats:
    """Chats of one workspace and one kind of agent.

    A turn of a schedule goes on with its schedule's last session where the schedule says
    ``session_mode: resume``, and is fresh otherwise: it is to see the prompt and the memories of
    today. Any other turn goes on with the chat of its context where ``resumes_chat``.
    """

    def __init__(self, root: Path, workspace_id: str, agent: str, resumes_chat: bool) -> None:
        safe = quote(workspace_id, safe="").replace(".", "%2E")
        self._directory = root / safe / agent
        self._resumes_chat = resumes_chat

    def find(self, turn: Turn) -> Resume | None:
        """What to resume for this turn, if anything. A file that cannot be read is no chat."""
        path = self._path(turn)
        if path is None:
            return None
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return Resume(str(kept["agent_session_id"]), numbers(kept.get("usage")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("chat_unreadable", file=path.name, error=str(error))
            return None

    def keep(self, turn: Turn, chat: Resume) -> None:
        """Remember it, on disk when this returns; a disk that does not take it is logged."""
        path = self._path(turn)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept = {"agent_session_id": chat.agent_session_id, "usage": dict(chat.usage)}
            of = {name: turn.raw.get(name) for name in ("context_id", "schedule_id")}
            write_atomically(path, kept | of)
        except OSError as error:
            log.error("chat_not_kept", file=path.name, error=str(error))

    def forget(self, turn: Turn) -> None:
        """The agent does not know it any more."""
        path = self._path(turn)
        if path is not None:
            path.unlink(missing_ok=True)

    def _path(self, turn: Turn) -> Path | None:
        """None for a turn that is fresh. A context's name may be anything: it is hashed."""
        name = self._name(turn)
        if name is None:
            return None
        return self._directory / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"

    def _name(self, turn: Turn) -> str | None:
        schedule_id, context_id = turn.raw.get("schedule_id"), turn.raw.get("context_id")
        if schedule_id or turn.raw.get("origin") == "cron":
            is_resumed = schedule_id and turn.raw.get("session_mode") == "resume"
            return f"schedule\0{schedule_id}" if is_resumed else None
        is_named = isinstance(context_id, str) and context_id
        return str(context_id) if self._resumes_chat and is_named else None
