"""A real Redis whose scripts read the time from the test: the kernel's own code, a month a minute.

Only the reading of TIME is replaced, in each script's source; everything else of a script is as it
is. What the server itself times (expiry of a key) goes by real time.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import redis

from app.core import scripts
from app.core.clock import Clock
from app.core.platform import Platform
from app.core.redis_clients import shared
from app.core.settings import Settings
from tests.support.kernel import YEAR_MS

READS_TIME = "redis.call('TIME')"
NOW = "test:now"
DATED_TIME = f"{{redis.call('HGET', '{NOW}', 's'), redis.call('HGET', '{NOW}', 'us')}}"


class Killed(BaseException):
    """The process died at this command; no ``except Exception`` of the code under test stops it."""


def in_time(source: str) -> str:
    """The same script with the test's time."""
    return source.replace(READS_TIME, DATED_TIME)


@lru_cache(maxsize=1)
def _digests() -> dict[str, str]:
    """The digest of each script -> that of the same script with the test's time."""
    found = {}
    for script in scripts.load().values():
        others = script.source.replace(READS_TIME, "")
        assert "TIME'" not in others, f"{script.name} reads the time in a way not known here"
        text = in_time(script.source).encode()
        found[script.sha] = hashlib.sha1(text).hexdigest()  # noqa: S324 - Redis names scripts so
    return found


class Dated:
    """Virtual time on a real server, and the clients that live in it."""

    def __init__(self, client: redis.Redis, start_ms: int) -> None:
        self.now_ms = start_ms
        self.client = client
        self.digests = _digests()
        self.pass_ms(0)

    def teach(self) -> None:
        """Load every script now, so that no call has to be sent twice for it."""
        for script in scripts.load().values():
            self.client.script_load(in_time(script.source))

    def in_time(self) -> Any:
        """A client of a process in this time."""
        return _Client(self, self.client, _Life(0))

    def pass_ms(self, ms: int) -> None:
        """Let time pass."""
        self.now_ms += ms
        seconds, rest = divmod(self.now_ms, 1000)
        self.client.hset(NOW, mapping={"s": seconds, "us": rest * 1000})

    def platform(self, dies_at: int = 0, **settings: Any) -> Platform:
        """A process in this time; with ``dies_at`` it is killed at its n-th command."""
        client = _Client(self, self.client, _Life(dies_at))
        platform = Platform(Settings.model_validate(settings), shared(client), Clock())
        with suppress(Killed):  # rings stay in the ready set, no RQ job is made
            platform.run_control("dispatcher", slice_id="test", ttl_ms=YEAR_MS)
        return platform


class _Life:
    """Counts commands; every second death comes after its command was carried out."""

    def __init__(self, dies_at: int) -> None:
        self.left = dies_at
        self.is_mortal, self.after_it = dies_at > 0, dies_at % 2 == 0

    def live(self, command: Callable[[], Any]) -> Any:
        if not self.is_mortal:
            return command()
        self.left -= 1
        if self.left < 0 or (self.left == 0 and not self.after_it):
            raise Killed
        reply = command()
        if self.left == 0:
            raise Killed
        return reply


class _Client:
    """What the kernel asks of a client, in the test's time."""

    def __init__(self, dated: Dated, client: redis.Redis, life: _Life) -> None:
        self._dated, self._client, self._life = dated, client, life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found) or name in ("connection_pool", "close"):
            return found
        return lambda *words, **named: self._life.live(lambda: found(*words, **named))

    def time(self) -> tuple[int, int]:
        return self._dated.now_ms // 1000, self._dated.now_ms % 1000 * 1000

    def script_load(self, source: str) -> str:
        return str(self._client.script_load(in_time(source)))

    def script_exists(self, sha: str) -> list[bool]:
        return [sha in self._dated.digests]

    def execute_command(self, *words: Any) -> Any:
        return self._life.live(lambda: self._client.execute_command(*self.translated(words)))

    def translated(self, words: tuple[Any, ...]) -> tuple[Any, ...]:
        """A script's call as one of the same script in the test's time."""
        if words[0] == "EVALSHA":
            return ("EVALSHA", self._dated.digests[words[1]], *words[2:])
        return ("EVAL", in_time(words[1]), *words[2:]) if words[0] == "EVAL" else words

    def pipeline(self, transaction: bool = True) -> Any:
        pipe = self._client.pipeline(transaction=transaction)
        send, execute = pipe.execute_command, pipe.execute
        pipe.execute_command = lambda *words, **named: send(*self.translated(words), **named)  # type: ignore[method-assign]
        pipe.execute = lambda *words, **named: self._life.live(lambda: execute(*words, **named))  # type: ignore[method-assign]
        return pipe


@contextmanager
def dated(client: redis.Redis, start_ms: int) -> Iterator[Dated]:
    """Virtual time on an empty server."""
    client.flushall()
    made = Dated(client, start_ms)
    made.teach()
    yield made
    client.flushall()
