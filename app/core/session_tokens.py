"""Tokens that act for one session and are good while it lives.

The digest stands on the session's own record, in its workspace's slot: what ends the session ends
its tokens in the same step, and nothing is left to revoke or to trim.
"""

import hashlib
import hmac
import re
import secrets

from app.core import keys
from app.core.platform import Platform
from app.core.records import Session

SCOPE = "session"
_TEXT = re.compile(
    r"tks\.(ses_[0-9A-Z]{26})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9][A-Za-z0-9_.-]{0,63})"
)


def new_secret() -> str:
    """What only the bearer knows; the session it is for need not be known yet."""
    return secrets.token_urlsafe(32)


def text_of(workspace_id: str, session_id: str, secret: str) -> str:
    """The token as its bearer presents it: it says where its session is."""
    return f"tks.{session_id}.{secret}.{workspace_id}"


def find(platform: Platform, text: str) -> tuple[str, Session] | None:
    """The workspace and the live session of this token; None once the session has ended."""
    parts = _TEXT.fullmatch(text)
    if parts is None:
        return None
    session_id, secret, workspace_id = parts.groups()
    stored = platform.clients.data.hget(keys.of(workspace_id)["sessions"], session_id)
    session = Session.parse(stored) if stored else None
    if session is None or session.ended_at is not None:
        return None
    given = digest_of(secret)
    is_known = any(hmac.compare_digest(given, digest) for digest in session.tokens)
    return (workspace_id, session) if is_known else None


def digest_of(secret: str) -> str:
    """What the session's record keeps of it."""
    return hashlib.sha256(secret.encode()).hexdigest()
