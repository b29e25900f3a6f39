"""How busy the processes of a measurement were, in percent of one core."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psutil
import redis

REDIS = "Redis' main thread"


class Busy:
    """What each group of processes used between two looks, seconds of processor: ``spent_s``."""

    def __init__(self, url: str) -> None:
        with redis.Redis.from_url(url, protocol=2) as client:
            self._server = psutil.Process(int(client.info("server")["process_id"]))
        self.spent_s: dict[str, float] = {}
        self.took_s = 0.0

    @property
    def shares(self) -> dict[str, float]:
        """In percent of one core."""
        return {name: 100 * spent / self.took_s for name, spent in self.spent_s.items()}

    @contextmanager
    def over(self, groups: Mapping[str, Sequence[int]]) -> Iterator[None]:
        """``groups``: process ids by name; what a name spent is what all its processes did."""
        found = {name: [psutil.Process(pid) for pid in pids] for name, pids in groups.items()}
        before, began = self._spent(found), time.perf_counter()
        yield
        self.took_s = time.perf_counter() - began
        after = self._spent(found)
        self.spent_s = {name: after[name] - before[name] for name in after}

    def _spent(self, groups: Mapping[str, Sequence[psutil.Process]]) -> dict[str, float]:
        """Seconds of processor time; of Redis only the thread that serves."""
        threads = {one.id: one for one in self._server.threads()}
        main = threads[self._server.pid]
        spent = {REDIS: main.user_time + main.system_time}
        for name, processes in groups.items():
            times = [one.cpu_times() for one in processes]
            spent[name] = sum(one.user + one.system for one in times)
        return spent
