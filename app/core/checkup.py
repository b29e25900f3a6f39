"""The checks of ``turnkeeper doctor`` and of the health page: what is well, what is not, what next.

Each reads facts and decides; nothing is changed.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from app.core import doorbell, invariant_reports, keys, schema
from app.core.platform import Platform
from app.core.why import span

OK, WARN, FAIL = "ok", "warn", "fail"
REDIS_MIN = (6, 2)
SKEW_MS = 2_000
JOBS_MAX = 100
NEXT = {
    "redis": "start Redis, or correct REDIS_URL",
    "version": "use Redis 6.2 or newer, or Valkey",
    "eviction": "set maxmemory-policy to noeviction: anything else drops turns without a word",
    "persistence": "turn the append-only file on (appendonly yes), or accept losing what a "
    "restart of Redis forgets",
    "schema": "run the release that wrote this store, or point REDIS_URL at another database",
    "clock": "set this machine's clock (NTP); the platform itself uses Redis's",
    "scheduler": "start the scheduler process; what was due is made up for",
    "reaper": "start a worker process for the control queue",
    "sweep": "start a worker process for the control queue",
    "dispatch": "start a worker process for the dispatch queue",
    "jobs": "workers are behind or gone: start more, look at their logs",
    "invariants": "look at GET /admin/invariants and at the operations page",
}


@dataclass(frozen=True)
class Check:
    """One check. ``next``: what to do about it; empty while it is well."""

    name: str
    status: str
    detail: str
    next: str = ""


def run(platform: Platform) -> list[Check]:
    """Every check. A check that could not be made says so, and is no success."""
    try:
        platform.clients.data.ping()
        platform.clients.control.ping()
    except RedisError as error:
        return [_bad("redis", FAIL, f"Redis does not answer: {error}")]
    found = [Check("redis", OK, "both sides answer")]
    for name, check in (
        ("version", _version),
        ("eviction", _eviction),
        ("persistence", _persistence),
        ("schema", _schema),
        ("clock", _clock),
        ("workers", _workers),
        ("invariants", _invariants),
    ):
        found += _made(name, check, platform)
    return found


def _made(
    name: str, check: Callable[[Platform], Iterator[Check]], platform: Platform
) -> list[Check]:
    try:
        return list(check(platform))
    except RedisError as error:  # managed servers refuse CONFIG and INFO
        return [Check(name, WARN, f"not known: {error}", "ask whoever runs this Redis")]


def _bad(name: str, status: str, detail: str) -> Check:
    return Check(name, status, detail, NEXT[name])


def _version(platform: Platform) -> Iterator[Check]:
    info: dict[str, Any] = platform.clients.data.info("server")
    text = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    is_good = numbers >= REDIS_MIN
    yield Check("version", OK, f"Redis {text}") if is_good else _bad("version", FAIL, text)


def _eviction(platform: Platform) -> Iterator[Check]:
    policy = str(platform.clients.data.info("memory").get("maxmemory_policy", "not known"))
    is_good = policy == "noeviction"
    yield Check("eviction", OK, policy) if is_good else _bad("eviction", FAIL, policy)


def _persistence(platform: Platform) -> Iterator[Check]:
    info: dict[str, Any] = platform.clients.data.info("persistence")
    if not info.get("aof_enabled"):
        yield _bad("persistence", WARN, "the append-only file is off")
    elif info.get("aof_last_write_status") != "ok":
        yield _bad("persistence", FAIL, "the last write of the append-only file failed")
    else:
        yield Check("persistence", OK, "append-only file on")


def _schema(platform: Platform) -> Iterator[Check]:
    found = platform.clients.control.get(keys.SCHEMA)
    text = f"store {found}, this release {schema.VERSION}"
    is_good = found in (None, schema.VERSION)
    yield Check("schema", OK, text) if is_good else _bad("schema", FAIL, text)


def _clock(platform: Platform) -> Iterator[Check]:
    skew_ms = abs(int(time.time() * 1000) - platform.now_ms())
    text = f"{skew_ms} ms apart from Redis"
    yield Check("clock", OK, text) if skew_ms < SKEW_MS else _bad("clock", WARN, text)


def _workers(platform: Platform) -> Iterator[Check]:
    control, now = platform.clients.control, platform.now_ms()
    ticks = {job: int(at) for job, at in control.hgetall(keys.TICKS).items()}
    sweep_s = platform.settings.sweep_interval_s
    for name, job, limit_s in (
        ("scheduler", "fire_due", 15.0),
        ("reaper", "reap", 15.0),
        ("sweep", "sweep", 15.0 + 3 * sweep_s),
    ):
        at = ticks.get(job)
        ago = "never" if at is None else f"{span(max(0, now - at) / 1000)} ago"
        text = f"last ran {ago} (limit {span(limit_s)})"
        is_good = at is not None and now - at <= limit_s * 1000
        yield Check(name, OK, text) if is_good else _bad(name, FAIL, text)
    alive = platform.run_control("dispatcher", slice_id="", ttl_ms=0)[1]
    text = f"{alive} dispatch slice{'' if alive == 1 else 's'} running"
    yield Check("dispatch", OK, text) if alive else _bad("dispatch", FAIL, text)
    waiting = {name: doorbell.queue(platform, name).count for name in doorbell.QUEUES}
    text = ", ".join(f"{name} {count}" for name, count in waiting.items())
    is_good = max(waiting.values()) < JOBS_MAX
    yield Check("jobs", OK, text) if is_good else _bad("jobs", WARN, text)


def _invariants(platform: Platform) -> Iterator[Check]:
    last = invariant_reports.current_round(platform)
    text = f"{last.violations} violation{'' if last.violations == 1 else 's'}"
    yield Check("invariants", OK, text) if not last.violations else _bad("invariants", FAIL, text)
