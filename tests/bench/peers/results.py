"""What a peer's processes told, and what can be read from it; nothing here measures."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple


class Item(NamedTuple):
    """One item of a key as a process told of it; for a sender: sent, and the call returned."""

    key: int
    at: int
    begun_ns: int
    ended_ns: int


class OutOfOrder(Exception):
    """A key's items did not run once each, in order, one at a time; the message names the first."""


class Disorder(NamedTuple):
    """How far a run was from one at a time and in order."""

    early_count: int  # items that began before one that was sent earlier
    at_once: int  # of one key


def read(line: str) -> Item:
    """``key at begun_ns ended_ns``; raises ValueError for anything else."""
    key, at, begun_ns, ended_ns = map(int, line.split())
    return Item(key, at, begun_ns, ended_ns)


def by_key(items: Iterable[Item]) -> dict[int, list[Item]]:
    """Each key's items in the order in which they began."""
    found: dict[int, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda one: (one.begun_ns, one.at)):
        found[item.key].append(item)
    return found


def check_order(items: Iterable[Item], keys: int, count: int) -> None:
    """Each key's items once each, in the order of sending, each ended before the next began."""
    found = by_key(items)
    if len(found) != keys:
        raise OutOfOrder(f"{len(found)} of {keys} keys ran")
    for key, ran in found.items():
        if len(ran) != count:
            raise OutOfOrder(f"key {key}: {len(ran)} of {count} items ran")
        for place, item in enumerate(ran):
            if item.at != place:
                raise OutOfOrder(f"key {key}: item {item.at} began as number {place}")
        for before, item in pairwise(ran):
            if item.begun_ns < before.ended_ns:
                raise OutOfOrder(f"key {key}: {item.at} began before {before.at} had ended")


def disorder(items: Iterable[Item]) -> Disorder:
    """The same without refusing, for what promises neither."""
    early = most = 0
    for ran in by_key(items).values():
        behind = len(ran)  # the earliest sent of those that began later
        for item in reversed(ran):
            early += item.at > behind
            behind = min(behind, item.at)
        ends: list[int] = []
        for item in ran:
            ends = [end for end in ends if end > item.begun_ns] + [item.ended_ns]
            most = max(most, len(ends))
    return Disorder(early, most)


def rate(items: list[Item]) -> float:
    """Items per second, from the first that began to the last that ended."""
    begun = min(one.begun_ns for one in items)
    return len(items) / (max(one.ended_ns for one in items) - begun) * 1e9


def waits_s(sent: Iterable[Item], ran: Iterable[Item]) -> list[float]:
    """Seconds from the call that sent each item until it began."""
    began = {(one.key, one.at): one.begun_ns for one in ran}
    return [(began[one.key, one.at] - one.begun_ns) / 1e9 for one in sent]


def gaps_s(items: Iterable[Item]) -> list[float]:
    """Seconds from the end of a key's item until its next one began."""
    return [
        (later.begun_ns - before.ended_ns) / 1e9
        for ran in by_key(items).values()
        for before, later in pairwise(ran)
    ]
