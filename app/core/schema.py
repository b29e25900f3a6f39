"""The version of what is in Redis; an unknown one is refused rather than guessed at."""

from contextlib import closing

from redis.exceptions import RedisError

from app.core import keys
from app.core.errors import SettingsFault, UnknownSchema
from app.core.redis_clients import connect
from app.core.settings import Settings

VERSION = "1"


def ensure(client: object) -> None:
    """Write the version into an empty store, or check the one that is there.

    Raises:
        UnknownSchema: the data was written by another version.
    """
    client.set(keys.SCHEMA, VERSION, nx=True)  # type: ignore[attr-defined]
    found = client.get(keys.SCHEMA)  # type: ignore[attr-defined]
    if found != VERSION:
        raise UnknownSchema(f"Redis carries schema {found}, this release knows {VERSION}")


def check_now(settings: Settings) -> str | None:
    """What is wrong with the store that these settings name, or None."""
    try:
        with closing(connect(settings)) as clients:
            ensure(clients.control)
            clients.data.ping()
    except (UnknownSchema, SettingsFault, RedisError) as error:
        return f"schema check failed: {error}"
    return None
