"""The first report: one session for six hours, twelve fires behind it, a prompt that changes."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.cli.client import segment
from app.cli.field_reports.accounts import FIRES_COUNT, Account, of_fires
from app.cli.field_reports.narrator import Narrator
from app.cli.field_reports.stage import Stage, stage

HALF_HOUR_S, CEILING_S, SAVE_S = 1800, 3600, 600
NOON_MIN = 12 * 60
# With a ceiling a fire may be taken at once: each must find the newest prompt all the same.
CHANGE_AFTER = {"off": FIRES_COUNT, "on": 0}
OLD, NEW = "yesterday's policy", "today's policy"
# Five fields cannot say "every two seconds": the story makes each fire at its time.
FAR = "0 0 1 1 *"
DRAIN_S, START_S, LOOK_S = 40.0, 20.0, 0.5
OPEN = frozenset({"queued", "claimed", "delivered", "running", "checkpointing", "input_required"})


@dataclass
class Day:
    """One workspace's day from noon to six. ``speed``: how many seconds of it are one of ours."""

    here: Stage
    workspace_id: str
    ceiling: str
    speed: float
    schedule_id: str = ""
    first: str = ""
    began_at: float = 0.0
    made: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    attention: str = ""
    look_at: float = 0.0

    @property
    def folder(self) -> Path:
        """Where the agent and the story leave each other signs."""
        return self.here.folder / self.workspace_id

    @property
    def schedules(self) -> str:
        """The path of its schedules."""
        return f"/workspaces/{segment(self.workspace_id)}/schedules"

    def clock(self) -> str:
        """The time of day in the story."""
        minutes = NOON_MIN + int((time.monotonic() - self.began_at) * self.speed / 60)
        return f"{minutes // 60:02}:{minutes % 60:02}"

    def fires(self) -> list[dict[str, Any]]:
        """The ledger rows of the fires that found the session there."""
        answer = self.here.ask("GET", f"{self.schedules}/{self.schedule_id}/fires?limit=100")
        return [row for row in answer["fires"] if row["turn_id"] != self.first]

    def fire(self) -> str:
        """Make one fire now; its turn's id."""
        made = self.here.ask("POST", f"{self.schedules}/{self.schedule_id}/run", {})
        return str(made["turn_id"])

    def change_prompt(self) -> None:
        """As the owner did, while the session runs."""
        path = f"{self.schedules}/{self.schedule_id}"
        self.here.ask("PATCH", path, {"prompt": NEW})
        self.here.narrator.tell(
            f'{self.clock()}  the owner changes the prompt: "{OLD}" becomes "{NEW}"'
        )


def play(narrator: Narrator, speed: float) -> list[Account]:
    """Both parts; their accounts."""
    grace_s = SAVE_S / speed
    narrator.head("One session for six hours, and twelve fires behind it")
    narrator.tell(
        f"scale: {speed:g} times as fast, so half an hour is {HALF_HOUR_S / speed:.3g} s; "
        "heartbeats 60 times as fast"
    )
    settings = {
        "TURNKEEPER_CHECKPOINT_GRACE_S": f"{grace_s:.3f}",
        "TURNKEEPER_CANCEL_GRACE_S": "0",
        "TURNKEEPER_STALL_AFTER_S": "0",
    }
    with stage(narrator, **settings) as here:
        return [_part(here, ceiling, speed) for ceiling in ("off", "on")]


def _part(here: Stage, ceiling: str, speed: float) -> Account:
    narrator = here.narrator
    limit_s = CEILING_S / speed if ceiling == "on" else 0
    narrator.head(
        "Part 1: no ceiling. The agent works on and on."
        if ceiling == "off"
        else f"Part 2: the same day with a ceiling of one hour ({limit_s:.3g} s here)."
    )
    day = Day(here, f"seo-{ceiling}", ceiling, speed)
    _open(day, limit_s)
    _live(day)
    if ceiling == "off":
        _let_go(day)
    return _close(day)


def _open(day: Day, limit_s: float) -> None:
    """The workspace, its schedule, its agent, and the fire of noon, which the agent takes."""
    here = day.here
    day.folder.mkdir()
    (day.folder / "hold").touch()
    here.workspace(day.workspace_id, name="SEO Agent", ceiling_s=limit_s)
    fields = {"name": "seo-tick", "cron_expr": FAR, "timezone": "UTC", "prompt": OLD}
    day.schedule_id = here.ask("POST", day.schedules, fields)["id"]
    module = "app.cli.field_reports.long_agent"
    here.add_runtime(day.workspace_id, module, str(day.folder), "{prompt}")
    day.first = day.fire()
    here.wait((day.folder / "held").exists, START_S, "the agent takes the fire of noon")
    day.began_at = time.monotonic()
    here.narrator.tell(f'12:00  the agent takes the fire of noon under "{OLD}"')


def _live(day: Day) -> None:
    """Six hours: a fire each half hour, and one change of the prompt."""
    for number in range(1, FIRES_COUNT + 1):
        if number - 1 == CHANGE_AFTER[day.ceiling]:
            day.change_prompt()
        due = day.began_at + number * HALF_HOUR_S / day.speed
        day.here.wait(lambda due=due: _is_past(day, due), 60, "the next half hour")  # type: ignore[misc]
        day.made.append(day.fire())
        _tell_fire(day, number)
    if CHANGE_AFTER[day.ceiling] == FIRES_COUNT:
        day.change_prompt()


def _is_past(day: Day, due: float) -> bool:
    if time.monotonic() >= day.look_at:
        day.look_at = time.monotonic() + LOOK_S
        _tell_session(day)
    share = (time.monotonic() - day.began_at) / (FIRES_COUNT * HALF_HOUR_S / day.speed)
    day.here.narrator.status(share, f"{day.clock()}  {len(day.made)} of {FIRES_COUNT} fires made")
    return time.monotonic() >= due


def _tell_fire(day: Day, number: int) -> None:
    states = [row["state"] for row in day.fires()]
    waiting = sum(state == "queued" for state in states)
    what = "waits" if waiting else "is taken"
    day.here.narrator.tell(f"{day.clock()}  fire {number} {what}: {waiting} wait, none is refused")
    if day.ceiling == "off" and number in (3, FIRES_COUNT):
        day.attention = day.here.attention(day.workspace_id)
        day.here.narrator.tell(f"       needs attention: {day.attention or 'nothing'}")


def _tell_session(day: Day) -> None:
    """What the platform did to the session of noon, once each."""
    for event in day.here.events(day.workspace_id):
        if event.get("turn_id") != day.first or event["event"] in day.told:
            continue
        text = NOTES.get(event["event"])
        if text:
            day.told.add(event["event"])
            how = event.get("mechanism")
            line = f"{day.clock()}  {text}" + (f" [mechanism={how}]" if how else "")
            day.here.narrator.tell(line)


NOTES = {
    "SESSION_CHECKPOINT_REQUESTED": "the session of noon is asked to save and exit",
    "SESSION_CANCEL_REQUESTED": "the session of noon is canceled",
    "SESSION_ENDED": "the session of noon has ended; its slot is free",
}


def _let_go(day: Day) -> None:
    why = day.here.ask("GET", f"/workspaces/{segment(day.workspace_id)}/why")["sentence"]
    day.here.narrator.tell(f"       why: {why}")
    (day.folder / "let-go").touch()
    day.here.narrator.tell(f"{day.clock()}  at last the agent ends by itself")


def _close(day: Day) -> Account:
    def is_drained() -> bool:
        rows = day.fires()
        left = sum(row["state"] in OPEN for row in rows)
        share = 1 - left / FIRES_COUNT
        day.here.narrator.status(share, f"{FIRES_COUNT - left} of {FIRES_COUNT} fires have run")
        return not left

    day.here.wait(is_drained, DRAIN_S, "the fires that waited run")
    rows = day.fires()
    texts = {row["turn_id"]: _text(day, row["turn_id"]) for row in rows}
    account = of_fires(rows, texts, NEW, FIRES_COUNT)
    first = day.here.turn(day.workspace_id, day.first)
    has_ceiling = day.ceiling == "on"
    account = account.with_first(first, has_ceiling, has_ceiling or bool(day.attention))
    _tell_account(day, account, first)
    return account


def _tell_account(day: Day, account: Account, first: dict[str, Any]) -> None:
    narrator = day.here.narrator
    how = f" [mechanism={first['mechanism']}]" if first["mechanism"] else ""
    narrator.tell(f"       the turn of noon: {first['state']}{how}")
    if not account.faults:
        narrator.tell(f'       the twelve ran one by one, in order, each under "{NEW}"')
    for fault in account.faults:
        narrator.bad(fault)
    verdict = narrator.bad if account.faults else narrator.good
    verdict(f"{account.sentence} (ceiling {day.ceiling})")


def _text(day: Day, turn_id: str) -> str:
    result = day.here.turn(day.workspace_id, turn_id)["result"]
    return str((result or {}).get("text") or "")
