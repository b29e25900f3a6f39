"""The filters of the fleet's table: ``state:running waiting:>2 age:>1h name``. Pure."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.core.fleet import Row

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_BOUND = re.compile(r"(>=|<=|>|<|=)?(\d{1,9}(?:\.\d{1,3})?)([smhd])?", re.ASCII)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "": operator.eq,
}
STATES = ("running", "idle", "waiting", "online", "degraded", "offline", "paused")
# What is compared, per word; ages and waits in seconds.
FIGURES: Mapping[str, Callable[[Row, int], float]] = {
    "waiting": lambda row, _: row.workspace.depth,
    "fires": lambda row, _: row.waiting_fires,
    "dead": lambda row, _: row.dead_letters,
    "age": lambda row, now: max((now - one.claimed_at for one in row.sessions), default=0) / 1000,
    "wait": lambda row, _: row.oldest_wait_ms / 1000,
}
RULE = (
    "words such as state:running waiting:>2 age:>1h wait:>10m fires:>=3 dead:>0, or part of a name"
)


@dataclass(frozen=True)
class Filter:
    """What was asked for; ``fault`` says which word was not understood, and the rule."""

    tests: Sequence[Callable[[Row, int], bool]]
    fault: str = ""

    def passes(self, row: Row, now: int) -> bool:
        """Whether a row is shown."""
        return all(test(row, now) for test in self.tests)


def parse(text: str) -> Filter:
    """What a person typed; a word that is not understood filters nothing and is told."""
    tests, faults = [], []
    for word in text.split():
        name, colon, value = word.partition(":")
        test = _test(name.lower(), value.lower()) if colon else _named(word.lower())
        if test is None:
            faults.append(word)
        else:
            tests.append(test)
    told = f"not understood: {', '.join(faults)}. Use {RULE}." if faults else ""
    return Filter(tests, told)


def _named(part: str) -> Callable[[Row, int], bool]:
    return lambda row, _: part in row.name.lower() or part in row.workspace.id.lower()


def _test(name: str, value: str) -> Callable[[Row, int], bool] | None:
    if name == "state":
        return _state(value) if value in STATES else None
    bound = _BOUND.fullmatch(value)
    if name not in FIGURES or bound is None:
        return None
    figure, compare = FIGURES[name], _COMPARE[bound[1] or ""]
    limit = float(bound[2]) * _UNIT_S.get(bound[3] or "s", 1)
    return lambda row, now: compare(figure(row, now), limit)


def _state(value: str) -> Callable[[Row, int], bool]:
    if value == "running":
        return lambda row, _: row.workspace.live_count > 0
    if value == "idle":
        return lambda row, _: not row.workspace.live_count
    if value == "waiting":
        return lambda row, _: row.workspace.depth > 0
    return lambda row, _: row.workspace.status == value
