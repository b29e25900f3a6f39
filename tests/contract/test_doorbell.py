"""ring, dispatcher, watch, overdue: the hints of the control side."""

from app.core import doorbell, keys
from tests.contract.conftest import PAUSE_MS, Pass
from tests.support.kernel import Kernel


def overdue(kernel: Kernel, limit: int = 10) -> list[str]:
    return kernel.platform.run_control("overdue", limit=limit, hold_ms=PAUSE_MS)[1:]


def ready(kernel: Kernel) -> list[str]:
    return list(kernel.platform.clients.control.zrange(keys.READY, 0, -1))


def dispatchers(kernel: Kernel, name: str, ttl_ms: int) -> int:
    return int(kernel.platform.run_control("dispatcher", slice_id=name, ttl_ms=ttl_ms)[1])


def test_ring_coalesces_and_keeps_the_order_of_the_first_rings(kernel: Kernel) -> None:
    kernel.platform.clients.control.delete(keys.READY)
    ring = [
        kernel.platform.run_control("ring", workspace_id=name)[0] for name in ("b", "a", "b", "c")
    ]
    assert ring == ["rung", "rung", "waiting", "rung"]
    assert ready(kernel) == ["b", "a", "c"]
    assert [doorbell.next_ready(kernel.platform, 0.01) for _ in range(3)] == ["b", "a", "c"]
    doorbell.ring(kernel.platform, "b")
    assert ready(kernel) == ["b"]


def test_ring_with_no_dispatcher_alive_enqueues_one_job_however_often(kernel: Kernel) -> None:
    assert dispatchers(kernel, "test", 0) == 0
    for name in ("a", "b", "c"):
        doorbell.ring(kernel.platform, name)
    assert doorbell.queue(kernel.platform, doorbell.DISPATCH).count == 1


def test_dispatcher_lease_ends_by_itself_by_its_owner_and_is_renewed(
    kernel: Kernel, pass_ms: Pass
) -> None:
    dispatchers(kernel, "test", 0)
    assert dispatchers(kernel, "one", PAUSE_MS) == 1
    assert dispatchers(kernel, "two", 5000) == 2
    assert dispatchers(kernel, "two", 0) == 1
    pass_ms(PAUSE_MS + 1)
    assert dispatchers(kernel, "three", 5000) == 1
    assert kernel.platform.run_control("ring", workspace_id="a")[1] == 1


def test_watch_keeps_the_earlier_of_two_looks(kernel: Kernel) -> None:
    def at() -> float:
        return float(kernel.platform.clients.control.zscore(keys.DEADLINES, "w"))

    doorbell.watch(kernel.platform, "w", 60)
    first = at()
    doorbell.watch(kernel.platform, "w", 90)
    assert at() == first
    doorbell.watch(kernel.platform, "w", 5)
    assert at() < first


def test_overdue_takes_what_is_due_and_gives_back_what_was_not_settled(
    kernel: Kernel, pass_ms: Pass
) -> None:
    control = kernel.platform.clients.control
    control.delete(keys.DEADLINES)
    doorbell.watch(kernel.platform, "now", 0)
    doorbell.watch(kernel.platform, "later", 60)
    assert overdue(kernel) == ["now"]
    assert overdue(kernel) == [], "taken"
    pass_ms(PAUSE_MS + 1)
    assert overdue(kernel) == ["now"], "its reaper died"
    control.zrem(keys.DEADLINES_TAKEN, "now")
    pass_ms(PAUSE_MS + 1)
    assert overdue(kernel) == [], "settled"
    assert control.zrange(keys.DEADLINES, 0, -1) == ["later"]


def test_overdue_takes_no_more_than_its_limit_the_longest_due_first(
    kernel: Kernel, pass_ms: Pass
) -> None:
    kernel.platform.clients.control.delete(keys.DEADLINES)
    for name in ("c", "b", "a"):
        doorbell.watch(kernel.platform, name, 0)
        pass_ms(2)
    assert overdue(kernel, 2) == ["c", "b"]
    assert overdue(kernel, 2) == ["a"]


def looks(kernel: Kernel) -> dict[str, float]:
    return dict(kernel.platform.clients.control.zrange(keys.DEADLINES, 0, -1, withscores=True))


def test_watch_all_tells_of_each_and_keeps_the_earlier_look_of_each(kernel: Kernel) -> None:
    kernel.platform.clients.control.delete(keys.DEADLINES)
    doorbell.watch(kernel.platform, "soon", 5)
    doorbell.watch(kernel.platform, "late", 90)
    soon, now = looks(kernel)["soon"], kernel.now_ms()
    doorbell.watch_all(kernel.platform, ["soon", "late", "new"], 60)
    after = looks(kernel)
    assert after["soon"] == soon
    assert after["late"] == after["new"]
    assert 0 <= after["new"] - now - 60_000 < 5_000


def test_to_the_back_stands_behind_all_that_wait_also_where_it_was_rung_meanwhile(
    kernel: Kernel,
) -> None:
    kernel.platform.clients.control.delete(keys.READY)
    for name in ("busy", "neighbour"):
        doorbell.ring(kernel.platform, name)
    doorbell.to_the_back(kernel.platform, ["busy", "other"])
    assert ready(kernel) == ["neighbour", "busy", "other"]


def test_several_rings_are_taken_in_their_order_and_never_twice(kernel: Kernel) -> None:
    kernel.platform.clients.control.delete(keys.READY)
    for name in "abc":
        doorbell.ring(kernel.platform, name)
    assert doorbell.next_ready_many(kernel.platform, 0.01, 2) == ["a", "b"]
    assert doorbell.next_ready_many(kernel.platform, 0.01, 2) == ["c"]
    assert doorbell.next_ready_many(kernel.platform, 0.01, 2) == []
