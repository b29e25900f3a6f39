"""Workspaces in which something waits, or nothing runs: each function makes one."""

from typing import Any

from app.core import agents, keys, schedules, sessions, workspaces
from tests.seeds.clocks import EVERY_30_MIN, WS, Shift

YEARLY = {**EVERY_30_MIN, "cron_expr": "0 0 1 1 *"}
QUIET = {**YEARLY, "stall_after_s": 0, "preempt": "off"}


def schedule(shift: Shift, **fields: Any) -> str:
    return schedules.create(shift.platform, WS, {**QUIET, **fields}).id


def fire(shift: Shift, schedule_id: str, count: int) -> None:
    for _ in range(count):
        shift.run(1)
        schedules.run_now(shift.platform, WS, schedule_id)
    shift.serve()


def paused(shift: Shift) -> None:
    workspaces.pause(shift.platform, WS, "night")
    shift.run(300)


def paused_with_turns(shift: Shift) -> None:
    workspaces.pause(shift.platform, WS, "")
    shift.submit()
    shift.run(45)


def never_beaten(shift: Shift) -> None:
    data, own = shift.platform.clients.data, keys.of(WS)
    data.delete(own["capacity"])
    data.hdel(own["workspace"], "beat_at")
    shift.agent.beats = False
    shift.submit()


def silent(shift: Shift) -> None:
    shift.agent.beats = False
    shift.run(300)
    shift.submit()


def own_session(shift: Shift) -> None:
    shift.begin()
    shift.submit()
    shift.run(90)


def two_sessions(shift: Shift) -> None:
    shift.agent.slots = 2
    workspaces.change(shift.platform, WS, {"max_concurrent": 2})
    shift.agent.beat()
    shift.begin()
    shift.begin()
    shift.submit()


def foreign(shift: Shift) -> None:
    shift.agent.beat_fields = {"sessions": ["theirs"]}
    shift.agent.beat()
    shift.submit()


def session_and_foreign(shift: Shift) -> None:
    shift.agent.slots = 2
    workspaces.change(shift.platform, WS, {"max_concurrent": 2})
    shift.agent.beat()
    shift.agent.beat(sessions=[shift.begin(), "theirs"])
    shift.submit()


def draining(shift: Shift) -> None:
    shift.agent.slots = 0
    shift.agent.beat()
    shift.submit()


def held_back(shift: Shift) -> None:
    shift.agent.polls = False
    shift.submit()
    (session,) = sessions.live(shift.platform, WS)
    here = (shift.platform, WS, session.id, session.fence)
    sessions.release(*here, "delivery_failed", "no answer", counts=True, holds=True)


def declined(shift: Shift) -> None:
    session_id = shift.begin()
    here = (shift.platform, WS, session_id, shift.session(session_id).fence)
    agents.decline(*here, "rate_limited", "429", retry_after_s=40)


def lost(shift: Shift) -> None:
    shift.begin()
    shift.agent.running.clear()
    (session,) = sessions.live(shift.platform, WS)
    here = (shift.platform, WS, session.id, session.fence)
    sessions.release(*here, "lost", "gone", counts=True)


def busy_and_empty(shift: Shift) -> None:
    shift.begin()
    shift.run(120)


def not_begun(shift: Shift) -> None:
    shift.agent.polls = False
    shift.submit()
    shift.run(5)
    shift.submit()


def ready(shift: Shift) -> None:
    shift.loses_rings = True
    shift.agent.polls = False
    shift.submit()


def no_ceiling(shift: Shift) -> None:
    shift.begin("cron", **{**QUIET, "name": "seo-tick", "ceiling_s": 0})
    shift.run(3600)
    shift.submit()


def stalled(shift: Shift) -> None:
    shift.begin()
    shift.run(660)
    shift.submit()


def asked(shift: Shift) -> None:
    shift.begin()
    shift.run(1765)
    shift.submit()


def lanes(shift: Shift) -> None:
    shift.begin()
    fire(shift, schedule(shift), 2)
    shift.submit()


def one_schedule(shift: Shift) -> None:
    shift.begin()
    fire(shift, schedule(shift, name="seo-tick"), 3)


def three_schedules(shift: Shift) -> None:
    shift.begin()
    for name, count in (("a", 1), ("b", 3), ("c", 2)):
        fire(shift, schedule(shift, name=name), count)


def four_schedules(shift: Shift) -> None:
    shift.begin()
    for name in "abcd":
        fire(shift, schedule(shift, name=name), 1)


def report_a(shift: Shift) -> None:
    """The field's report: one session for six hours, twelve fires behind it."""
    tick = schedule(shift, name="seo-tick", ceiling_s=0)
    began = shift.now
    fire(shift, tick, 1)
    shift.run(3 * 3600 + 52 * 60 - (shift.now - began).total_seconds() + 1)
    fire(shift, tick, 12)
    shift.run(6 * 3600 + 2 * 60 - (shift.now - began).total_seconds() + 2)


def behind_its_own(shift: Shift) -> None:
    workspaces.change(shift.platform, WS, {"max_concurrent": 2})
    shift.agent.slots = 2
    tick = schedule(shift, name="seo-tick", ceiling_s=0)
    fire(shift, tick, 1)
    shift.run(600)
    fire(shift, tick, 2)
    shift.run(3600)
