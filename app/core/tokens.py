"""Bearer tokens: opaque, 256-bit, base64url; stored as SHA-256, listed by their first 8 letters."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace

import structlog

from app.core import ids, keys, session_tokens
from app.core.errors import InvalidInput, NotFound, TokenChanged
from app.core.platform import Platform
from app.core.settings import env_name

log = structlog.get_logger(__name__)

SCOPES = ("read", "send", "runtime", "operate", "admin")
# Who changes a thing must see it; who administers may do all. To send, and to be the agent, are
# no part of it, and neither of those sees what others said.
INCLUDES = {"operate": ("read",), "admin": SCOPES}
EVERYWHERE = "*"
COOKIE = "turnkeeper"
LOGIN_TTL_S = 900


@dataclass(frozen=True)
class Token:
    """What a token may do: its scopes, in the named workspaces (``*``: all) and in those that are
    in one of the teams now.

    ``parent``: the token whose login link made this one; it is not good without it. ``session``:
    it acts for this session alone, under ``fence``, and ends with it. ``stored_as``: the digest it
    was found under; ``parent_digest``: that of its parent, where the parent is a stored one.
    ``made_by``: who registered the agent that it is for; it goes with that token, and is counted
    apart. ``principal``: whose it is; a rotation and a login keep it, of any other token it is its
    own id.
    """

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    workspaces: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    parent: str | None = None
    teams: tuple[str, ...] = ()
    session: str | None = None
    fence: int | None = None
    parent_digest: str | None = None
    made_by: str | None = None
    stored_as: str = field(default="", compare=False, repr=False)
    principal: str = ""

    def __post_init__(self) -> None:
        if not self.principal:
            object.__setattr__(self, "principal", self.id)

    @property
    def owner(self) -> str:
        """The id under which it holds places: its own, or that of whose login it is."""
        if self.parent and self.parent.startswith(ROOT.id):
            return ROOT.id
        return self.parent or self.id

    def has(self, scope: str) -> bool:
        """Whether it carries this scope, wherever it reaches."""
        return any(own == scope or scope in INCLUDES.get(own, ()) for own in self.scopes)

    def allows(self, scope: str, workspace_id: str | None, team: str | None = None) -> bool:
        """Whether it reaches ``scope`` there.

        Args:
            workspace_id: None: in all of them, also in those that are yet to be made.
            team: the team that the workspace is in now.
        """
        reaches = EVERYWHERE in self.workspaces or (
            workspace_id is not None and (workspace_id in self.workspaces or team in self.teams)
        )
        return reaches and self.has(scope)


ROOT = Token("tok_root", "admin token of the settings", "", ("admin",), (EVERYWHERE,), 0)


def digest(text: str) -> str:
    """Under which a token is stored: its text is not."""
    return hashlib.sha256(text.encode()).hexdigest()


def sufficient(scope: str) -> list[str]:
    """Which scopes a token may have to be let in where ``one or other`` is needed."""
    wanted = scope.split(" or ") if scope else []
    others = [own for own in SCOPES if any(one in INCLUDES.get(own, ()) for one in wanted)]
    return sorted({*wanted, *others})


def create(
    platform: Platform,
    name: str,
    scopes: Sequence[str],
    workspaces: Sequence[str] | None = None,
    expires_in_s: float | None = None,
    teams: Sequence[str] = (),
) -> tuple[str, Token]:
    """Make a token. The text is returned once and never stored.

    Args:
        workspaces: where left out: the teams' alone, or all where no team is named.

    Raises:
        InvalidInput: no scope, or an unknown one; neither workspace nor team.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise InvalidInput("scopes", f"one or more of {', '.join(SCOPES)}")
    if workspaces is None:
        workspaces = () if teams else (EVERYWHERE,)
    if not workspaces and not teams:
        raise InvalidInput("workspaces", "one or more workspace ids, or '*', or a team")
    text, now = secrets.token_urlsafe(32), platform.now_ms()
    token = Token(
        id=ids.new("tok"),
        name=name,
        prefix=text[:8],
        scopes=tuple(scopes),
        workspaces=tuple(workspaces),
        created_at=now,
        expires_at=None if expires_in_s is None else now + round(expires_in_s * 1000),
        teams=tuple(teams),
        stored_as=digest(text),
    )
    platform.clients.control.hset(keys.TOKENS, digest(text), _record(token))
    return text, token


def find(platform: Platform, text: str) -> Token | None:
    """The token of this text; None where it is unknown, expired or revoked. Counts no request."""
    if known := unstored(platform, text):
        return known
    stored = platform.clients.control.hget(keys.TOKENS, digest(text))
    return valid(platform, stored, platform.now_ms(), digest(text)) if stored else None


def unstored(platform: Platform, text: str) -> Token | None:
    """The token of the settings, or that of a live session, where this is its text."""
    root = platform.settings.admin_token.get_secret_value()
    if root and hmac.compare_digest(text.encode(), root.encode()):
        return ROOT
    return _of_session(platform, text) if text.startswith("tks.") else None


def paced_as(platform: Platform, text: str, token: Token | None) -> str:
    """The digest under which requests are counted: all logins of a token are counted as it."""
    if token and token.owner == ROOT.id:
        return digest(platform.settings.admin_token.get_secret_value())
    return (token and token.parent_digest) or digest(text)


def valid(platform: Platform, stored: str, now_ms: int, stored_as: str) -> Token | None:
    """A stored token, if it is still good at this moment."""
    token = replace(_parse(stored), stored_as=stored_as)
    if token.expires_at is not None and token.expires_at <= now_ms:
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
    return f"{ROOT.id}_{digest(text)[:16]}"


def _record(token: Token) -> str:
    """As it is stored; a session's token never is, so its fields are left out."""
    fields = asdict(token)
    del fields["session"], fields["fence"], fields["stored_as"]
    if token.principal == token.id:
        del fields["principal"]  # so that a release that knows none can read it
    return json.dumps(fields)


def _parse(stored: str) -> Token:
    fields = json.loads(stored)
    lists = ("scopes", "workspaces", "teams")  # one stored by an older release has no teams
    return Token(**{**fields, **{name: tuple(fields.get(name, ())) for name in lists}})


def reach(platform: Platform, token: Token, scope: str, workspace_id: str | None) -> bool:
    """``token.allows`` there, its team looked up where that may decide."""
    if token.allows(scope, workspace_id):
        return True
    if workspace_id is None or not token.teams or not token.has(scope):
        return False
    team = platform.clients.data.hget(keys.of(workspace_id)["workspace"], "team")
    return bool(team) and token.allows(scope, workspace_id, team)


def listing(platform: Platform) -> list[Token]:
    """Every stored token, newest first."""
    found = [_parse(stored) for stored in platform.clients.control.hvals(keys.TOKENS)]
    return sorted(found, key=lambda token: token.id, reverse=True)


def create_for_agent(platform: Platform, maker: Token, workspace_id: str, kept: int) -> str | None:
    """A token for the agent that ``maker`` registers, which ends no later than he; the newest
    ``kept`` of the workspace stay. None where he was revoked meanwhile.
    """
    text, now, control = secrets.token_urlsafe(32), platform.now_ms(), platform.clients.control
    token = Token(
        id=ids.new("tok"),
        name=f"runtime of {workspace_id}",
        prefix=text[:8],
        scopes=("runtime",),
        workspaces=(workspace_id,),
        created_at=now,
        expires_at=maker.expires_at,
        made_by=maker.owner,
    )
    control.hset(keys.TOKENS, digest(text), _record(token))
    if maker.stored_as and not control.hexists(keys.TOKENS, maker.stored_as):
        control.hdel(keys.TOKENS, digest(text))
        return None
    own = [one for one in listing(platform) if one.made_by and one.workspaces == token.workspaces]
    for old in own[kept:]:
        with suppress(NotFound):  # who registers at the same time revokes the same ones
            revoke(platform, old.id)
    return text


def revoke(platform: Platform, token_id: str) -> None:
    """Forget a token, its logins and its agents' tokens; from the next request on they are unknown.

    Raises:
        NotFound: no token has this id.
    """
    stored = platform.clients.control.hgetall(keys.TOKENS)
    known = {digest: _parse(text) for digest, text in stored.items()}
    if all(token.id != token_id for token in known.values()):
        raise NotFound(f"no token {token_id}")
    # A login made by the browser's own token carries the first parent, so one level is all.
    gone = [
        digest
        for digest, token in known.items()
        if token_id in (token.id, token.parent, token.made_by)
    ]
    platform.clients.control.hdel(keys.TOKENS, *gone)


def rotate(platform: Platform, token_id: str, grace_s: float) -> tuple[str, Token]:
    """A new token that may do the same, as long; the old one is good for ``grace_s`` more.

    So are those that the old one's login links made. Nothing is revived: a token that is revoked
    meanwhile stays so.

    Raises:
        NotFound: no token has this id, or it has expired.
        TokenChanged: others change it at this moment.
    """
    known = platform.clients.control.hgetall(keys.TOKENS)
    now = platform.now_ms()
    end = now + round(grace_s * 1000)
    found = [_parse(stored) for stored in known.values()]
    old = next((one for one in found if one.id == token_id), None)
    if old is None or (old.expires_at is not None and old.expires_at <= now):
        raise NotFound(f"no token {token_id}, or it has expired")
    text = secrets.token_urlsafe(32)
    new = replace(old, id=ids.new("tok"), prefix=text[:8], created_at=now, stored_as=digest(text))
    changes = [{"digest": digest(text), "was": "", "record": _record(new)}]
    for name, stored in known.items():
        one = _parse(stored)
        if token_id in (one.id, one.parent):
            ending = replace(one, expires_at=min(end, one.expires_at or end))
            if ending != one:
                changes.append({"digest": name, "was": stored, "record": _record(ending)})
        elif one.made_by == token_id:  # its agents go on, and hang on the new one
            hanging = _record(replace(one, made_by=new.id))
            changes.append({"digest": name, "was": stored, "record": hanging})
    if platform.run_control("token_swap", changes=json.dumps(changes))[0] != "written":
        raise TokenChanged
    return text, new


def purge(platform: Platform) -> int:
    """Forget the tokens that expired longer ago than they are kept. Returns how many."""
    before = platform.now_ms() - round(platform.settings.token_retention_s * 1000)
    stored = platform.clients.control.hgetall(keys.TOKENS)
    over = [
        name
        for name, text in stored.items()
        if (expires_at := _parse(text).expires_at) is not None and expires_at < before
    ]
    # One that has expired is never changed again, so what was read is what is removed.
    return int(platform.clients.control.hdel(keys.TOKENS, *over)) if over else 0


def login_code(platform: Platform, token: Token) -> str:
    """A code that opens the UI once, with the rights of ``token``; gone after 15 minutes."""
    code = secrets.token_urlsafe(24)
    parent = token.parent or (_root(platform) if token.id == ROOT.id else token.id)
    is_stored = token.parent is None and token.id != ROOT.id
    held = token.stored_as if is_stored else None
    platform.clients.control.set(
        keys.LOGINS + digest(code),
        _record(replace(token, parent=parent, parent_digest=token.parent_digest or held)),
        px=LOGIN_TTL_S * 1000,
    )
    return code


def redeem(platform: Platform, code: str, session_s: float = 43_200) -> str | None:
    """Turn a one-time code into a token for the UI's cookie; None where it is unknown or used.

    The new one lives no longer than its parent, and none is made for a parent that is gone. Of one
    parent the newest ``logins_per_token_max`` are kept.
    """
    stored = platform.clients.control.getdel(keys.LOGINS + digest(code))
    if stored is None:
        return None
    text, now, given = secrets.token_urlsafe(32), platform.now_ms(), _parse(stored)
    parent_record = _parent_record(platform, given)
    parent = ROOT if given.parent == _root(platform) else _good(parent_record, given, now)
    if parent is None:
        return None
    ends = [now + round(session_s * 1000), given.expires_at, parent.expires_at]
    token = replace(
        given,
        id=ids.new("tok"),
        name="browser",
        prefix=text[:8],
        created_at=now,
        expires_at=min(end for end in ends if end is not None),
    )
    outcome, *revoked = platform.run(
        "login",
        "",
        client=platform.clients.control,
        extra_keys={"logins_of": keys.LOGINS_OF + token.owner},
        digest=digest(text),
        record=_record(token),
        parent_digest=given.parent_digest,
        parent_record=parent_record,
        session_ms=round(session_s * 1000),
        logins_per_token_max=platform.settings.logins_per_token_max,
    )
    if outcome != "made":  # the parent was revoked or rotated since it was read
        return None
    _tell_revoked(platform, token.owner, int(revoked[0]))
    return text


def log_out(platform: Platform, text: str) -> None:
    """Forget a browser's login; a token that is none is left alone."""
    control, stored_as = platform.clients.control, digest(text)
    stored = control.hget(keys.TOKENS, stored_as)
    if stored and _parse(stored).parent:
        control.hdel(keys.TOKENS, stored_as)


def _tell_revoked(platform: Platform, owner: str, count: int) -> None:
    if count:
        name, limit = "logins_per_token_max", platform.settings.logins_per_token_max
        told = {"mechanism": name, "limit_count": limit, "measured_count": limit + count}
        log.warning("LIMIT_HIT", setting=env_name(name), token_id=owner, **told)


def _parent_record(platform: Platform, given: Token) -> str | None:
    if given.parent_digest is None:
        return None
    stored: str | None = platform.clients.control.hget(keys.TOKENS, given.parent_digest)
    return stored


def _good(stored: str | None, given: Token, now_ms: int) -> Token | None:
    found = _parse(stored) if stored else None
    is_over = found is None or (found.expires_at is not None and found.expires_at <= now_ms)
    return None if is_over or found is None or found.id != given.parent else found
