"""line_open, line_take, line_settle, line_close, trim, and how emit heeds what is owed."""

import json
from typing import Any

from app.core import events, lines, scripts
from app.core.lines import Attempt, Later, Line, Settlement, Taken
from tests.contract.conftest import PAUSE_MS, Pass
from tests.support.kernel import Altered, Kernel

HOOK = "wh_1"


def tell(kernel: Kernel, text: str = "x") -> str:
    payload = {"type": "agent_log", "text": text}
    return events.append(kernel.platform, kernel.id, "ACTIVITY_LOGGED", payload)


def open_line(kernel: Kernel, line: str = HOOK, cursor: str = "", only: str | None = None) -> str:
    cursor = cursor or events.last_id(kernel.platform, kernel.id)
    return lines.open_one(kernel.platform, kernel.id, line, cursor, only)


def take(kernel: Kernel, by: str = "t", lease_s: float = 5, line: str = HOOK) -> Any:
    return lines.take(kernel.platform, kernel.id, line, by, lease_s)


def taken(kernel: Kernel, by: str = "t", lease_s: float = 5, line: str = HOOK) -> list[str]:
    found = take(kernel, by, lease_s, line)
    assert isinstance(found, Taken), found
    return [event.id for event in found.events]


def settle(
    kernel: Kernel, event_id: str, outcome: str, by: str = "t", line: str = HOOK, **more: Any
) -> str:
    number = more.pop("number", 1)
    attempt = Attempt(outcome, number, "http://h", "ACTIVITY_LOGGED", 200)
    sent = attempt if outcome in lines.OUTCOMES else None
    what = Settlement(event_id, outcome, sent, **more)
    return lines.settle(kernel.platform, kernel.id, line, by, what)


def record(kernel: Kernel, line: str = HOOK) -> Line | None:
    text = kernel.data.hget(kernel.keys["lines"], line)
    return Line.parse(line, text) if text else None


def owed(kernel: Kernel) -> dict[str, float]:
    return dict(kernel.data.zrange(kernel.keys["owed"], 0, -1, withscores=True))


def rows(kernel: Kernel) -> list[tuple[str, str]]:
    found = kernel.data.xrange(kernel.keys["deliveries"])
    return [(fields["event_id"], fields["outcome"]) for _, fields in found]


def limits(kernel: Kernel) -> list[dict[str, Any]]:
    return [row for row in kernel.events("LIMIT_HIT") if "webhook_id" in row["payload"]]


def trim(kernel: Kernel, **settings: Any) -> int:
    return lines.trim(kernel.tuned(**settings).platform, [kernel.id])[0].events_count


def test_line_open_owes_what_comes_after_its_cursor_and_opens_once(kernel: Kernel) -> None:
    tell(kernel)
    assert open_line(kernel) == "opened"
    assert take(kernel) is None
    told = [tell(kernel), tell(kernel)]
    assert open_line(kernel) == "open", "a second call moves nothing"
    assert taken(kernel) == told
    assert list(owed(kernel)) == [HOOK]


def test_line_open_goes_on_where_a_closed_line_stopped(kernel: Kernel) -> None:
    open_line(kernel)
    told = tell(kernel)
    lines.close(kernel.platform, kernel.id, HOOK, "webhook_disabled", "why")
    assert (take(kernel), owed(kernel)) == (None, {})
    assert open_line(kernel) == "resumed"
    assert taken(kernel)[0] == told


def test_line_take_is_held_by_one_until_its_lease_ends(kernel: Kernel, pass_ms: Pass) -> None:
    open_line(kernel)
    told = tell(kernel)
    assert taken(kernel, "a", PAUSE_MS / 1000) == [told]
    other = take(kernel, "b")
    assert isinstance(other, Later)
    assert other.wait_s <= PAUSE_MS / 1000
    assert taken(kernel, "a", PAUSE_MS / 1000) == [told], "the same call again"
    pass_ms(PAUSE_MS + 1)
    assert taken(kernel, "b") == [told], "its holder has died"
    assert settle(kernel, told, "acked", "a") == "stale"
    assert settle(kernel, told, "acked", "b") == "ok"
    assert [outcome for _, outcome in rows(kernel)] == ["acked", "acked"], "both were sent"


def test_line_take_of_what_owes_nothing_holds_nothing(kernel: Kernel) -> None:
    open_line(kernel)
    told = tell(kernel)
    taken(kernel, "a")
    settle(kernel, told, "acked", "a", hold_s=5)
    assert take(kernel, "a") is None
    new = tell(kernel)
    assert taken(kernel, "b") == [new]


def test_line_take_of_a_single_event(kernel: Kernel) -> None:
    told = [tell(kernel), tell(kernel), tell(kernel)]
    single = f"{HOOK}|{told[1]}"
    assert open_line(kernel, single, told[1], told[1]) == "opened"
    assert taken(kernel, line=single) == [told[1]]
    assert settle(kernel, told[1], "acked", line=single) == "ok"
    assert (record(kernel, single), owed(kernel)) == (None, {})
    gone = f"{HOOK}|1-0"
    open_line(kernel, gone, "1-0", "1-0")
    assert take(kernel, line=gone) is None
    assert (record(kernel, gone), owed(kernel)) == (None, {}), "its event is not kept"


def test_line_settle_moves_on_and_a_repeat_changes_nothing(kernel: Kernel) -> None:
    open_line(kernel)
    told = [tell(kernel), tell(kernel)]
    taken(kernel)
    assert settle(kernel, told[0], "acked", hold_s=5) == "ok"
    assert settle(kernel, told[0], "acked", hold_s=5) == "repeated"
    assert taken(kernel) == told[1:]
    assert settle(kernel, told[1], "passed") == "ok"
    found = record(kernel)
    assert found is not None
    assert (found.cursor, found.lease_until) == (told[1], None)
    assert rows(kernel) == [(told[0], "acked")], "what was passed over leaves no row"
    assert kernel.data.hgetall(kernel.keys["delivered"]) == {"acked": "1"}


def test_line_settle_has_an_event_tried_later(kernel: Kernel, pass_ms: Pass) -> None:
    open_line(kernel)
    told = tell(kernel)
    taken(kernel)
    assert settle(kernel, told, "retry", delay_s=PAUSE_MS / 1000) == "ok"
    assert settle(kernel, told, "retry", delay_s=PAUSE_MS / 1000) == "repeated"
    later = take(kernel, "b")
    assert isinstance(later, Later)
    pass_ms(PAUSE_MS + 1)
    found = take(kernel, "b")
    assert isinstance(found, Taken)
    assert (found.line.attempts, found.events[0].id) == (1, told)
    assert found.line.failed_since is not None
    settle(kernel, told, "dead", "b", number=2)
    after = record(kernel)
    assert after is not None
    assert (after.attempts, after.failed_since, after.cursor) == (0, None, told)


def test_line_settle_can_be_the_end_of_a_line(kernel: Kernel) -> None:
    open_line(kernel)
    told = tell(kernel)
    taken(kernel)
    settle(kernel, told, "acked", is_done=True)
    tell(kernel)
    assert (take(kernel), owed(kernel)) == (None, {})
    assert open_line(kernel) == "open", "what is done is not opened again"
    assert take(kernel) is None


def test_line_settle_releases_a_line(kernel: Kernel) -> None:
    open_line(kernel)
    told = tell(kernel)
    taken(kernel, "a")
    assert settle(kernel, "", "release", "b") == "stale"
    assert settle(kernel, "", "release", "a") == "ok"
    assert taken(kernel, "b") == [told]


def test_line_settle_of_a_line_closed_meanwhile_keeps_the_row(kernel: Kernel) -> None:
    open_line(kernel)
    told = tell(kernel)
    taken(kernel)
    lines.close(kernel.platform, kernel.id, HOOK, "webhook_removed", "", is_forgotten=True)
    assert settle(kernel, told, "acked") == "stale"
    assert rows(kernel) == [(told, "acked")]
    assert record(kernel) is None


def test_line_close_says_what_is_given_up_once(kernel: Kernel) -> None:
    open_line(kernel)
    tell(kernel), tell(kernel)
    assert lines.close(kernel.platform, kernel.id, HOOK, "webhook_disabled", "it is gone") == 2
    assert lines.close(kernel.platform, kernel.id, HOOK, "webhook_disabled", "again") == 0
    [hit] = limits(kernel)
    assert hit["mechanism"] == "webhook_disabled"
    assert hit["payload"]["owed_count"] == 2
    assert hit["payload"]["reason"] == "it is gone"
    assert hit["payload"]["setting"] == "webhook.enabled"


def test_line_close_after_the_last_attempt_names_the_attempts(kernel: Kernel) -> None:
    open_line(kernel)
    tell(kernel)
    lines.close(kernel.platform, kernel.id, HOOK, "webhook_disabled", "why", failed_count=16)
    [hit] = limits(kernel)
    told = {name: hit["payload"][name] for name in ("setting", "limit_count", "measured_count")}
    assert list(told.values()) == ["TURNKEEPER_WEBHOOK_ATTEMPTS", 16, 16]


def test_line_close_of_a_line_that_owes_nothing_is_silent(kernel: Kernel) -> None:
    open_line(kernel)
    assert lines.close(kernel.platform, kernel.id, HOOK, "webhook_disabled") == 0
    assert lines.close(kernel.platform, kernel.id, "wh_2", "webhook_disabled") == 0
    assert limits(kernel) == []


def fill(kernel: Kernel, count: int) -> list[str]:
    return [tell(kernel, str(number)) for number in range(count)]


def test_trim_goes_by_count_behind_what_is_owed(kernel: Kernel, pass_ms: Pass) -> None:
    open_line(kernel)
    first = fill(kernel, 150)
    pass_ms(2)
    tuned = kernel.tuned(events_kept=100)
    second = fill(tuned, 300)
    trim(kernel, events_kept=100)
    assert taken(kernel)[0] == first[0], "owed events are never trimmed"
    settle(kernel, first[-1], "acked")
    trim(kernel, events_kept=100)
    kept = [entry for entry, _ in kernel.data.xrange(kernel.keys["events"])]
    assert set(second) <= set(kept)
    assert len(kept) < 460, "what was delivered is trimmed"
    taken(kernel)
    settle(kernel, second[-1], "passed")
    trim(kernel, events_kept=100)
    assert kernel.data.xlen(kernel.keys["events"]) < 330


def test_trim_goes_by_age_behind_what_is_owed(kernel: Kernel, pass_ms: Pass) -> None:
    fill(kernel, 250)
    pass_ms(PAUSE_MS)
    open_line(kernel, cursor="0-0")
    tell(kernel)
    assert trim(kernel, events_kept_s=PAUSE_MS / 2000) == 0
    settle_all(kernel)
    assert trim(kernel, events_kept_s=PAUSE_MS / 2000) > 0


def settle_all(kernel: Kernel) -> None:
    while isinstance(found := take(kernel), Taken):
        settle(kernel, found.events[-1].id, "passed", hold_s=5)


def test_trim_without_a_line_goes_by_age_and_count(kernel: Kernel, pass_ms: Pass) -> None:
    fill(kernel, 250)
    assert trim(kernel, events_kept=100) > 0
    assert kernel.data.xlen(kernel.keys["events"]) < 250
    pass_ms(5)
    last = tell(kernel)
    pass_ms(5)
    trim(kernel, events_kept_s=0.001)
    assert events.last_id(kernel.platform, kernel.id) == last, "where it ends stays known"
    assert kernel.data.xlen(kernel.keys["events"]) == 1


def test_emit_trims_nothing_that_is_owed_and_all_else_by_count(kernel: Kernel) -> None:
    tuned = kernel.tuned(events_kept=100)
    fill(tuned, 350)
    assert kernel.data.xlen(kernel.keys["events"]) < 300
    open_line(kernel)
    told = fill(tuned, 350)
    assert taken(kernel)[0] == told[0]


def test_control_an_emit_that_trims_all_the_same_loses_what_is_owed(kernel: Kernel) -> None:
    """The trimming control: with the look at what is owed switched off, an event is lost."""
    tuned = kernel.tuned(events_kept=100)
    old = "is_owed = redis.call('EXISTS', K.owed) == 1"
    careless = Kernel(
        type(tuned.platform)(
            tuned.platform.settings,
            type(tuned.platform.clients)(
                *[Altered(kernel.data, "append", old, "is_owed = false")] * 6
            ),
        )
    )
    open_line(kernel)
    told = fill(careless, 350)
    assert taken(kernel)[0] != told[0]


def test_webhook_put_is_a_compare_and_set(kernel: Kernel) -> None:
    def put(version: int, record: str) -> str:
        return str(
            scripts.call(
                kernel.platform.clients.control,
                "webhook_put",
                "",
                webhook_id=HOOK,
                version=version,
                record=record,
            )[0]
        )

    one, two = json.dumps({"version": 1}), json.dumps({"version": 2})
    assert put(1, one) == "gone"
    assert (put(0, one), put(0, one)) == ("ok", "changed")
    assert (put(1, two), put(1, two)) == ("ok", "changed")
    assert (put(2, ""), put(2, "")) == ("ok", "gone")
