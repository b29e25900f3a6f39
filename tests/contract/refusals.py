"""For every refusal that a script's header promises: how to provoke it."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.core import agents, memories, push, schedules, scripts, sessions, workspaces
from app.core.memories import Draft, Memory
from app.core.records import Session
from app.core.schedules import Schedule
from tests.support.kernel import Kernel

Recipe = Callable[[Kernel], Any]
LUA = Path(scripts.__file__).parent / "lua"


def refusals_of(name: str) -> list[str]:
    """The codes after ``@returns refused:`` in a script's header."""
    text = (LUA / f"{name}.lua").read_text()
    return re.findall(r"\w+", " ".join(re.findall(r"^-- @returns refused: (.*)$", text, re.M)))


def live(kernel: Kernel) -> Session:
    kernel.submit()
    return kernel.claimed().session


def unknown(kernel: Kernel) -> Session:
    return replace(live(kernel), id="ses_unknown")


def stale(kernel: Kernel) -> Session:
    session = live(kernel)
    return replace(session, fence=session.fence - 1)


def elsewhere(kernel: Kernel) -> Kernel:
    return Kernel(kernel.platform, "nowhere")


def forecast(kernel: Kernel, is_over: bool = True, measured_percent: int = 140) -> list[Any]:
    return kernel.run(
        "forecast",
        is_over=is_over,
        measured_percent=measured_percent,
        limit_percent=100,
        setting="schedule.ceiling_s",
        sentence="too much",
        advice="less",
    )


def removed(kernel: Kernel) -> Kernel:
    gone = Kernel(kernel.platform, "gone").create()
    workspaces.remove(kernel.platform, "gone")
    return gone


def set_state(kernel: Kernel, turn_id: str, state: str) -> None:
    """Break the store: the turn of a live session is said to be in a state it cannot be in."""
    text = kernel.data.hget(kernel.keys["turns"], turn_id)
    broken = re.sub(r'"state":"\w+"', f'"state":"{state}"', text)
    kernel.data.hset(kernel.keys["turns"], turn_id, broken)


def ended(kernel: Kernel) -> Session:
    session = live(kernel)
    set_state(kernel, session.turn_id, "completed")
    return session


def claim_ended(kernel: Kernel) -> None:
    set_state(kernel, kernel.submit().turn_id, "completed")
    kernel.claim()


def deliver(kernel: Kernel, session: Session) -> None:
    sessions.deliver(kernel.platform, kernel.id, session.id, session.fence)


def name_remote(kernel: Kernel, session: Session, remote: str) -> list[Any]:
    words = {"remote": remote, "remote_context": "c"}
    return kernel.run("deliver", session_id=session.id, fence=session.fence, **words)


def decline(kernel: Kernel, session: Session) -> None:
    agents.decline(kernel.platform, kernel.id, session.id, session.fence, "busy", "as told")


def fill(kernel: Kernel) -> None:
    for _ in range(2):
        kernel.tuned(queue_depth_max=1).submit()


def conflict(kernel: Kernel) -> None:
    kernel.submit("one", idempotency_key="k")
    kernel.submit("two", idempotency_key="k")


def start_twice(kernel: Kernel) -> None:
    session = live(kernel)
    kernel.start(session, "i")
    kernel.start(session, "j")


def hand_over_twice(kernel: Kernel) -> None:
    session = live(kernel)
    kernel.hand_over(session, "i")
    kernel.hand_over(session, "j")


def put_stale(kernel: Kernel) -> None:
    schedule = kernel.scheduled()
    put(kernel, replace(schedule, version=schedule.version + 1))


def put(kernel: Kernel, schedule: Schedule) -> None:
    kernel.run(
        "schedule_put",
        schedule_id=schedule.id,
        version=schedule.version,
        record="{}",
        next_ms=None,
        policy_changed=False,
    )


def fire_changed(kernel: Kernel) -> None:
    schedule = kernel.scheduled()
    nominal = kernel.make_due(schedule, kernel.now_ms())
    kernel.fire(replace(schedule, version=schedule.version - 1), nominal)


def fire_unknown(kernel: Kernel) -> None:
    kernel.fire(replace(kernel.scheduled(), id="sch_unknown"), kernel.now_ms())


def remember(kernel: Kernel, text: str = "keep this", **fields: Any) -> Memory:
    """A memory of the workspace's own, straight by its script."""
    return memories.commit(kernel.platform, kernel.id, Draft(text, **fields))[0]


def put_memory(kernel: Kernel, text: str = "x", put_id: str = "mem_1") -> list[Any]:
    return kernel.run(
        "memory_put",
        put_id=put_id,
        digest=text,
        record='{"namespace": ""}',
        text=text,
        bytes=len(text),
        count_max=1,
        scope="LOCAL",
        team="",
    )


def memory_conflict(kernel: Kernel) -> None:
    put_memory(kernel, "one")
    put_memory(kernel, "two")


def memories_full(kernel: Kernel) -> None:
    put_memory(kernel)
    put_memory(kernel, put_id="mem_2")


def delete_unknown(kernel: Kernel) -> None:
    names = {"memory_id": "mem_unknown", "session_id": "", "scope": "LOCAL", "team": ""}
    kernel.run("memory_delete", **names)


def append(kernel: Kernel) -> None:
    event = {"event": "ACTIVITY_LOGGED", "payload": "{}", "mechanism": ""}
    kernel.run("append", turn_id="", session_id="", **event)


def create(kernel: Kernel, mode: str) -> None:
    fields = {"fields": "{}", "event": "", "mechanism": ""}
    kernel.run("workspace_put", mode=mode, **fields)


def asking(kernel: Kernel) -> str:
    """A turn that asked for input."""
    session = live(kernel)
    kernel.finish(session, "input_required", text="which?")
    return session.turn_id


def follow(kernel: Kernel, turn_id: str = "trn_unknown") -> None:
    kernel.follow_alone(turn_id)


def follow_named_twice(kernel: Kernel) -> None:
    turn_id = asking(kernel)
    for text in ("yes", "no"):
        kernel.follow(turn_id, text, idempotency_key="k")


def follow_too_many(kernel: Kernel) -> None:
    turn_id = asking(kernel)
    kernel.put_push(turn_id, "a")
    another = push.made("", "https://example.com/hook", "1.0", config_id="b")
    kernel.tuned(push_configs_max=1).follow(turn_id, push=another)


def follow_full(kernel: Kernel) -> None:
    turn_id = asking(kernel)
    kernel.submit()
    kernel.tuned(queue_depth_max=1).follow(turn_id)


def push_too_many(kernel: Kernel) -> None:
    turn_id = kernel.submit().turn_id
    for config_id in "ab":
        kernel.tuned(push_configs_max=1).put_push(turn_id, config_id)


def replay(kernel: Kernel, turn_id: str = "trn_unknown", schedule_id: str = "") -> None:
    """The script alone: the kernel looks for the turn before it."""
    given = {"turn_id": turn_id, "new_id": "trn_new", "again": False, "run_id": "", "body": ""}
    kernel.run("replay", schedule_id=schedule_id, mode="replay", **given)


def replay_removed_fire(kernel: Kernel) -> None:
    schedule = kernel.scheduled(redeliver="never")
    kernel.fire(schedule, kernel.now_ms(), "manual")
    found = kernel.claimed()
    kernel.release(found.session, counts=True)
    schedules.remove(kernel.platform, kernel.id, schedule.id)
    kernel.replay(found.turn.id)


def replay_full(kernel: Kernel) -> None:
    turn_id = kernel.dead_letter()
    kernel.submit()
    kernel.tuned(queue_depth_max=1).replay(turn_id)


# What a holder of a session writes: each is refused without one, and under a stale fence.
HELD: dict[str, Callable[[Kernel, Session], Any]] = {
    "bind": lambda kernel, session: kernel.bind(session),
    "hand_over": lambda kernel, session: kernel.hand_over(session),
    "deliver": deliver,
    "start": lambda kernel, session: kernel.start(session),
    "progress": lambda kernel, session: kernel.progress(session),
    "note": lambda kernel, session: kernel.note(session),
    "say": lambda kernel, session: kernel.say(session),
    "finish": lambda kernel, session: kernel.finish(session, text="precious"),
    "release": lambda kernel, session: kernel.release(session),
    "decline": decline,
    "ask": lambda kernel, session: kernel.ask(session, "checkpoint", "operator"),
}
MOVE_A_TURN = (
    *("hand_over", "deliver", "start", "progress", "note", "say"),
    *("finish", "release", "decline"),
)


def _held(state_of: Callable[[Kernel], Session], name: str) -> Recipe:
    return lambda kernel: HELD[name](kernel, state_of(kernel))


def new_schedule(at: Kernel) -> Schedule:
    return Schedule("sch_new", at.id, "tick", "* * * * *", "UTC", "go")


RECIPES: dict[tuple[str, str], Recipe] = {
    ("append", "workspace_not_found"): lambda kernel: append(elsewhere(kernel)),
    ("cancel", "turn_not_found"): lambda kernel: kernel.cancel("trn_unknown"),
    ("claim", "workspace_not_found"): lambda kernel: elsewhere(kernel).claim(),
    ("claim", "illegal_transition"): claim_ended,
    ("fire", "schedule_not_found"): fire_unknown,
    ("fire", "schedule_changed"): fire_changed,
    ("follow", "workspace_not_found"): lambda kernel: follow(elsewhere(kernel)),
    ("follow", "workspace_removed"): lambda kernel: follow(removed(kernel)),
    ("follow", "turn_not_found"): follow,
    ("follow", "illegal_transition"): lambda kernel: kernel.follow(kernel.submit().turn_id),
    ("follow", "queue_full"): follow_full,
    ("follow", "idempotency_conflict"): follow_named_twice,
    ("follow", "too_many_push_configs"): follow_too_many,
    ("replay", "workspace_not_found"): lambda kernel: replay(elsewhere(kernel)),
    ("replay", "workspace_removed"): lambda kernel: replay(removed(kernel)),
    ("replay", "turn_not_found"): replay,
    ("replay", "illegal_transition"): lambda kernel: kernel.replay(kernel.submit().turn_id),
    ("replay", "schedule_not_found"): replay_removed_fire,
    ("replay", "queue_full"): replay_full,
    ("discard", "turn_not_found"): lambda kernel: kernel.discard("trn_unknown"),
    ("discard", "illegal_transition"): lambda kernel: kernel.discard(kernel.submit().turn_id),
    ("push_put", "turn_not_found"): lambda kernel: kernel.put_push("trn_unknown"),
    ("push_put", "too_many_push_configs"): push_too_many,
    ("push_remove", "turn_not_found"): lambda kernel: kernel.run(
        "push_remove", turn_id="trn_unknown", push_id="c"
    ),
    ("forecast", "workspace_not_found"): lambda kernel: forecast(elsewhere(kernel)),
    ("heartbeat", "workspace_not_found"): lambda kernel: elsewhere(kernel).beat(),
    ("heartbeat", "workspace_removed"): lambda kernel: removed(kernel).beat(),
    ("memory_put", "workspace_not_found"): lambda kernel: put_memory(elsewhere(kernel)),
    ("memory_put", "workspace_removed"): lambda kernel: put_memory(removed(kernel)),
    ("memory_put", "idempotency_conflict"): memory_conflict,
    ("memory_put", "memories_full"): memories_full,
    ("memory_delete", "memory_not_found"): delete_unknown,
    ("schedule_put", "workspace_not_found"): lambda k: put(elsewhere(k), new_schedule(k)),
    ("schedule_put", "workspace_removed"): lambda k: put(removed(k), new_schedule(k)),
    ("schedule_put", "schedule_changed"): put_stale,
    ("hand_over", "started_elsewhere"): hand_over_twice,
    ("start", "started_elsewhere"): start_twice,
    ("submit", "workspace_not_found"): lambda kernel: elsewhere(kernel).submit(),
    ("submit", "workspace_removed"): lambda kernel: removed(kernel).submit(),
    ("submit", "idempotency_conflict"): conflict,
    ("submit", "queue_full"): fill,
    ("workspace_put", "workspace_not_found"): lambda k: create(elsewhere(k), "change"),
    ("workspace_put", "already_exists"): lambda kernel: create(kernel, "create"),
    ("workspace_put", "workspace_removed"): lambda k: create(removed(k), "register"),
    **{(name, "session_not_found"): _held(unknown, name) for name in HELD},
    **{(name, "stale_fence"): _held(stale, name) for name in HELD},
    **{(name, "illegal_transition"): _held(ended, name) for name in MOVE_A_TURN},
}
