"""What is to be done about a workspace's lines: every case of the plan."""

from dataclasses import replace
from typing import Any

from app.core.lines import Line, Standing
from app.core.webhooks import Webhook
from workers.owed import Action, Close, Open, Run, plan

HOOK = Webhook("wh_1", "http://h", ("*",), ("*",), "whsec_", created_at=5, since=7)
LAST = "9-1"


def planned(lines: dict[str, Line], *hooks: Webhook, pushes: tuple[str, ...] = ()) -> list[Action]:
    return list(plan(Standing("w", lines, frozenset(pushes), LAST), hooks))


def line(name: str = "wh_1", cursor: str = "9-0", **fields: Any) -> dict[str, Line]:
    return {name: Line(name, cursor, **fields)}


def test_a_webhook_without_a_line_gets_one_from_its_beginning() -> None:
    assert planned({}, HOOK) == [Open("wh_1", "7-0")]
    assert planned(line(closed_at=8), HOOK) == [Open("wh_1", "7-0")], "and a closed one again"
    assert planned({}, replace(HOOK, enabled=False)) == []
    assert planned({}, replace(HOOK, workspaces=("other",))) == []


def test_a_line_is_served_while_it_is_behind() -> None:
    assert planned(line(), HOOK) == [Run("wh_1")]
    assert planned(line(cursor=LAST), HOOK) == []
    single = line("wh_1|3-0", "3-0", only="3-0")
    assert Run("wh_1|3-0") in planned(single, HOOK)


def test_a_line_nobody_serves_is_closed() -> None:
    assert planned(line()) == [Close("wh_1", "webhook_removed", "no longer covered", True)]
    off = replace(HOOK, enabled=False, disabled_reason="why")
    assert planned(line(), off) == [Close("wh_1", "webhook_disabled", "why")]
    assert planned(line(closed_at=8), off) == []
    single = line("wh_1|3-0", "3-0", only="3-0")
    assert planned(single, off) == [Close("wh_1|3-0", "webhook_disabled", "why", True)]
    narrowed = replace(HOOK, workspaces=("other",))
    assert isinstance(planned(line(), narrowed)[0], Close)


def test_a_push_has_a_line_while_its_configuration_stands() -> None:
    assert planned({}, pushes=("t:c",)) == [Open("push|t:c")]
    assert planned(line("push|t:c"), pushes=("t:c",)) == [Run("push|t:c", True)]
    assert planned(line("push|t:c", LAST), pushes=("t:c",)) == [Run("push|t:c", False)]
    assert planned(line("push|t:c", done_at=8), pushes=("t:c",)) == []
    assert planned(line("push|t:c")) == [Close("push|t:c", remove=True)]
