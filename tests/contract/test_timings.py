"""Durations are counted by the scripts, in buckets whose bounds Python knows."""

import re

import pytest

from app.core import fleet, history, keys, timings
from app.core.records import Session
from tests.contract.conftest import Pass
from tests.support.kernel import WS, Kernel
from tests.support.lua_events import LUA


def test_script_and_reader_have_the_same_buckets() -> None:
    source = (LUA / "include/timing.lua").read_text()
    for name, bounds in timings.BUCKETS_MS.items():
        found = re.search(rf"{name} = {{([\d, ]+)}}", source)
        assert found, name
        assert tuple(int(part) for part in found[1].split(",")) == tuple(bounds)


def test_a_first_claim_counts_its_wait_and_an_end_its_session(
    kernel: Kernel, pass_ms: Pass
) -> None:
    turn_id = kernel.submit().turn_id
    pass_ms(300)
    claim = kernel.claimed()
    kernel.start(claim.session)
    pass_ms(1_500)
    kernel.finish(claim.session)
    found, turn = timings.read(kernel.platform, [WS]).of, kernel.turn(turn_id)
    session = kernel.session(claim.session.id)
    took_ms = {
        "wait": session.claimed_at - turn.accepted_at,
        "session": int(session.ended_at or 0) - session.claimed_at,
    }
    assert took_ms["wait"] >= 300 and took_ms["session"] >= 1_500
    for name, ms in took_ms.items():
        assert (found[name].total, found[name].sum_ms) == (1, ms)
        bound = next(bound for bound in timings.BUCKETS_MS[name] if bound >= ms)
        assert timings.quantile_ms(name, found[name].counts, 0.5) == bound


def test_a_second_attempt_waits_for_nothing_that_is_counted(kernel: Kernel) -> None:
    kernel.submit()
    first = kernel.claimed()
    kernel.bind(first.session)
    kernel.release(first.session)
    assert kernel.claimed().session.attempt > 1
    assert timings.read(kernel.platform, [WS]).of["wait"].total == 1


@pytest.mark.parametrize(
    ("counts", "share", "wanted"),
    [
        ([0] * 11, 0.5, None),
        ([1] + [0] * 10, 0.5, 10),
        ([99, 1] + [0] * 9, 0.99, 10),
        ([98, 2] + [0] * 9, 0.99, 50),
        ([0] * 10 + [5], 0.5, 21_600_000),
    ],
)
def test_a_quantile_is_the_bound_of_its_bucket(
    counts: list[int], share: float, wanted: int | None
) -> None:
    assert timings.quantile_ms("wait", counts, share) == wanted


def test_a_row_of_the_fleet_is_what_stands_there(kernel: Kernel, pass_ms: Pass) -> None:
    kernel.submit("one")
    kernel.submit("two")
    claim = kernel.claimed()
    kernel.start(claim.session)
    pass_ms(2_000)
    now = kernel.now_ms()
    (row,) = fleet.read(kernel.platform, [WS], now)
    assert (row.workspace.depth, row.workspace.live_count) == (1, 1)
    assert [one.id for one in row.sessions] == [claim.session.id]
    assert row.oldest_waiting is not None
    assert row.oldest_waiting.state == "queued"
    assert row.oldest_wait_ms == now - row.oldest_waiting.accepted_at >= 2_000
    assert (row.waiting_fires, row.dead_letters, row.next_fire_at) == (0, 0, None)
    assert fleet.read(kernel.platform, ["nobody"], now) == []


def test_what_stirs_is_an_open_turn_or_a_dead_letter(kernel: Kernel) -> None:
    def stirring() -> list[str]:
        return fleet.stirring(kernel.platform, ["nobody", WS])

    assert stirring() == []
    kernel.submit("waits")
    assert stirring() == [WS]
    claim = kernel.claimed()
    assert stirring() == [WS], "it runs"
    kernel.start(claim.session)
    kernel.finish(claim.session)
    assert stirring() == []
    kernel.dead_letter()
    assert stirring() == [WS]


def test_samples_are_kept_for_a_day_and_told_as_differences(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "KEPT", 3)
    kernel.platform.clients.control.zadd("tk:workspaces", {WS: 1})
    for _ in range(4):
        kernel.submit()
        kernel.finish(_begun(kernel))
        history.take(kernel.platform)
    samples = history.read(kernel.platform)
    assert len(samples) == 3
    assert [sum(one) for one in history.timing_growth(samples, "wait")] == [1, 1]
    assert history.growth(samples, "CRON_QUEUED") == [0, 0]
    assert samples[-1].running == 0


def test_others_are_served_between_the_pages_of_a_sample(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE", 2)
    kernel.platform.clients.control.zadd(keys.WORKSPACES, dict.fromkeys(["a", "b", WS], 1))
    kernel.submit()
    served: list[int] = []
    sample = history.take(kernel.platform, between=lambda: served.append(1))
    assert (sum(sample.waiting.values()), len(served)) == (1, 2)


def _begun(kernel: Kernel) -> Session:
    claim = kernel.claimed()
    kernel.start(claim.session)
    return claim.session
