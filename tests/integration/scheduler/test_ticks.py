"""rq-scheduler as the ticker on a real Redis: registered once, mended, never piled up."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import time_machine
from rq import SimpleWorker
from rq.job import Job

from app.core import doorbell, keys, schedules
from app.core import platform as platforms
from app.core.platform import Platform
from scheduler import fires
from scheduler.ticker import LOCK_MS, SWEEP_TIMEOUT_S, TIMEOUT_S, Ticker, job_id
from tests.support.world import ledger, new_workspace, real_platform


@pytest.fixture
def platform(real_redis: redis.Redis) -> Iterator[Platform]:
    port = real_redis.connection_pool.connection_kwargs["port"]
    with real_platform(f"redis://127.0.0.1:{port}/0") as here:
        yield here


def waiting_jobs(platform: Platform) -> list[str]:
    return list(doorbell.queue(platform, doorbell.CONTROL).job_ids)


def stands(platform: Platform, name: str) -> float:
    found: Any = platform.clients.control.zscore(Ticker.scheduled_jobs_key, job_id(name))
    return float(found)


def test_any_number_of_boots_leaves_one_job_of_each_kind(platform: Platform) -> None:
    for _ in range(3):
        ticker = Ticker(platform)
        ticker.register()
    rows = platform.clients.control.zrange(Ticker.scheduled_jobs_key, 0, -1)
    assert sorted(rows) == ["tick-fire-due", "tick-reap", "tick-sweep"]
    for row in rows:
        job = Job.fetch(row, connection=platform.clients.rq)
        assert job.result_ttl == -1, "anything else deletes a periodic job after its first run"
        assert job.origin == doorbell.CONTROL
        assert job.timeout == (SWEEP_TIMEOUT_S if row == "tick-sweep" else TIMEOUT_S)


def test_ticks_do_not_pile_up_while_no_worker_takes_them(platform: Platform) -> None:
    ticker = Ticker(platform)
    for _ in range(5):
        ticker.register()  # due at once, again
        assert ticker.tick()
    assert sorted(waiting_jobs(platform)) == ["tick-fire-due", "tick-reap", "tick-sweep"]


@pytest.mark.parametrize("fraction_ms", [0, 1, 300, 999])
def test_a_tick_of_a_second_comes_with_every_pass_wherever_in_the_second_that_is(
    platform: Platform, fraction_ms: int
) -> None:
    queue = doorbell.queue(platform, doorbell.CONTROL)
    begins = datetime(2026, 3, 1, 12, 0, 0, fraction_ms * 1000, tzinfo=UTC)
    with time_machine.travel(begins, tick=False) as traveller:
        ticker = Ticker(platform)
        ticker.register()
        came = []
        for _ in range(30):
            ticker.tick()
            came.append("tick-reap" in queue.job_ids)
            platform.clients.rq.delete(queue.key)
            traveller.shift(1.004)
    assert came == [True] * 30


def test_a_tick_outlives_its_run_and_comes_again(platform: Platform) -> None:
    platforms.use(platform)
    ticker = Ticker(platform)
    for _ in range(2):
        ticker.register()
        ticker.tick()
        worker = SimpleWorker(
            [doorbell.queue(platform, doorbell.CONTROL)], connection=platform.clients.rq
        )
        worker.work(burst=True, logging_level="WARNING")
        assert waiting_jobs(platform) == []
        assert set(platform.clients.control.hgetall(keys.TICKS)) == {"fire_due", "reap", "sweep"}
        platform.clients.control.delete(keys.TICKS, "tk:sweep:hold")


def test_a_kill_within_a_pass_loses_no_tick_and_holds_the_others_three_seconds(
    platform: Platform,
) -> None:
    class Killed(Ticker):
        """Dies after it has said when the job is due again."""

        def get_queue_for_job(self, job: Job) -> Any:
            raise SystemExit

    victim = Killed(platform)
    victim.register()
    with pytest.raises(SystemExit):
        victim.tick()
    assert platform.clients.control.zcard(Ticker.scheduled_jobs_key) == 3
    assert not Ticker(platform).tick(), "its lock stands"
    assert 0 < platform.clients.control.pttl(Ticker.scheduler_lock_key) <= LOCK_MS


def test_ticks_that_redis_lost_or_that_a_clock_moved_away_are_registered_again(
    platform: Platform,
) -> None:
    ticker = Ticker(platform)
    ticker.register()
    now = datetime.now(UTC).timestamp()
    rows = Ticker.scheduled_jobs_key
    platform.clients.control.zadd(rows, {"tick-reap": now + 3600})  # set back by an hour
    platform.clients.control.zrem(rows, "tick-sweep")
    platform.clients.control.delete("rq:job:tick-fire-due")
    ticker.tick()
    assert sorted(waiting_jobs(platform)) == ["tick-reap", "tick-sweep"]
    assert stands(platform, "workers.jobs.reap") <= now + 2
    ticker.tick()
    assert sorted(waiting_jobs(platform)) == ["tick-fire-due", "tick-reap", "tick-sweep"]


def test_two_schedulers_at_once_make_each_fire_once(platform: Platform) -> None:
    names = [new_workspace(platform, f"w{n}") for n in range(20)]
    nominal = platform.now_ms() - 10_000
    for name in names:
        for number in range(10):
            made = schedules.create(
                platform,
                name,
                {"name": str(number), "cron_expr": "* * * * *", "timezone": "UTC", "prompt": "p"},
            )
            platform.clients.data.zadd(keys.of(name)["due"], {made.id: nominal})
            schedules.hint_due(platform, made, nominal)
    start = threading.Barrier(2)
    counts: list[int] = []

    def scheduler() -> None:
        start.wait()
        counts.append(fires.fire_due(platform, lambda cron, zone, after: after + 2_000))

    threads = [threading.Thread(target=scheduler) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = {row for name in names for row in ledger(platform, name)}
    made = sum(int(platform.clients.data.hget(keys.of(n)["stats"], "CRON_QUEUED")) for n in names)
    assert made == len(rows) == sum(counts)
    assert len(rows) >= 200 * 6, "six nominal times each"
    for name in names:
        waiting = platform.clients.data.xlen(keys.of(name)["lane_cron"])
        assert waiting == len(ledger(platform, name))
