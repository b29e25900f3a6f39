"""Where a turn's changes are pushed: configurations kept with the turn, in its workspace's slot.

They may be read, written and removed as long as the turn is kept, ended or not, and go with it.
``workers.webhooks`` pushes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from app.core import ids, keys, lines
from app.core.errors import InvalidInput, PushConfigNotFound
from app.core.platform import Platform
from app.core.records import Turn

URL_MAX = 2048
TEXT_MAX = 4096
ID_MAX = 256


@dataclass(frozen=True)
class Config:
    """One configuration; ``authentication`` is ``{scheme, credentials}`` or empty.

    ``protocol`` ("1.0" or "0.3") says in which form the client wants what is pushed. ``principal``:
    who wrote it; of one that an older release wrote it is not known ("").
    """

    id: str
    task_id: str
    url: str
    token: str
    authentication: Mapping[str, str]
    protocol: str
    principal: str = ""


def made(
    task_id: str,
    url: str,
    protocol: str,
    *,
    config_id: str = "",
    token: str = "",
    authentication: Mapping[str, str] | None = None,
    principal: str = "",
) -> Config:
    """A configuration whose texts have been checked; without an id it gets one.

    Raises:
        InvalidInput: the URL is none that could be pushed to, or a text is too long.
    """
    check_url(url)
    secrets = {name: text for name, text in (authentication or {}).items() if text}
    texts = {"token": token, **{f"authentication.{name}": text for name, text in secrets.items()}}
    for name, text in texts.items():
        is_plain = text.isascii() and text.isprintable() and text == text.strip()
        if len(text) > TEXT_MAX or not is_plain:
            rule = f"at most {TEXT_MAX} printable characters of ASCII, no blanks around them"
            raise InvalidInput(name, rule)  # they go into headers
    if len(config_id) > ID_MAX or not config_id.isprintable():
        raise InvalidInput("id", f"at most {ID_MAX} printable characters")
    return Config(config_id or ids.new("psh"), task_id, url, token, secrets, protocol, principal)


def content_id(said: Mapping[str, Any]) -> str:
    """An id that is the same for the same configuration."""
    text = json.dumps(said, sort_keys=True, ensure_ascii=False)
    return f"psh_{hashlib.sha256(text.encode()).hexdigest()[:26]}"


def check_url(url: str) -> None:
    """The form of a URL; where it leads is checked when it is called.

    Raises:
        InvalidInput.
    """
    rule = f"an http or https URL of at most {URL_MAX} characters, without user or password"
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise InvalidInput("url", rule) from error
    plain = len(url) <= URL_MAX and url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not (plain and has_place) or "@" in parts.netloc:
        raise InvalidInput("url", rule)


def args(config: Config | None, turn_id: str, created_at: int = 0) -> dict[str, Any]:
    """The arguments of a script that writes a configuration with its turn.

    ``created_at``: server time in ms from which changes are pushed; 0: all of the turn's.
    """
    if config is None:
        return {"push_id": "", "push": ""}
    said = asdict(replace(config, task_id=turn_id))
    if created_at:
        said["created_at"] = created_at
    return {"push_id": config.id, "push": json.dumps(said, ensure_ascii=False)}


def hint(platform: Platform, workspace_id: str, config: Config | None) -> None:
    """Tell the delivery workers of a configuration that came with a turn; None: of nothing."""
    if config is not None:
        lines.hint_push(platform, workspace_id)


def put(platform: Platform, workspace_id: str, config: Config) -> Config:
    """Write one; one of the same id is replaced.

    Raises:
        TurnNotFound, TooManyPushConfigs.
    """
    given = args(config, config.task_id, platform.now_ms())
    platform.run("push_put", workspace_id, turn_id=config.task_id, **given)
    lines.hint_push(platform, workspace_id)
    return config


def get(platform: Platform, workspace_id: str, turn_id: str, config_id: str) -> Config:
    """One configuration of a turn.

    Raises:
        PushConfigNotFound.
    """
    key = keys.of(workspace_id)["push"]
    text = platform.clients.data.hget(key, f"{turn_id}:{config_id}")
    if text is None:
        raise PushConfigNotFound(turn_id=turn_id, config_id=config_id)
    return _parse(text)


def of_turn(platform: Platform, workspace_id: str, turn: Turn) -> list[Config]:
    """Every configuration of a turn, in the order in which they were written last."""
    return _named(platform, workspace_id, turn.id, turn.push)


def _named(
    platform: Platform, workspace_id: str, turn_id: str, config_ids: Sequence[str]
) -> list[Config]:
    if not config_ids:
        return []
    key = keys.of(workspace_id)["push"]
    texts = platform.clients.data.hmget(key, [f"{turn_id}:{one}" for one in config_ids])
    return [_parse(text) for text in texts if text]


def remove(platform: Platform, workspace_id: str, turn_id: str, config_id: str) -> bool:
    """Remove one; returns whether it was there.

    Raises:
        TurnNotFound.
    """
    reply = platform.run("push_remove", workspace_id, turn_id=turn_id, push_id=config_id)
    lines.hint_push(platform, workspace_id)
    return bool(reply[0] == "removed")


def _parse(text: str) -> Config:
    known: dict[str, Any] = json.loads(text)
    return Config(**{name: known[name] for name in Config.__dataclass_fields__ if name in known})
