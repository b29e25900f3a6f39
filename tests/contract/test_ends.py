"""expire, and the ends of a fire: retries, redelivery, pause on failure; each names its limit."""

import pytest

from app.core import ledger, schedule_rows, schedules
from app.core.records import Session
from app.core.schedules import Schedule
from tests.contract.conftest import PAUSE_MS, Pass
from tests.support import invariants
from tests.support.kernel import Kernel


def begun(kernel: Kernel, schedule: Schedule) -> Session:
    """A session of a new fire, begun."""
    rows = kernel.ledger(schedule)
    nominal = rows[-1][0] + 1000 if rows else kernel.now_ms() - 3_600_000
    assert kernel.fire(schedule, nominal, "manual")[0] == "made"
    session = kernel.claimed().session
    kernel.start(session)
    return session


def newest(kernel: Kernel, schedule: Schedule) -> ledger.Fire:
    return ledger.fires(kernel.platform, kernel.id, schedule.id, 1)[0]


def stored(kernel: Kernel, schedule: Schedule) -> Schedule:
    return schedules.get(kernel.platform, kernel.id, schedule.id)


def test_expire_ends_what_waits_too_long_though_the_workspace_is_paused(
    kernel: Kernel, pass_ms: Pass
) -> None:
    kernel.data.hset(kernel.keys["workspace"], "paused_at", "1")
    soon, later = (kernel.submit(expires_in_s=life).turn_id for life in (0.05, 60))
    assert kernel.expire() is not None
    pass_ms(60)
    next_ms = kernel.expire()
    assert next_ms == kernel.turn(later).expires_at
    assert (kernel.turn(soon).state, kernel.turn(later).state) == ("expired", "queued")
    (told,) = kernel.events("TURN_EXPIRED")
    assert told["mechanism"] == "ttl"
    assert told["payload"]["limit_ms"] == 50 <= told["payload"]["measured_ms"]
    assert told["payload"]["setting"] == "expires_in_seconds"
    before = kernel.dump()
    kernel.expire()
    assert kernel.dump() == before, "twice is once"


def test_expire_does_so_many_at_once_and_says_that_more_are_due(kernel: Kernel) -> None:
    for _ in range(3):
        kernel.submit(expires_in_s=0)
    reply = kernel.run("expire", limit=2)
    assert reply[:2] == ["ok", 2]
    assert int(reply[2]) <= kernel.now_ms()
    assert kernel.run("expire", limit=2) == ["ok", 1, ""]
    invariants.check_empty(kernel)


def test_expire_of_a_fire_is_in_its_row_with_the_schedules_setting(
    kernel: Kernel, pass_ms: Pass
) -> None:
    schedule = kernel.scheduled(ttl_s=0.001)
    kernel.fire(schedule, kernel.make_due(schedule, kernel.now_ms() - 5))
    pass_ms(2)
    kernel.expire()
    row = newest(kernel, schedule)
    assert (row.state, row.setting, row.limit_ms) == ("expired", "schedule.ttl_s", 1)
    assert "schedule.ttl_s" in (row.why or "")


def test_what_has_begun_once_does_not_expire_while_it_waits_again(
    kernel: Kernel, pass_ms: Pass
) -> None:
    turn_id = kernel.submit(expires_in_s=0.05).turn_id
    session = kernel.claimed().session
    kernel.start(session)
    kernel.release(session)
    pass_ms(60)
    assert kernel.expire() is None
    assert kernel.claimed().turn.id == turn_id


def test_what_was_claimed_and_never_begun_expires_when_it_comes_back(
    kernel: Kernel, pass_ms: Pass
) -> None:
    turn_id = kernel.submit(expires_in_s=PAUSE_MS / 1000).turn_id
    kernel.release(kernel.claimed().session)
    pass_ms(PAUSE_MS + 10)
    kernel.expire()
    assert kernel.turn(turn_id).state == "expired"


@pytest.mark.parametrize("how", ["failed", "ceiling"])
def test_a_fire_that_ends_badly_is_queued_again_while_retries_are_left(
    how: str, kernel: Kernel, pass_ms: Pass
) -> None:
    schedule = kernel.scheduled(retries=1)
    session = begun(kernel, schedule)

    def end(session: Session) -> str:
        if how == "failed":
            return kernel.finish(session, "failed", text="sorry")
        assert kernel.reap(session, "ceiling")
        return kernel.turn(session.turn_id).state

    assert end(session) == "queued"
    if how == "failed":
        assert end(session) == "queued", "a repeat is answered as the first was"
        assert kernel.events("AGENT_MESSAGE")[-1]["payload"]["state"] == "failed"
    row = newest(kernel, schedule)
    assert (row.state, row.reason, row.attempt) == ("queued", "retry", 1)
    told = kernel.events("TURN_RETURNED")[-1]
    assert told["mechanism"] == "retry"
    facts = {"limit_count": 1, "measured_count": 1, "setting": "schedule.retries"}
    assert facts.items() <= told["payload"].items()
    assert told["payload"]["pause_ms"] == PAUSE_MS
    assert kernel.refused() == "backing_off"
    assert not kernel.events("CRON_EXECUTED")
    pass_ms(PAUSE_MS + 1)
    again = kernel.claimed().session
    assert again.attempt == 2
    assert again.fence > session.fence
    kernel.start(again)
    final = "failed" if how == "failed" else "force_idled"
    assert end(again) == final
    assert newest(kernel, schedule).state == final
    assert newest(kernel, schedule).attempt == 2
    assert len(kernel.events("CRON_EXECUTED")) == 1
    invariants.check_empty(kernel)


@pytest.mark.parametrize("how", ["operator", "cancel", "canceled", "yielded"])
def test_an_operators_end_and_a_cancel_are_never_retried(how: str, kernel: Kernel) -> None:
    schedule = kernel.scheduled(retries=5)
    session = begun(kernel, schedule)
    if how == "operator":
        assert kernel.reap(session, "operator")
    elif how == "cancel":
        kernel.ask(session, "cancel", "cancel", 0)
        kernel.finish(session, "failed")
    else:
        kernel.finish(session, how)
    states = {"operator": "force_idled", "cancel": "failed"}
    assert kernel.turn(session.turn_id).state == states.get(how, how)


def test_control_without_the_check_a_fire_is_retried_for_ever(kernel: Kernel) -> None:
    schedule = kernel.scheduled(retries=0)
    session = begun(kernel, schedule)
    altered = kernel.altered("finish", "if used > allowed then", "if nil then")
    assert altered.finish(session, "failed") == "queued"


RULES = [
    ({}, {}, {}, "queued", None),
    ({"redeliver": "never"}, {}, {}, "dead", "workspace.redeliver"),
    ({}, {"redeliver": "never"}, {}, "dead", "schedule.redeliver"),
    ({"redeliver": "never"}, {"redeliver": "on_loss"}, {}, "queued", None),
]


@pytest.mark.parametrize(("workspace", "schedule", "turn", "state", "setting"), RULES)
def test_a_lost_fire_is_redelivered_as_its_schedule_says_else_its_workspace(
    workspace: dict[str, str],
    schedule: dict[str, str],
    turn: dict[str, str],
    state: str,
    setting: str | None,
    kernel: Kernel,
) -> None:
    for name, value in workspace.items():
        kernel.data.hset(kernel.keys["workspace"], name, value)
    made = kernel.scheduled(**schedule)
    session = begun(kernel, made)
    assert kernel.release(session, counts=True) == state
    told = kernel.events("TURN_DEAD")
    assert [event["payload"]["setting"] for event in told] == ([setting] if setting else [])
    if setting:
        assert newest(kernel, made).setting == setting


@pytest.mark.parametrize(("own", "state"), [("on_loss", "queued"), ("never", "dead")])
def test_a_lost_message_is_redelivered_as_its_sender_said(
    own: str, state: str, kernel: Kernel
) -> None:
    other = {"never": "on_loss", "on_loss": "never"}[own]
    kernel.data.hset(kernel.keys["workspace"], "redeliver", other)
    kernel.submit(redeliver=own)
    assert kernel.release(kernel.claimed().session, counts=True) == state
    if own == "never":
        assert kernel.events("TURN_DEAD")[0]["payload"]["setting"] == "turn.redeliver"


def test_a_schedule_is_paused_after_so_many_bad_ends_in_a_row(kernel: Kernel) -> None:
    schedule = kernel.scheduled(pause_on_failure_count=2)
    kernel.finish(begun(kernel, schedule), "failed")
    kernel.finish(begun(kernel, schedule), "yielded")
    kernel.finish(begun(kernel, schedule), "failed")
    assert stored(kernel, schedule).enabled, "a good end starts the count again"
    assert kernel.reap(begun(kernel, schedule), "ceiling")
    paused = stored(kernel, schedule)
    assert not paused.enabled
    assert "pause_on_failure_count" in paused.paused_reason
    assert paused.version == schedule.version + 1
    assert kernel.due(schedule) is None
    (hit,) = kernel.events("LIMIT_HIT")
    assert hit["mechanism"] == "pause_on_failure"
    assert hit["payload"] == {
        "limit_count": 2,
        "measured_count": 2,
        "setting": "schedule.pause_on_failure_count",
        "schedule_id": schedule.id,
    }
    schedules.change(kernel.platform, kernel.id, schedule.id, {"enabled": True})
    kernel.finish(begun(kernel, stored(kernel, schedule)), "failed")
    assert stored(kernel, schedule).enabled, "a resume forgives"


def test_a_pause_on_failure_forgets_no_fire_that_was_due_by_then(kernel: Kernel) -> None:
    schedule = kernel.scheduled(pause_on_failure_count=1)
    session = begun(kernel, schedule)
    overdue = kernel.make_due(schedule, kernel.now_ms() - 400_000)
    kernel.finish(session, "failed")
    paused = stored(kernel, schedule)
    assert not paused.enabled
    times = [overdue, overdue + 300_000, overdue + 600_000]
    reply = kernel.fire_all(paused, times)
    assert reply[4:] == ["made", "made"]
    assert kernel.due(schedule) is None, "and none that comes due after the pause"
    assert [row for row in kernel.ledger(schedule) if row[0] in times] == [
        (overdue, "queued"),
        (overdue + 300_000, "queued"),
    ]


def test_a_cancel_and_an_expiry_neither_count_nor_forgive(kernel: Kernel) -> None:
    schedule = kernel.scheduled(pause_on_failure_count=2)
    kernel.finish(begun(kernel, schedule), "failed")
    kernel.finish(begun(kernel, schedule), "canceled")
    assert stored(kernel, schedule).enabled
    kernel.finish(begun(kernel, schedule), "failed")
    assert not stored(kernel, schedule).enabled


def test_a_retried_end_is_no_end_and_does_not_count(kernel: Kernel, pass_ms: Pass) -> None:
    schedule = kernel.scheduled(pause_on_failure_count=1, retries=1)
    kernel.finish(begun(kernel, schedule), "failed")
    assert stored(kernel, schedule).enabled
    pass_ms(PAUSE_MS + 1)
    kernel.finish(kernel.claimed().session, "failed")
    assert not stored(kernel, schedule).enabled


def test_control_a_schedule_without_the_rule_goes_on(kernel: Kernel) -> None:
    schedule = kernel.scheduled(pause_on_failure_count=1)
    altered = kernel.altered("finish", "or count < limit or", "or count or")
    altered.finish(begun(kernel, schedule), "failed")
    assert stored(kernel, schedule).enabled


def test_the_row_of_a_fire_tells_its_attempt_its_length_and_why_it_ended(kernel: Kernel) -> None:
    schedule = kernel.scheduled()
    session = begun(kernel, schedule)
    assert schedule_rows.row(kernel.platform, schedule)["last_status"] is None
    assert schedule_rows.health(kernel.platform, schedule, kernel.now_ms())["waiting_fires"] == 0
    kernel.reap(session, "ceiling")
    row = newest(kernel, schedule)
    assert (row.state, row.reason, row.attempt) == ("force_idled", "ceiling", 1)
    assert row.ended_at == kernel.turn(session.turn_id).ended_at
    assert row.duration_ms == (row.ended_at or 0) - session.claimed_at
    assert row.setting == "a_setting"
    shown = schedule_rows.row(kernel.platform, schedule)
    assert (shown["last_status"], shown["run_count"]) == ("force_idled", 1)


def test_a_missed_row_names_its_window(kernel: Kernel) -> None:
    schedule = kernel.scheduled(catchup_window_s=10)
    kernel.fire(schedule, kernel.make_due(schedule, kernel.now_ms() - 10_500))
    row = newest(kernel, schedule)
    assert (row.state, row.setting) == ("missed", "schedule.catchup_window_s")
    assert (row.limit_ms or 0) == 10_000 < (row.measured_ms or 0)
    assert "10 by schedule.catchup_window_s" in (row.why or "")


def test_the_last_run_is_told_though_hundreds_of_fires_wait_behind_it(kernel: Kernel) -> None:
    schedule = kernel.scheduled()
    kernel.finish(begun(kernel, schedule))
    first = kernel.make_due(schedule, kernel.now_ms() - 300_000 * 160 - 150_000)
    times = [first + 300_000 * count for count in range(151)]
    assert kernel.fire_all(schedule, times)[4:] == ["made"] * 150
    shown = schedule_rows.row(kernel.platform, schedule)
    assert (shown["last_status"], shown["run_count"]) == ("completed", 1)
    stands = schedule_rows.health(kernel.platform, schedule, kernel.now_ms())
    assert (stands["waiting_fires"], stands["status"]) == (150, "ok")
