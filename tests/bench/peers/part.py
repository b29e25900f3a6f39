"""The rows of ``--part peers``: ours, the raw loop and each peer, a run of each in turn."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import redis

from app.core import workspaces
from app.core.platform import Platform
from tests.bench import clocks, floor, ours, together
from tests.bench.floor import ITEMS, KEYS, RAW_LOOP
from tests.bench.peers import driving, installing, results
from tests.bench.peers.driving import Work
from tests.bench.peers.known import PEERS, Peer, why_not

if TYPE_CHECKING:
    from tests.bench.__main__ import Table

SAME = Work(KEYS, ITEMS)
HELD = Work(1, 100, hold_ms=5)  # what runs two of a key at once is seen
IDLE = Work(20, 11, gap_ms=10)
GATED, SENT, WAITED, NEXT = "work", "sent", "send to start, idle", "end to next start"
HTTP_S = 2

Found = dict[str, list[Any]]


def beside_others(table: Table, url: str) -> None:
    """Measure in turns, print afterwards; a peer that cannot run says why, the others go on."""
    there = installing.install()
    able = []
    for peer in PEERS:
        if reason := why_not(peer, there):
            table.tell(peer.name, reason)
        else:
            able.append(peer)
            told = ", ".join(f"{name} {there.versions[name]}" for name in peer.needs)
            table.tell(f"{peer.name}: versions", told)
    own, theirs = Found(), {peer: Found() for peer in able}
    here, raw = ours.platform(url), redis.Redis.from_url(url, protocol=2)
    for number in range(table.runs):
        print(f"run {number + 1} of {table.runs}", file=sys.stderr, flush=True)
        for name, measure in own_rows(here, raw, url).items():
            raw.flushall()
            own.setdefault(name, []).append(measure())
        for peer in able:
            if peer in theirs and not _measure(table, peer, raw, url, theirs[peer]):
                del theirs[peer]
    raw.flushall()
    here.clients.close()
    raw.close()
    _put(table, own, theirs)


def own_rows(
    here: Platform, raw: redis.Redis, url: str
) -> dict[str, Callable[[], float | list[float]]]:
    """What is measured of the raw loop and of us, by the row's name."""
    return {
        "raw XADD": lambda: floor.raw_xadd(raw),
        RAW_LOOP: lambda: floor.raw_loop(raw),
        "raw loop, two processes": lambda: together.raw_loop(url),
        "Turnkeeper, gated": partial(together.claim_finish_rate, here, 2),
        "Turnkeeper: sent": lambda: ours.submit_rate(here),
        "Turnkeeper: sent over HTTP, 32 clients": lambda: _accepted(here, url),
        f"Turnkeeper: {WAITED}": lambda: ours.idle_latencies(here),
        f"Turnkeeper: {NEXT}": lambda: clocks.freed_to_delivered(here),
    }


def _accepted(here: Platform, url: str) -> float:
    with ours.web(url) as (port, _):
        workspaces.create(here, "bench-http", {})
        ours.pretend_to_dispatch(here)
        path = "/workspaces/bench-http/a2a"
        return len(ours.http_load(port, path, ours.message_send, HTTP_S)) / HTTP_S


def _measure(table: Table, peer: Peer, raw: redis.Redis, url: str, found: Found) -> bool:
    """One run of each kind of work; False where the peer is out, which the table then tells."""
    runs = {}
    for work in (SAME, HELD, IDLE):
        raw.flushall()
        try:
            runs[work] = driving.run(peer, url, work)
            if peer.gate:
                results.check_order(runs[work].ran, work.keys, work.items)
        except driving.NotFinished as reason:
            table.tell(peer.name, str(reason))
            return False
        except results.OutOfOrder as fault:
            table.tell(peer.name, f"its order did not hold: {fault}")
            table.faults.append(f"{peer.name}: its order did not hold: {fault}")
            return False
    later = [one for one in runs[IDLE].sent if one.at]  # the first of each key makes its queue
    for name, value in {
        GATED: results.rate(runs[SAME].ran),
        SENT: results.rate(runs[SAME].sent),
        WAITED: results.waits_s(later, runs[IDLE].ran),
        NEXT: results.gaps_s(runs[HELD].ran),
        "disorder": results.disorder(runs[HELD].ran),
    }.items():
        found.setdefault(name, []).append(value)
    return True


def _put(table: Table, own: Found, theirs: dict[Peer, Found]) -> None:
    sent_raw, waited, following = "raw XADD", f"Turnkeeper: {WAITED}", f"Turnkeeper: {NEXT}"
    table.put(RAW_LOOP, "/s", own[RAW_LOOP])
    for name in ("raw loop, two processes", "Turnkeeper, gated"):
        table.put(name, "/s", own[name], RAW_LOOP)
    for peer, found in theirs.items():
        table.put(peer.name, "/s", found[GATED], RAW_LOOP)
    for peer, found in theirs.items():
        if not peer.gate:
            table.tell(f"{peer.name}: order", _disorder(found["disorder"]))
    table.put(sent_raw, "/s", own[sent_raw])
    for name in ("Turnkeeper: sent", "Turnkeeper: sent over HTTP, 32 clients"):
        table.put(name, "/s", own[name], sent_raw)
    for peer, found in theirs.items():
        way = " over HTTP, 32 clients" if peer.is_restate else ""
        table.put(f"{peer.name}: {SENT}{way}", "/s", found[SENT], sent_raw)
    table.put_latencies(waited, _ms(own[waited]))
    for peer, found in theirs.items():
        table.put_latencies(f"{peer.name}: {WAITED}", _ms(found[WAITED]), waited)
    table.put_latencies(following, _ms(own[following]))
    for peer, found in theirs.items():
        if peer.gate:
            table.put_latencies(f"{peer.name}: {NEXT}", _ms(found[NEXT]), following)


def _ms(runs: list[list[float]]) -> list[list[float]]:
    return [[wait_s * 1000 for wait_s in waits] for waits in runs]


def _disorder(found: list[results.Disorder]) -> str:
    """The worst run, in words."""
    at_once, early = max(one.at_once for one in found), max(one.early_count for one in found)
    return f"up to {at_once} of a key at once, {early} of {HELD.total} items before an earlier one"
