"""A process that is killed at its n-th Redis command: before it is sent, or before its reply."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import fakeredis
import redis
import time_machine

from app.core.platform import Platform
from app.core.redis_clients import shared
from app.core.settings import Settings
from tests.support.world import VirtualClock

T = TypeVar("T")


class Killed(BaseException):
    """No ``except Exception`` of the code under test may stop a kill."""


@dataclass
class Life:
    """Dies at command ``dies_at`` (1-based; 0: never); the dead send nothing more."""

    dies_at: int = 0
    after_it: bool = False
    count: int = 0
    is_dead: bool = False

    def live(self, command: Callable[[], T]) -> T:
        if self.is_dead:
            raise Killed
        self.count += 1
        last = self.count == self.dies_at
        if last and not self.after_it:
            self.is_dead = True
            raise Killed
        reply = command()
        if last:
            self.is_dead = True
            raise Killed
        return reply


class Mortal(fakeredis.FakeRedis):
    """A client of a process with a life."""

    life = Life()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return self.life.live(lambda: super(Mortal, self).execute_command(*args, **options))

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        pipe = super().pipeline(transaction, shard_hint)
        if transaction:
            execute = pipe.execute
            pipe.execute = lambda *args, **options: self.life.live(
                lambda: execute(*args, **options)
            )
        else:
            pipe.execute = lambda *args, **options: self._one_by_one(pipe, *args, **options)
        return pipe

    def _one_by_one(self, pipe: Any, raise_on_error: bool = True) -> list[Any]:
        """A pipeline is no transaction: its sender may die when a part of it has arrived."""
        commands, replies = list(pipe.command_stack), []
        pipe.reset()
        for words, options in commands:
            try:
                replies.append(self.execute_command(*words, **options))
            except redis.ResponseError as error:
                if raise_on_error:
                    raise
                replies.append(error)
        return replies


class MortalReal(redis.Redis):
    """The same on a real server."""

    life = Life()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return self.life.live(lambda: super(MortalReal, self).execute_command(*args, **options))

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        pipe = super().pipeline(transaction, shard_hint)
        execute = pipe.execute
        pipe.execute = lambda *args, **options: self.life.live(lambda: execute(*args, **options))  # type: ignore[method-assign]
        return pipe


@dataclass
class Machine:
    """One fake server in virtual time, and processes that may die on it."""

    server: fakeredis.FakeServer
    clock: VirtualClock
    settings: Settings

    def process(self, life: Life | None = None) -> Platform:
        def client(decode: bool) -> Mortal:
            made = Mortal(server=self.server, protocol=2, decode_responses=decode)
            made.life = life or Life()
            return made

        return Platform(self.settings, shared(client(True), client(False)), self.clock)


@contextmanager
def machine(at: datetime, **settings: Any) -> Iterator[Machine]:
    with time_machine.travel(at, tick=False) as traveller:
        yield Machine(
            fakeredis.FakeServer(), VirtualClock(traveller), Settings.model_validate(settings)
        )


def lives(run_whole: Callable[[Life], None]) -> Iterator[Life]:
    """Every life that ends in the middle of ``run_whole``, told by one that does not."""
    whole = Life()
    run_whole(whole)
    assert whole.count > 1
    for after_it in (False, True):
        for dies_at in range(1, whole.count + 1):
            yield Life(dies_at, after_it)
