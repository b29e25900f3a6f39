"""The version of what is in Redis; an unknown one is refused rather than guessed at."""

from contextlib import closing
from typing import Any

from redis.exceptions import RedisError

from app.core import keys
from app.core.errors import SettingsFault, UnknownSchema
from app.core.redis_clients import Clients, connect
from app.core.settings import Settings

VERSION = "1"


def ensure(clients: Clients) -> None:
    """Write the version into an empty store, or check the one that is there; on both sides.

    Raises:
        UnknownSchema: the data was written by another version.
    """
    for client in (clients.control, clients.data):
        _ensure(client)


def _ensure(client: Any) -> None:
    # Read first: a full Redis refuses the write, and is no reason not to serve what has begun.
    found = client.get(keys.SCHEMA)
    if found is None:
        client.set(keys.SCHEMA, VERSION, nx=True)
        found = client.get(keys.SCHEMA)
    if found != VERSION:
        raise UnknownSchema(f"Redis carries schema {found}, this release knows {VERSION}")


def check_now(settings: Settings) -> str | None:
    """What is wrong with the store that these settings name, or None."""
    try:
        with closing(connect(settings)) as clients:
            ensure(clients)
    except (UnknownSchema, SettingsFault, RedisError) as error:
        return f"schema check failed: {error}"
    return None
