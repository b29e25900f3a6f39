"""Bearer tokens: opaque, 256-bit, base64url; stored as SHA-256, listed by their first 8 letters."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from app.core import ids, keys, session_tokens
from app.core.errors import InvalidInput, NotFound
from app.core.platform import Platform

SCOPES = ("read", "send", "runtime", "operate", "admin")
EVERYWHERE = "*"
COOKIE = "turnkeeper"
LOGIN_TTL_S = 900


@dataclass(frozen=True)
class Token:
    """What a token may do: its scopes, in the named workspaces (``*``: all).

    ``parent``: the token whose login link made this one; it is not good without it. ``session``:
    it acts for this session alone, under ``fence``, and ends with it.
    """

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    workspaces: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    parent: str | None = None
    session: str | None = None
    fence: int | None = None

    def allows(self, scope: str, workspace_id: str | None) -> bool:
        """Whether this token reaches ``scope`` there; ``admin`` includes every scope."""
        reaches = EVERYWHERE in self.workspaces or (
            workspace_id is not None and workspace_id in self.workspaces
        )
        return reaches and (scope in self.scopes or "admin" in self.scopes)


ROOT = Token("tok_root", "admin token of the settings", "", ("admin",), (EVERYWHERE,), 0)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def create(
    platform: Platform,
    name: str,
    scopes: Sequence[str],
    workspaces: Sequence[str] = (EVERYWHERE,),
    expires_in_s: float | None = None,
) -> tuple[str, Token]:
    """Make a token. The text is returned once and never stored.

    Raises:
        InvalidInput: no scope, or an unknown one.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise InvalidInput("scopes", f"one or more of {', '.join(SCOPES)}")
    if not workspaces:
        raise InvalidInput("workspaces", "one or more workspace ids, or '*'")
    text, now = secrets.token_urlsafe(32), platform.now_ms()
    token = Token(
        id=ids.new("tok"),
        name=name,
        prefix=text[:8],
        scopes=tuple(scopes),
        workspaces=tuple(workspaces),
        created_at=now,
        expires_at=None if expires_in_s is None else now + round(expires_in_s * 1000),
    )
    platform.clients.control.hset(keys.TOKENS, _digest(text), _text(token))
    return text, token


def find(platform: Platform, text: str) -> Token | None:
    """The token of this text; None where it is unknown, expired or revoked."""
    root = platform.settings.admin_token.get_secret_value()
    if root and hmac.compare_digest(text.encode(), root.encode()):
        return ROOT
    if text.startswith("tks."):
        return _of_session(platform, text)
    stored = platform.clients.control.hget(keys.TOKENS, _digest(text))
    token = _parse(stored) if stored else None
    if token is None or (token.expires_at is not None and token.expires_at <= platform.now_ms()):
        return None
    if token.parent and token.parent.startswith(ROOT.id) and token.parent != _root(platform):
        return None  # the admin token of the settings has been changed since
    return token


def _of_session(platform: Platform, text: str) -> Token | None:
    found = session_tokens.find(platform, text)
    if found is None:
        return None
    workspace_id, session = found
    return Token(
        id=f"tok_{session.id}",
        name=f"session {session.id}",
        prefix="",
        scopes=(session_tokens.SCOPE,),
        workspaces=(workspace_id,),
        created_at=session.claimed_at,
        session=session.id,
        fence=session.fence,
    )


def _root(platform: Platform) -> str:
    """The admin token of the settings as a parent: another text is another parent."""
    text = platform.settings.admin_token.get_secret_value()
    return f"{ROOT.id}_{_digest(text)[:16]}"


def _text(token: Token) -> str:
    """As it is stored; a session's token never is, so its fields are left out."""
    fields = asdict(token)
    del fields["session"], fields["fence"]
    return json.dumps(fields)


def _parse(stored: str) -> Token:
    fields = json.loads(stored)
    return Token(
        **{**fields, "scopes": tuple(fields["scopes"]), "workspaces": tuple(fields["workspaces"])}
    )


def listing(platform: Platform) -> list[Token]:
    """Every stored token, newest first."""
    found = [_parse(stored) for stored in platform.clients.control.hvals(keys.TOKENS)]
    return sorted(found, key=lambda token: token.id, reverse=True)


def keep_newest(platform: Platform, name: str, count: int) -> None:
    """Revoke all but the newest ``count`` tokens of a name that the platform itself gives."""
    for old in [token for token in listing(platform) if token.name == name][count:]:
        revoke(platform, old.id)


def revoke(platform: Platform, token_id: str) -> None:
    """Forget a token and those its login links made; from the next request on they are unknown.

    Raises:
        NotFound: no token has this id.
    """
    stored = platform.clients.control.hgetall(keys.TOKENS)
    known = {digest: _parse(text) for digest, text in stored.items()}
    if all(token.id != token_id for token in known.values()):
        raise NotFound(f"no token {token_id}")
    # A login made by the browser's own token carries the first parent, so one level is all.
    gone = [digest for digest, token in known.items() if token_id in (token.id, token.parent)]
    platform.clients.control.hdel(keys.TOKENS, *gone)


def login_code(platform: Platform, token: Token) -> str:
    """A code that opens the UI once, with the rights of ``token``; gone after 15 minutes."""
    code = secrets.token_urlsafe(24)
    parent = token.parent or (_root(platform) if token.id == ROOT.id else token.id)
    platform.clients.control.set(
        keys.LOGINS + _digest(code),
        _text(replace(token, parent=parent)),
        px=LOGIN_TTL_S * 1000,
    )
    return code


def redeem(platform: Platform, code: str, session_s: float = 43_200) -> str | None:
    """Turn a one-time code into a token for the UI's cookie; None where it is unknown or used.

    The new one lives no longer than its parent, and none is made for a parent that is gone.
    """
    stored = platform.clients.control.getdel(keys.LOGINS + _digest(code))
    if stored is None:
        return None
    text, now, given = secrets.token_urlsafe(32), platform.now_ms(), _parse(stored)
    parents = {token.id for token in listing(platform)} | {_root(platform)}
    if given.parent not in parents:
        return None
    until = now + round(session_s * 1000)
    token = replace(
        given,
        id=ids.new("tok"),
        name="browser",
        prefix=text[:8],
        created_at=now,
        expires_at=until if given.expires_at is None else min(until, given.expires_at),
    )
    platform.clients.control.hset(keys.TOKENS, _digest(text), _text(token))
    return text
