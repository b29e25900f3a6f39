"""The second report: a chat turn whose one step is longer than the silence that was allowed."""

from dataclasses import dataclass, field
from typing import Any

from app.cli.client import segment
from app.cli.field_reports.accounts import of_control, of_step
from app.cli.field_reports.narrator import Narrator
from app.cli.field_reports.stage import Stage, stage
from app.cli.messages import post_message

SCALE = 60
# The limit of the report was 300 s of silence, the step more than six minutes.
OLD_LIMIT_S = 300
OUTSIDE, INSIDE = "canvas", "canvas-inside"
MODULE = "app.cli.field_reports.locked_step"
START_S, MARGIN_S = 20.0, 30.0


@dataclass
class Chat:
    """One chat turn under way. ``beats``: the distinct heartbeats that were seen."""

    here: Stage
    workspace_id: str
    turn_id: str = ""
    beats: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)

    def sessions(self) -> list[dict[str, Any]]:
        """The sessions of its workspace."""
        path = f"/workspaces/{segment(self.workspace_id)}/sessions"
        found: list[dict[str, Any]] = self.here.ask("GET", path)["sessions"]
        return found

    def look(self) -> dict[str, Any]:
        """Note the last heartbeat; the turn as it is now."""
        row = self.here.ask("GET", f"/workspaces/{segment(self.workspace_id)}")
        if row["last_heartbeat_at"]:
            self.beats.add(row["last_heartbeat_at"])
        return self.here.turn(self.workspace_id, self.turn_id)


def play(narrator: Narrator, step_s: int) -> list[str]:
    """Two agents with the same step; what is not as it should be."""
    limit_s = OLD_LIMIT_S / SCALE
    narrator.head("A chat turn with one step that holds the interpreter's lock")
    narrator.tell(
        f"scale: {SCALE} times as fast, so the old limit of {OLD_LIMIT_S} s is {limit_s:g} s here, "
        f"and the step of {step_s * SCALE / 60:g} min takes {step_s} s"
    )
    with stage(narrator, TURNKEEPER_IDLE_TIMEOUT_S=f"{limit_s:g}") as here:
        outside, inside = _open(here, step_s)
        _watch(here, outside, inside, step_s)
        return _close(outside, inside, limit_s)


def _open(here: Stage, step_s: int) -> tuple[Chat, Chat]:
    for name in (OUTSIDE, INSIDE):
        here.workspace(name)
    here.add_runtime(OUTSIDE, MODULE, str(step_s))
    here.add_agent(INSIDE, MODULE, str(step_s), INSIDE)
    chats = Chat(here, OUTSIDE), Chat(here, INSIDE)
    for chat in chats:
        answer = post_message(here.api, chat.workspace_id, "Move the 102 images.")
        chat.turn_id = str(answer["queue_id"])
    here.narrator.tell("two agents are asked to move 102 images; the chat's request is answered")
    here.narrator.tell("  canvas:         turnkeeper run beside it; the runtime beats")
    here.narrator.tell("  canvas-inside:  it beats from a thread of its own process")
    here.wait(lambda: all(chat.sessions() for chat in chats), START_S, "both agents begin")
    here.narrator.tell("both have begun their step: one call, and the lock is held")
    return chats


def _watch(here: Stage, outside: Chat, inside: Chat, step_s: int) -> None:
    def is_over() -> bool:
        turn, other = outside.look(), inside.look()
        _tell(outside, _ending(outside), len(outside.beats))
        _tell(inside, _ending(inside), len(inside.beats))
        age_s = max((row["age_s"] for row in outside.sessions()), default=0.0)
        words = f"{len(outside.beats)} beats beside the work, {len(inside.beats)} inside it"
        here.narrator.status(age_s / step_s, words)
        return bool(turn["ended_at"]) and (bool(other["ended_at"]) or bool(_ending(inside)))

    here.wait(is_over, step_s + MARGIN_S, "the step ends")


def _ending(chat: Chat) -> str:
    """What ended its session; empty while it lives."""
    ended = [row for row in chat.sessions() if row["ended_at"]]
    return str(ended[0]["mechanism"] or "finish") if ended else ""


def _tell(chat: Chat, mechanism: str, beats: int) -> None:
    if mechanism and mechanism not in chat.told:
        chat.told.add(mechanism)
        seen = f"{beats} beat{'' if beats == 1 else 's'} seen"
        line = f"{chat.workspace_id}: the session ended, {seen} [mechanism={mechanism}]"
        chat.here.narrator.tell(line)


def _close(outside: Chat, inside: Chat, limit_s: float) -> list[str]:
    narrator = outside.here.narrator
    turn = outside.here.turn(OUTSIDE, outside.turn_id)
    answers = [row for row in outside.here.events(OUTSIDE) if row["event"] == "AGENT_MESSAGE"]
    text = str((turn["result"] or {}).get("text") or "").strip()
    narrator.tell(f'canvas: the answer arrived as {len(answers)} AGENT_MESSAGE: "{text}"')
    faults = of_step(turn, outside.sessions(), limit_s) + of_control(inside.sessions())
    if not answers:
        faults.append("no AGENT_MESSAGE carried the answer")
    lost = inside.here.turn(INSIDE, inside.turn_id)
    narrator.tell(
        f"canvas-inside: its beats stopped with its work, so the platform heard {limit_s:g} s of "
        f"silence; its turn is {lost['state']}: not lost, but to be done again"
    )
    for fault in faults:
        narrator.bad(fault)
    (narrator.bad if faults else narrator.good)(
        f"1 asked, {int(bool(answers))} answered; beats beside the work go on whatever it does"
    )
    return faults
