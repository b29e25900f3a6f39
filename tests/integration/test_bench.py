"""What the bench measures still works, and checks what it says it checks; nothing of time."""

from collections.abc import Iterator

import pytest
import redis

from app.core import events, turns, workspaces
from app.core.platform import Platform
from tests.bench import incident, ours, rounds, scale, scaleout, soak, together
from tests.bench.peers import part
from tests.support import servers


@pytest.fixture
def here() -> Iterator[Platform]:
    binary = servers.binary_7() or servers.binary_62()
    assert binary is not None
    with servers.redis_server(binary) as server:
        platform = ours.platform(server.url)
        yield platform
        platform.clients.close()


def test_two_worker_processes_serve_all_in_order(here: Platform) -> None:
    assert together.claim_finish_rate(here, 2) > 0


def test_control_a_turn_claimed_before_the_one_ahead_has_ended_is_found(here: Platform) -> None:
    (workspace_id,) = ours.make_workspaces(here, 1)
    for _ in range(2):
        turns.submit(here, workspace_id, turns.Request(body={"text": "x"}))
    ours.serve_all(here, 2)
    told = events.after(here, workspace_id, "0-0", 50)
    together.check_order(told, 2)
    ended = next(at for at, one in enumerate(told) if one.event == "SESSION_ENDED")
    late = [*told[:ended], *told[ended + 1 :], told[ended]]
    with pytest.raises(AssertionError):
        together.check_order(late, 2)


def test_messages_and_heartbeats_are_taken_by_two_web_processes(here: Platform) -> None:
    told = scaleout.web(here, 2)
    assert told.rate > 0
    assert set(told.shares) == {"Redis' main thread", "web", "the load itself"}


def test_our_row_over_http_beside_others(here: Platform) -> None:
    with redis.Redis.from_url(here.settings.redis_url, protocol=2) as raw:
        rows = part.own_rows(here, raw, here.settings.redis_url)
        found = rows["Turnkeeper: sent over HTTP, 32 clients"]()
    assert isinstance(found, float) and found > 0


def test_a_held_workspace_is_served_in_order(here: Platform) -> None:
    told = incident.run(here, 0.3, behind=5)
    assert len(told.others_s) > 0
    assert told.drain_s >= told.release_s > 0


def test_rounds_go_over_every_workspace(here: Platform) -> None:
    scale.populate(here, 30)
    scale.populate(here, 10, first=30)
    assert len(list(workspaces.all_ids(here))) == 41
    found = rounds.measure(here, here.settings)
    assert found["sweep"].every_s == here.settings.sweep_interval_s
    assert all(one.worker_us > 0 for one in found.values())


def test_a_round_with_a_bound_takes_no_more_and_lasts_longer() -> None:
    free, bound = rounds.Round(800, 200, 10), rounds.Round(800, 200, 10, share_most=0.1)
    assert free.cores(1_000) == bound.cores(1_000) == (0.08, 0.02)
    assert free.cores(100_000) == (8.0, 2.0)
    assert bound.cores(100_000) == pytest.approx((0.1, 0.025))


def test_drift_is_the_last_quarter_beside_the_second() -> None:
    minutes = [
        soak.Minute(60.0 * at, 10, float(at), 20.0, {"web": 50.0 + at}, 5.0, 100, 0.0)
        for at in range(8)
    ]
    told = soak.drift(minutes)
    assert told["p50_ms"] == [2.5, 6.5]
    assert told["rss_mb"] == {"web": [52.5, 56.5]}
    assert told["p99_ms"] == [20.0, 20.0]
