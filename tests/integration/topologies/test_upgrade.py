"""A rolling deploy: two releases on one store, and a store that this release does not know."""

import json
from collections.abc import Iterator

import pytest

from app.core import doorbell, invariants, keys, platform, schedules, schema, snapshots
from app.core.errors import UnknownSchema
from app.core.settings import Settings
from tests.integration.topologies.flow import platform_of
from tests.support import servers
from tests.support.kernel import Kernel
from tests.support.servers import RedisServer
from workers import worker

LATER = {"added_later": {"by": "a newer release"}}


@pytest.fixture
def server(one_binary: str) -> Iterator[RedisServer]:
    with servers.redis_server(one_binary) as made:
        yield made


@pytest.fixture
def kernel(server: RedisServer) -> Iterator[Kernel]:
    with platform_of(server.url) as here:
        made = Kernel(here).create()
        made.beat()
        yield made


def add_later(kernel: Kernel, name: str) -> None:
    """What a newer release would have written beside what this one knows."""
    for record_id, text in kernel.data.hgetall(kernel.keys[name]).items():
        kernel.data.hset(kernel.keys[name], record_id, json.dumps({**json.loads(text), **LATER}))


def test_what_a_newer_release_adds_to_a_record_survives_this_one(kernel: Kernel) -> None:
    schedule = kernel.scheduled()
    add_later(kernel, "schedules")
    kernel.fire(schedule, kernel.make_due(schedule, kernel.now_ms() - 1))
    turn_id = kernel.submit().turn_id
    kernel.data.hset(kernel.keys["workspace"], "added_later", "1")
    add_later(kernel, "turns")
    for _ in range(2):
        session = kernel.claimed().session
        add_later(kernel, "sessions")
        kernel.bind(session)
        kernel.start(kernel.taken().session)
        kernel.beat()
        kernel.finish(session)
    assert kernel.turn(turn_id).state == "completed"
    for name in ("turns", "sessions", "schedules"):
        for text in kernel.data.hvals(kernel.keys[name]):
            assert json.loads(text)["added_later"] == LATER["added_later"], name
    assert kernel.field("added_later") == "1"
    schedules.change(kernel.platform, kernel.id, schedule.id, {"prompt": "another"})
    assert "added_later" in kernel.data.hget(kernel.keys["schedules"], schedule.id)
    assert invariants.check(snapshots.read(kernel.platform, kernel.id)) == []


def test_two_releases_of_one_script_run_side_by_side(kernel: Kernel) -> None:
    """Each process names its own by what it contains; neither overwrites the other's."""
    other = kernel.altered("submit", "emit('MESSAGE_QUEUED'", "emit('MESSAGE_QUEUED'--[[other]]")
    for _ in range(3):
        kernel.submit()
        other.submit()
    kernel.data.script_flush()  # as after a failover: a replica need not know the scripts
    other.submit()
    kernel.submit()
    assert len(kernel.events("MESSAGE_QUEUED")) == 8


def test_a_job_of_another_release_is_put_away_and_the_next_one_runs(
    kernel: Kernel, capfd: pytest.CaptureFixture[str]
) -> None:
    queue = doorbell.queue(kernel.platform, doorbell.CONTROL)
    strange = queue.enqueue("workers.jobs.of_a_newer_release", failure_ttl=60)
    queue.enqueue("workers.jobs.sweep", result_ttl=0)
    platform.use(kernel.platform)
    made = worker.make_worker(kernel.platform, doorbell.CONTROL)
    made.work(burst=True, with_scheduler=False, logging_level="WARNING")
    assert strange.get_status() == "failed"
    assert kernel.data.get("tk:sweep:hold"), "the sweep ran"
    assert not queue.count
    capfd.readouterr()


@pytest.mark.parametrize("side", ["data", "control"])
def test_an_unknown_schema_is_refused_with_a_sentence(one_binary: str, side: str) -> None:
    with servers.redis_server(one_binary) as data, servers.redis_server(one_binary) as control:
        with (data if side == "data" else control).client() as client:
            client.set(keys.SCHEMA, "99")
        with platform_of(data.url, control_url=control.url) as here:
            with pytest.raises(UnknownSchema, match="carries schema 99, this release knows 1"):
                schema.ensure(here.clients)
            settings = Settings.model_validate(
                {"redis_url": data.url, "control_url": control.url, "log_format": "json"}
            )
            assert "schema 99" in str(schema.check_now(settings))
            assert worker.work(settings, doorbell.CONTROL) == 1
