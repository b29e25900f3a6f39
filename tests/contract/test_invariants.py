"""The invariants check on each store: silent on whatever the scripts leave, and each thing broken
by hand is reported by its own code."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from app.core import doorbell, invariant_reports, invariants, keys, schedules, snapshots
from app.core.invariants import CODES
from app.core.schedules import Schedule
from tests.support.kernel import Kernel
from workers.sweep import sweep


@dataclass
class Scene:
    """A workspace with something in every place, and what is where."""

    kernel: Kernel
    running: str
    session: str
    laid_out: str
    waiting: str
    back: str
    pausing: str
    done: str
    ended: str
    dead: str
    fire: str
    on: Schedule
    off: Schedule

    def set(self, name: str, key: str, **fields: Any) -> None:
        """Change fields of a record; None takes one out."""
        own = self.kernel.keys[name]
        record = json.loads(self.kernel.data.hget(own, key)) | fields
        text = json.dumps({name: value for name, value in record.items() if value is not None})
        self.kernel.data.hset(own, key, text)

    def hdel(self, name: str, key: str) -> None:
        self.kernel.data.hdel(self.kernel.keys[name], key)

    def zadd(self, name: str, key: str, score: float = 1) -> None:
        self.kernel.data.zadd(self.kernel.keys[name], {key: score})

    def zrem(self, name: str, key: str) -> None:
        self.kernel.data.zrem(self.kernel.keys[name], key)

    @property
    def row(self) -> str:
        turn = self.kernel.turn(self.fire)
        return f"{turn.schedule_id}:{turn.nominal_at}"


@pytest.fixture
def scene(bare: Kernel) -> Scene:
    kernel = bare
    kernel.beat(seq=2, instance="i", sessions=[], max_concurrent=2)
    ids = {}
    done = kernel.submit("done").turn_id
    ended = kernel.claimed().session
    kernel.bind(ended)
    kernel.start(ended)
    kernel.finish(ended)
    for name, counts in (("dead", True), ("back", False), ("pausing", True)):
        redeliver = {"redeliver": "never"} if name == "dead" else {}
        ids[name] = kernel.submit(name, lane="chat", **redeliver).turn_id
        kernel.release(kernel.claimed().session, counts)
        if name == "back":  # else the next claim would give it again
            kernel.data.zrem(kernel.keys["returned"], ids[name])
    kernel.data.zadd(kernel.keys["returned"], {ids["back"]: 1e12 + 3})
    kernel.data.zadd(kernel.keys["delayed"], {ids["pausing"]: kernel.now_ms() + 600_000})
    running = kernel.submit("running", lane="urgent").turn_id
    session = kernel.claimed().session
    kernel.bind(session)
    kernel.taken()
    kernel.start(session)
    kernel.submit("laid out", lane="urgent")
    laid_out = kernel.claimed().session
    kernel.bind(laid_out)
    waiting = kernel.submit("waiting", lane="task").turn_id
    on, off = kernel.scheduled(name="on"), kernel.scheduled(name="off", enabled=False)
    kernel.fire(on, kernel.make_due(on, kernel.now_ms() - 1))
    fire = kernel.data.zrevrange(kernel.keys["open"], 0, 0)[0]
    sweep(kernel.platform)
    return Scene(
        kernel, running, session.id, laid_out.id, waiting, ids["back"], ids["pausing"],
        done, ended.id, ids["dead"], fire, on, off,
    )  # fmt: skip


def broken(scene: Scene) -> list[str]:
    """The codes of one look, with those of doubts that stand."""
    return [row.code for row in invariant_reports.run(scene.kernel.platform, "ws").violations]


def test_a_workspace_with_something_in_every_place_is_well(scene: Scene) -> None:
    stored = snapshots.read(scene.kernel.platform, "ws")
    assert invariants.check(stored) == []
    assert stored.has_all_open
    assert stored.checked == stored.total > 10
    assert broken(scene) == []


BREAKS: dict[str, tuple[str, Callable[[Scene], object]]] = {
    "a record that is no record": (
        "record_unreadable",
        lambda s: s.kernel.data.hset(s.kernel.keys["turns"], s.waiting, "{no"),
    ),
    "half a record": (
        "record_unreadable",
        lambda s: s.kernel.data.hset(s.kernel.keys["sessions"], s.session, '{"id": "half"}'),
    ),
    "a key of another type": (
        "record_unreadable",
        lambda s: (
            s.kernel.data.delete(s.kernel.keys["returned"]),
            s.kernel.data.set(s.kernel.keys["returned"], "text"),
        ),
    ),
    "a waiting turn without its record": ("turn_missing", lambda s: s.hdel("turns", s.back)),
    "an ended turn without its record": ("turn_missing", lambda s: s.hdel("turns", s.done)),
    "an unknown state": ("turn_state_unknown", lambda s: s.set("turns", s.waiting, state="odd")),
    "an open turn among the ended": ("turn_misfiled", lambda s: s.zadd("done", s.waiting)),
    "an open turn not among the open": ("turn_misfiled", lambda s: s.zrem("open", s.waiting)),
    "a dead letter among the ended": (
        "turn_misfiled",
        lambda s: (s.zrem("dead", s.dead), s.zadd("done", s.dead)),
    ),
    "an ended turn that rose again": (
        "turn_misfiled",
        lambda s: s.set("turns", s.done, state="queued", ended_at=None),
    ),
    "a turn in two places": ("turn_misplaced", lambda s: s.zadd("returned", s.waiting)),
    "a turn in no place": ("turn_misplaced", lambda s: s.zrem("returned", s.back)),
    "a pausing turn in no place": ("turn_misplaced", lambda s: s.zrem("delayed", s.pausing)),
    "a running turn that waits": ("turn_misplaced", lambda s: s.zadd("delayed", s.running)),
    "a running turn without a session": (
        "turn_without_session",
        lambda s: s.set("turns", s.running, session_id=None),
    ),
    "a running turn of an ended session": (
        "turn_without_session",
        lambda s: s.set("turns", s.running, session_id=s.ended),
    ),
    "a turn that lost its body": ("turn_body_missing", lambda s: s.hdel("bodies", s.waiting)),
    "an open turn not in its stream": (
        "entry_missing",
        lambda s: s.kernel.data.xdel(s.kernel.keys["lane_task"], s.kernel.turn(s.waiting).entry),
    ),
    "an ended turn in its stream": (
        "entry_left",
        lambda s: s.set("turns", s.done, lane="cron", entry=s.kernel.turn(s.fire).entry),
    ),
    "a live session without its record": (
        "turn_without_session",
        lambda s: s.hdel("sessions", s.session),
    ),
    "an ended session without its record": (
        "session_missing",
        lambda s: s.hdel("sessions", s.ended),
    ),
    "an ended session that holds a slot": ("session_misfiled", lambda s: s.zadd("live", s.ended)),
    "an ended session that is nowhere": ("session_misfiled", lambda s: s.zrem("ended", s.ended)),
    "a live session whose turn ended": (
        "session_without_turn",
        lambda s: (
            s.set("sessions", s.ended, ended_at=None),
            s.zrem("ended", s.ended),
            s.zadd("live", s.ended),
        ),
    ),
    "a fence that nobody gave": ("fence_unknown", lambda s: s.set("sessions", s.ended, fence=99)),
    "one fence twice": (
        "fence_repeated",
        lambda s: s.set("sessions", s.ended, fence=s.kernel.session(s.session).fence),
    ),
    "a third session in two slots": (
        "over_capacity",
        lambda s: (
            s.kernel.data.hset(s.kernel.keys["workspace"], "max_concurrent", 1),
            s.zadd("live", s.session, s.kernel.now_ms() + 5),
        ),
    ),
    "a session laid out that began": ("inbox_stale", lambda s: s.zadd("inbox", s.session)),
    "a session laid out without a prompt": ("inbox_stale", lambda s: s.hdel("bound", s.laid_out)),
    "a zombie that lives": ("zombie_live", lambda s: s.zadd("zombies", s.session)),
    "a queued fire that is not in the ledger": ("fire_missing", lambda s: s.hdel("fires", s.row)),
    "a ledger that is behind": (
        "fire_disagrees",
        lambda s: s.set("fires", s.row, state="completed"),
    ),
    "a row that is queued while its turn ended": (
        "fire_disagrees",
        lambda s: (
            s.kernel.cancel(s.fire),
            s.set("fires", s.row, state="queued"),
        ),
    ),
    "a queued row without its turn": (
        "fire_without_turn",
        lambda s: (
            s.kernel.data.hset(
                s.kernel.keys["fires"], s.row + "1", '{"state": "queued", "turn_id": "trn_gone"}'
            )
            and s.zadd("fire_index", s.row + "1", 0)
        ),
    ),
    "an enabled schedule that is never due": ("due_missing", lambda s: s.zrem("due", s.on.id)),
    "a disabled schedule that is due": ("due_left", lambda s: s.zadd("due", s.off.id, 4e12)),
    "a removed schedule that is due": ("due_left", lambda s: s.zadd("due", "sch_gone")),
    "a turn that nothing names": ("turn_misfiled", lambda s: s.zrem("done", s.done)),
    "a body too many": (
        "sums_disagree",
        lambda s: s.kernel.data.hset(s.kernel.keys["bodies"], "trn_x", "{}"),
    ),
    "an entry too many": (
        "sums_disagree",
        lambda s: s.kernel.data.xadd(s.kernel.keys["lane_task"], {"turn": "trn_x"}),
    ),
    "a row that is not in order": ("sums_disagree", lambda s: s.zrem("fire_index", s.row)),
    "a counter that is off": (
        "sums_disagree",
        lambda s: s.kernel.data.hincrby(s.kernel.keys["lanes"], "task", 1),
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_by_hand_is_reported_by_its_code(scene: Scene, name: str) -> None:
    code, act = BREAKS[name]
    act(scene)
    assert set(broken(scene)) == {code}


def test_every_code_has_something_that_breaks_it() -> None:
    broken_by_hand = {code for code, _ in BREAKS.values()}
    assert broken_by_hand | set(HINTS) == set(CODES)


HINTS: dict[str, Callable[[Scene], object]] = {
    "waiting_unrung": lambda s: (
        s.kernel.reap(s.kernel.session(s.laid_out), "operator"),
        s.kernel.platform.clients.control.zrem(keys.READY, "ws"),
    ),
    "session_unwatched": lambda s: s.kernel.platform.clients.control.zrem(keys.DEADLINES, "ws"),
    "agent_unwatched": lambda s: (
        s.kernel.data.hset(s.kernel.keys["workspace"], "agent_url", "http://127.0.0.1:1/"),
        s.set("sessions", s.session, adapter="a2a"),
    ),
    "session_past_ceiling": lambda s: s.set("sessions", s.session, ceiling_at=1),
    "due_unhinted": lambda s: s.kernel.platform.clients.control.delete(keys.DUE),
    "fire_overdue": lambda s: schedules.hint_due(
        s.kernel.platform, s.on, s.kernel.make_due(s.on, s.kernel.now_ms() - 60_000)
    ),
}


@contextmanager
def later(scene: Scene) -> Iterator[None]:
    """The doubts of now have stood for longer than hints lag."""
    control = scene.kernel.platform.clients.control
    report = json.loads(control.hget(keys.INVARIANTS, "ws"))
    lag_ms = invariant_reports.lag_ms(scene.kernel.platform)
    report["doubts"] = {name: at - lag_ms - 1 for name, at in report["doubts"].items()}
    control.hset(keys.INVARIANTS, "ws", json.dumps(report))
    yield


@pytest.mark.parametrize("code", HINTS)
def test_a_hint_that_lags_is_reported_only_when_it_stands_at_a_later_look(
    scene: Scene, code: str
) -> None:
    HINTS[code](scene)
    assert broken(scene) == []
    assert broken(scene) == [], "at once again: it may only lag"
    with later(scene):
        assert set(broken(scene)) == {code}


@pytest.mark.parametrize(
    "code", ["session_unwatched", "agent_unwatched", "due_unhinted", "waiting_unrung"]
)
def test_a_hint_that_the_sweep_repairs_is_never_reported(scene: Scene, code: str) -> None:
    HINTS[code](scene)
    assert broken(scene) == []
    sweep(scene.kernel.platform)
    with later(scene):
        assert broken(scene) == []
    report = invariant_reports.last(scene.kernel.platform, "ws")
    assert report is not None
    assert not report.doubts


def test_a_doubt_whose_subject_has_moved_is_a_new_doubt(scene: Scene) -> None:
    HINTS["waiting_unrung"](scene)
    assert broken(scene) == []
    with later(scene):
        scene.kernel.claimed()  # the fence counter moves
        scene.kernel.reap(scene.kernel.session(scene.session), "operator")
        scene.kernel.platform.clients.control.zrem(keys.READY, "ws")
        assert broken(scene) == []


def test_a_ring_that_is_there_is_no_doubt(scene: Scene) -> None:
    HINTS["waiting_unrung"](scene)
    doorbell.ring(scene.kernel.platform, "ws")
    invariant_reports.run(scene.kernel.platform, "ws")
    report = invariant_reports.last(scene.kernel.platform, "ws")
    assert report is not None
    assert not report.doubts
