"""Which chat of the agent belongs to which context, on disk: one file per context."""

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
    """Chats of one workspace and one kind of agent. ``directory`` None: every turn is fresh.

    A turn of a schedule never resumes: it is to see the prompt and the memories of today.
    """

    def __init__(self, root: Path | None, workspace_id: str, agent: str) -> None:
        safe = quote(workspace_id, safe="").replace(".", "%2E")
        self._directory = None if root is None else root / safe / agent

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
            write_atomically(path, kept | {"context_id": turn.raw["context_id"]})
        except OSError as error:
            log.error("chat_not_kept", file=path.name, error=str(error))

    def forget(self, turn: Turn) -> None:
        """The agent does not know it any more."""
        path = self._path(turn)
        if path is not None:
            path.unlink(missing_ok=True)

    def _path(self, turn: Turn) -> Path | None:
        """None for a turn that has no chat. The context's name may be anything: it is hashed."""
        context_id = turn.raw.get("context_id")
        is_cron = turn.raw.get("origin") == "cron" or bool(turn.raw.get("schedule_id"))
        if self._directory is None or is_cron or not isinstance(context_id, str) or not context_id:
            return None
        return self._directory / f"{hashlib.sha256(context_id.encode()).hexdigest()[:32]}.json"
