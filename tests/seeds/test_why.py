"""Why nothing runs: every state has its code and its sentence, the same one everywhere."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner
from markupsafe import escape

from app.cli.client import Api
from app.cli.connection import Cli
from app.cli.messages import why as why_command
from app.core import schedules, tokens, turns, why, workspaces
from tests.seeds.clocks import OPENS, WS, Shift, beside
from tests.seeds.waits import (
    asked,
    behind_its_own,
    busy_and_empty,
    declined,
    draining,
    foreign,
    four_schedules,
    held_back,
    lanes,
    lost,
    never_beaten,
    no_ceiling,
    not_begun,
    one_schedule,
    own_session,
    paused,
    paused_with_turns,
    ready,
    report_a,
    schedule,
    session_and_foreign,
    silent,
    stalled,
    three_schedules,
    two_sessions,
)
from tests.support.world import virtual_platform
from tests.unit.api.web import ADMIN, Web, web

SESSION = r"session ses_\w{26}"
HELD = rf"1 of 1 slots held by {SESSION} "


@pytest.fixture
def shift() -> Iterator[Shift]:
    with virtual_platform(OPENS, admin_token=ADMIN) as platform:
        yield Shift.opened(platform)


@dataclass(frozen=True)
class Row:
    """A state: how it comes about, its code, its whole sentence as a pattern."""

    make: Callable[[Shift], None]
    code: str
    sentence: str


ROWS = [
    Row(paused, "paused", r"The workspace is paused since 5 min \(night\)\."),
    Row(
        paused_with_turns,
        "paused",
        r"Waiting 45 s: the workspace is paused since 45 s \(no reason given\); "
        r"1 turn waiting \(1 chat\)\.",
    ),
    Row(
        never_beaten,
        "heartbeat_expired",
        r"Waiting 0 s: no runtime has ever sent a heartbeat; 1 turn waiting \(1 chat\)\.",
    ),
    Row(
        silent,
        "heartbeat_expired",
        r"Waiting 0 s: the last heartbeat came 5 min ago \(limit 3 min\); "
        r"1 turn waiting \(1 chat\)\.",
    ),
    Row(
        own_session,
        "capacity_full",
        rf"Waiting 1 min 30 s: 1 of 1 slots held by {SESSION} "
        r"\(chat, running 1 min 30 s, ceiling 30 min\); 1 turn waiting \(1 chat\)\.",
    ),
    Row(
        two_sessions,
        "capacity_full",
        rf"Waiting 0 s: 2 of 2 slots held by {SESSION} \(chat, running 0 s, ceiling 30 min\) "
        r"and 1 more; 1 turn waiting \(1 chat\)\.",
    ),
    Row(
        foreign,
        "capacity_full",
        r"Waiting 0 s: the agent reports 1 task of its own in 1 slot; 1 turn waiting \(1 chat\)\.",
    ),
    Row(
        session_and_foreign,
        "capacity_full",
        rf"Waiting 0 s: 1 of 2 slots held by {SESSION} \(chat, running 0 s, ceiling 30 min\), "
        r"and the agent reports 1 task of its own; 1 turn waiting \(1 chat\)\.",
    ),
    Row(
        draining,
        "draining",
        r"Waiting 0 s: its runtime is stopping or has stopped and offers no slot; "
        r"1 turn waiting \(1 chat\)\.",
    ),
    Row(
        held_back,
        "backing_off",
        r"Waiting 0 s: the agent could not be reached; next try in 1 s; "
        r"1 turn waiting \(1 returned\)\.",
    ),
    Row(
        declined,
        "rate_limited",
        r"Waiting 0 s: the agent limits its rate; next try in 40 s; "
        r"1 turn waiting \(1 returned\)\.",
    ),
    Row(
        lost,
        "backing_off",
        r"Waiting 0 s: its last session was lost \(lost\); next try in 1 s; "
        r"1 turn waiting \(1 returned\)\.",
    ),
    Row(lambda shift: None, "empty", r"Nothing waits and nothing runs\."),
    Row(
        busy_and_empty,
        "empty",
        rf"Nothing waits; {SESSION} \(chat, running 2 min, ceiling 30 min\)\.",
    ),
    Row(
        not_begun,
        "capacity_full",
        rf"Waiting 0 s: {HELD}\(chat, claimed 5 s ago, not begun by its runtime, ceiling 30 min\); "
        r"1 turn waiting \(1 chat\)\.",
    ),
    Row(
        ready,
        "ready",
        r"Waiting 0 s: a slot is free and the turn is about to be claimed; "
        r"1 turn waiting \(1 chat\)\.",
    ),
    Row(
        no_ceiling,
        "capacity_full",
        rf"Waiting 0 s: {HELD}\(cron seo-tick, running 1 h 00 min, no ceiling set\); "
        r"1 turn waiting \(1 chat\)\.",
    ),
    Row(
        stalled,
        "capacity_full",
        rf"Waiting 0 s: {HELD}\(chat, running 11 min, ceiling 30 min, no progress for 11 min\); "
        r"1 turn waiting \(1 chat\)\.",
    ),
    Row(
        asked,
        "capacity_full",
        rf"Waiting 0 s: 1 of 1 slots held by {SESSION} \(chat, running 29 min, ceiling 30 min, "
        r"no progress for 29 min, asked to checkpoint 2\d s ago\); 1 turn waiting \(1 chat\)\.",
    ),
    Row(
        lanes,
        "capacity_full",
        rf"Waiting 1 s: 1 of 1 slots held by {SESSION} \(chat, running 2 s, ceiling 30 min\); "
        r"3 turns waiting \((1 chat, 2 cron|2 cron, 1 chat)\)\.",
    ),
    Row(
        one_schedule,
        "capacity_full",
        rf"Waiting 2 s: 1 of 1 slots held by {SESSION} \(chat, running 3 s, ceiling 30 min\); "
        r"3 fires of seo-tick wait\.",
    ),
    Row(
        three_schedules,
        "capacity_full",
        rf"Waiting 5 s: 1 of 1 slots held by {SESSION} \(chat, running 6 s, ceiling 30 min\); "
        r"3 fires of b, 2 fires of c and 1 fire of a wait\.",
    ),
    Row(
        four_schedules,
        "capacity_full",
        rf"Waiting 3 s: 1 of 1 slots held by {SESSION} \(chat, running 4 s, ceiling 30 min\); "
        r"4 turns waiting \(4 cron\)\.",
    ),
    Row(
        behind_its_own,
        "overlap",
        rf"Waiting 1 h 00 min: an earlier fire of its schedule runs in {SESSION} "
        r"\(cron seo-tick, running 1 h 10 min, no ceiling set\), and its fires do not overlap; "
        r"2 fires of seo-tick wait\.",
    ),
    Row(
        report_a,
        "capacity_full",
        rf"Waiting 2 h 10 min: 1 of 1 slots held by {SESSION} "
        r"\(cron seo-tick, running 6 h 02 min, no ceiling set\); 12 fires of seo-tick wait\.",
    ),
]


@dataclass(frozen=True)
class Direct(Api):
    """The API without a socket: the command line asks the application itself."""

    site: Web | None = None

    def call(self, method: str, path: str, *rest: Any, **more: Any) -> Any:
        assert self.site is not None
        return self.site.ok(method, path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.make.__name__)
def test_each_state_has_its_code_and_one_sentence_in_api_command_line_and_page(
    row: Row, shift: Shift
) -> None:
    row.make(shift)
    found = why.explain(shift.platform, WS)
    assert found.code == row.code
    assert re.fullmatch(row.sentence, found.sentence), found.sentence
    with web(beside(shift.platform).clients, admin_token=ADMIN) as site:
        assert site.ok("GET", f"/workspaces/{WS}/why")["sentence"] == found.sentence
        told = CliRunner().invoke(why_command, [WS], obj=Cli(Direct("", site=site)))
        assert told.output == f"{found.sentence} ({found.code})\n"
        cookie = {"Cookie": f"{tokens.COOKIE}={site.token('read')}"}
        page = site.ask("GET", f"/w/{WS}", token=None, headers=cookie)
        assert str(escape(found.sentence)) in page.text


def test_every_code_that_the_function_can_give_has_a_row() -> None:
    source = (why.__doc__ or "") + (why.Why.__doc__ or "")
    codes = set(re.findall(r"\b[a-z]+_?[a-z]+\b", source.partition("code``:")[2])) - {"or"}
    assert codes == {row.code for row in ROWS}


def test_a_removed_workspace_is_not_found(shift: Shift) -> None:
    workspaces.remove(shift.platform, WS)
    with web(beside(shift.platform).clients, admin_token=ADMIN) as site:
        answer = site.ask("GET", f"/workspaces/{WS}/why")
        assert (answer.status_code, answer.get_json()["code"]) == (404, "workspace_not_found")


@pytest.mark.parametrize(
    ("waiting", "tail"),
    [(900, r"900 fires of tick wait"), (1100, r"1100 turns waiting \(1100 cron\)")],
)
def test_a_long_queue_is_told_by_schedule_up_to_a_bound_and_then_by_lane(
    waiting: int, tail: str, shift: Shift
) -> None:
    shift.begin()
    tick = schedule(shift)
    now = shift.platform.now_ms()
    for number in range(waiting):
        args = schedules.fire_args(
            shift.platform,
            schedules.get(shift.platform, WS, tick),
            [now + number, now + number],
            "manual",
            now,
        )
        shift.platform.run("fire", WS, **args)
    assert re.search(rf"; {tail}\.$", why.explain(shift.platform, WS).sentence)


def test_the_oldest_wait_is_found_behind_many_running_sessions(shift: Shift) -> None:
    """The open turns begin with the running ones; more of them than one page holds."""
    shift.agent.slots = 250
    workspaces.change(shift.platform, WS, {"max_concurrent": 250})
    shift.agent.beat()
    for _ in range(251):
        turns.submit(shift.platform, WS, turns.Request(body={"text": "x"}))
    shift.serve()
    found = why.explain(shift.platform, WS)
    assert (found.code, found.depth) == ("capacity_full", 1)
    assert "250 of 250 slots held by" in found.sentence
