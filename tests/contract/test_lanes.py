"""The order in which claims take turns: priority, aging, first in first out, returned first."""

from app.core import workspaces
from app.core.states import LANES
from tests.contract.conftest import PAUSE_MS, Pass
from tests.support import invariants
from tests.support.kernel import Kernel


def serve(kernel: Kernel) -> str:
    """Claim and finish the next turn; returns its id."""
    claim = kernel.claimed()
    invariants.check(kernel)
    kernel.finish(claim.session)
    invariants.check(kernel)
    return claim.turn.id


def test_claim_serves_lanes_by_strict_priority_and_each_first_in_first_out(kernel: Kernel) -> None:
    ids = {lane: [] for lane in LANES}  # type: dict[str, list[str]]
    for _ in range(2):
        for lane in reversed(LANES):
            ids[lane].append(kernel.submit(lane=lane).turn_id)
    served = [serve(kernel) for _ in range(10)]
    assert served == [turn_id for lane in LANES for turn_id in ids[lane]]
    invariants.check_empty(kernel)


def test_claim_serves_first_what_waits_longer_than_its_lane_may(
    kernel: Kernel, pass_ms: Pass
) -> None:
    patient, hasty = kernel, kernel.tuned(lane_max_wait_s=0.03)
    info = hasty.submit(lane="info").turn_id
    cron = patient.submit(lane="cron").turn_id
    pass_ms(31)
    chat = hasty.submit(lane="chat").turn_id
    assert [serve(kernel) for _ in range(3)] == [info, chat, cron]


def test_claim_of_two_overdue_lanes_serves_the_longest_waiting(
    kernel: Kernel, pass_ms: Pass
) -> None:
    hasty = kernel.tuned(lane_max_wait_s=0.01)
    info = hasty.submit(lane="info").turn_id
    pass_ms(5)
    urgent = hasty.submit(lane="urgent").turn_id
    pass_ms(12)
    assert [serve(kernel) for _ in range(2)] == [info, urgent]


def test_control_without_aging_chat_starves_the_info_lane(kernel: Kernel, pass_ms: Pass) -> None:
    hasty = kernel.tuned(lane_max_wait_s=0.01)
    info = hasty.submit(lane="info").turn_id
    pass_ms(12)
    hasty.submit(lane="chat")
    strict = kernel.altered("claim", "return overdue or first", "return first")
    assert strict.claimed().turn.id != info


def test_claim_serves_a_handed_back_turn_before_the_newer_ones_in_its_old_place(
    kernel: Kernel,
) -> None:
    workspaces.change(kernel.platform, kernel.id, {"max_concurrent": 2})
    first, second, third = (kernel.submit().turn_id for _ in range(3))
    one, two = kernel.claimed().session, kernel.claimed().session
    assert kernel.release(two) == "queued"
    invariants.check(kernel)
    assert kernel.release(one) == "queued", "given back in the other order"
    assert [serve(kernel) for _ in range(3)] == [first, second, third]


def test_claim_serves_a_lost_turn_first_once_its_pause_is_over(
    kernel: Kernel, pass_ms: Pass
) -> None:
    first, second, third = (kernel.submit().turn_id for _ in range(3))
    kernel.release(kernel.claimed().session, counts=True)
    assert serve(kernel) == second, "its pause holds nobody up"
    pass_ms(PAUSE_MS + 1)
    assert [serve(kernel) for _ in range(2)] == [first, third]
    invariants.check_empty(kernel)


def test_claim_of_a_higher_lane_still_goes_before_a_returned_turn(kernel: Kernel) -> None:
    chat = kernel.submit(lane="chat").turn_id
    kernel.release(kernel.claimed().session)
    urgent = kernel.submit(lane="urgent").turn_id
    assert [serve(kernel) for _ in range(2)] == [urgent, chat]


def test_claim_never_trims_a_lane_however_long_it_is(kernel: Kernel) -> None:
    small = kernel.tuned(events_kept=100, turns_kept=10)
    sent = [small.submit().turn_id for _ in range(250)]
    assert kernel.data.xlen(kernel.keys["lane_chat"]) == 250
    served = []
    for _ in sent:
        claim = small.claimed()
        served.append(claim.turn.id)
        small.finish(claim.session)
    assert served == sent
    invariants.check_empty(kernel)
    assert len(kernel.data.hgetall(kernel.keys["turns"])) == 10
