"""Pushes from agents behind URLs: hints that there is something to see.

The message that an agent is sent names where to push and a secret of that session; the session's
record keeps the digest. Whatever is pushed, only what the agent answers when it is asked for its
task decides: a lost push costs one pause between two looks, and a false one a look.
"""

import hmac
from dataclasses import dataclass, field

from app.core import agents, sessions
from app.core.admission import Pace, admit
from app.core.errors import SessionEnded, Unauthorized
from app.core.platform import Platform
from app.core.records import Session
from app.core.session_tokens import digest_of, new_secret
from app.core.tokens import Token

PATH = "/workspaces/{workspace_id}/a2a/push/{session_id}"


@dataclass(frozen=True)
class Invitation:
    """Where an agent may push about one session, and the secret that it shows there."""

    url: str
    secret: str = field(repr=False)

    @property
    def digest(self) -> str:
        """What the session keeps of the secret."""
        return digest_of(self.secret)


def invite(platform: Platform, workspace_id: str, session_id: str) -> Invitation | None:
    """A new invitation; None where nobody said under which address agents reach us."""
    base = platform.settings.public_url.rstrip("/")
    if not base:
        return None
    path = PATH.format(workspace_id=workspace_id, session_id=session_id)
    return Invitation(base + path, new_secret())


def accept(platform: Platform, workspace_id: str, session_id: str, secret: str) -> None:
    """Have whoever follows the session's task look at it now. A death between the count and the
    ring costs at most the second until the lease is renewed.

    Raises:
        SessionNotFound, SessionEnded, Unauthorized, RateLimited.
    """
    session = sessions.get(platform, workspace_id, session_id)
    given = digest_of(secret)
    if not session.push_digest or not hmac.compare_digest(given, session.push_digest):
        raise Unauthorized
    known = _bearer(workspace_id, session)
    admit(platform, f"{session_id}.{given}", Pace.AGENT, workspace_id, known=known)
    if platform.run("agent_push", workspace_id, session_id=session_id)[0] == "gone":
        raise SessionEnded(session_id=session_id)
    agents.watch(platform, workspace_id, 0)


def _bearer(workspace_id: str, session: Session) -> Token:
    """Whose pushes are counted together; it opens no other route."""
    return Token(
        id=f"push_{session.id}",
        name=f"agent of session {session.id}",
        prefix="",
        scopes=(),
        workspaces=(workspace_id,),
        created_at=session.claimed_at,
    )
