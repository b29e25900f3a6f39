"""What must hold of a workspace between any two steps, whatever they were; pure.

``check`` looks at a snapshot that was read in one transaction (``snapshots``), so what it finds is
true at once. What the control side ought to know is in ``hint_doubts``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from app.core import keys
from app.core.states import LANES, LIVE, TERMINAL, TRANSITIONS

Record = Mapping[str, Any]

# Where a queued turn waits beside its lane; where a turn is filed by whether it has ended.
WAITING: Final[tuple[str, ...]] = tuple(
    name for name in ("returned", "delayed", "parked") if name in keys.NAMES
)
FILED: Final = ("open", "done", "dead")
TURN_SETS: Final = (*FILED, *WAITING, *(n for n in ("expiring",) if n in keys.NAMES))
SESSION_SETS: Final = ("live", "ended", "inbox", "zombies")
# What the ledger says of a fire whose turn is with an agent.
RUNNING: Final = LIVE | {"running"}
ENDED_FIRES: Final = TERMINAL | {"missed"}

CODES: Final[Mapping[str, str]] = {
    "record_unreadable": "Every record can be read.",
    "turn_missing": "A turn that is filed or waits is there.",
    "turn_state_unknown": "A turn's state is one of the table.",
    "turn_misfiled": "A turn is filed once: open, or ended, or a dead letter not looked after.",
    "turn_misplaced": "A queued turn waits in one place; no other turn waits.",
    "turn_without_session": "A turn that is with an agent has its own live session.",
    "turn_body_missing": "What a turn asks is kept with it.",
    "entry_missing": "An open turn is in its lane's stream.",
    "entry_left": "An ended turn is in no stream.",
    "session_missing": "A session that is live or ended is there.",
    "session_misfiled": "A session is live or has ended, and is filed as that.",
    "session_without_turn": "A live session has a turn that is with it.",
    "fence_unknown": "A fence was given by the workspace's epoch.",
    "fence_repeated": "No two sessions have one fence.",
    "over_capacity": "No more sessions are live than there were slots at the last claim.",
    "inbox_stale": "Only bound, live, unstarted sessions are laid out for the poll.",
    "zombie_live": "A zombie is a session that has ended.",
    "fire_missing": "The fire of an open turn is in the ledger.",
    "fire_disagrees": "The ledger says of a fire what its turn says.",
    "fire_without_turn": "A fire that has not ended has an open turn.",
    "due_missing": "An enabled schedule has its next nominal time.",
    "due_left": "A schedule that is disabled or removed has no nominal time to come.",
    "sums_disagree": "The sizes agree: turns, sessions, streams, counters, ledger.",
    "waiting_unrung": "Who has room and waiting turns is rung for.",
    "session_unwatched": "The reaper is to look at every live session before its ceiling.",
    "agent_unwatched": "A worker is to look at every live session whose agent is behind a URL.",
    "session_past_ceiling": "No session outlives its ceiling.",
    "due_unhinted": "The scheduler is to look at every schedule by its due time.",
    "fire_overdue": "No due time stays behind.",
}


@dataclass(frozen=True)
class Violation:
    """What cannot be: a code of ``CODES``, what it is about, and a sentence for the operator."""

    code: str
    subject: str
    sentence: str


@dataclass(frozen=True)
class Snapshot:
    """A workspace, or a part of a big one, as it stood at ``at_ms`` (server time).

    Records that were asked for and are not there are None; ids that were not asked for are absent
    and nothing is said of them. ``sets``: of the ids asked for, those that are members.
    ``entries``: turn id -> whether its stream has its entry. ``sizes``: of each key, in full.
    """

    workspace_id: str
    at_ms: int
    workspace: Mapping[str, str]
    capacity: Mapping[str, str]
    lanes: Mapping[str, str]
    sizes: Mapping[str, int]
    turns: Mapping[str, Record | None]
    sessions: Mapping[str, Record | None]
    fires: Mapping[str, Record | None]
    schedules: Mapping[str, Record | None]
    due: Mapping[str, float]
    sets: Mapping[str, Mapping[str, float]]
    bodies: frozenset[str]
    bound: frozenset[str]
    entries: Mapping[str, bool]
    unreadable: frozenset[str] = frozenset()

    @property
    def checked(self) -> int:
        """How many turns, sessions, fires and schedules were looked at."""
        parts = (self.turns, self.sessions, self.fires, self.schedules)
        return sum(record is not None for part in parts for record in part.values())

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.sizes[name] for name in ("turns", "sessions", "fires", "schedules"))

    @property
    def has_all_open(self) -> bool:
        """Whether no open turn was left out."""
        return self.sizes["open"] == len(self.sets["open"])

    @property
    def fresh_count(self) -> int:
        """How many turns wait in the lanes, never claimed, by the counters."""
        return sum(int(self.lanes.get(lane, 0)) for lane in LANES)

    @property
    def slots(self) -> int:
        """The smaller of what owner and agent allow; one where neither says."""
        said = (self.workspace.get("max_concurrent"), self.capacity.get("max_concurrent"))
        return min((int(text) for text in said if text), default=1)

    @property
    def foreign(self) -> int:
        """Work that the agent reports and that is not ours."""
        return int(self.capacity.get("foreign", 0))

    def waits_in(self, turn_id: str, turn: Record) -> list[str]:
        """The places in which a turn waits."""
        found = [name for name in WAITING if turn_id in self.sets[name]]
        is_fresh = order(turn["entry"]) > order(self.lanes.get(f"last:{turn['lane']}", "0-0"))
        return [*found, "lane"] if is_fresh and turn["state"] not in TERMINAL else found


def order(entry: str) -> tuple[int, int]:
    """A stream entry's id as numbers."""
    at_ms, _, number = entry.partition("-")
    return int(at_ms), int(number)


@dataclass
class _Found:
    """What was found so far; a thing that is broken is reported once, by its first code."""

    violations: list[Violation] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)

    def add(self, code: str, sentence: str, subject: str, *involved: str | None) -> None:
        if subject not in self.touched:
            self.violations.append(Violation(code, subject, sentence))
        self.touched.update(name for name in (subject, *involved) if name)


def check(stored: Snapshot) -> list[Violation]:
    """Everything in the snapshot that cannot be; empty: all is well."""
    found = _Found()
    for name in sorted(stored.unreadable):
        found.add("record_unreadable", f"{name} cannot be read", name)
    for rule in (_turns, _sessions, _fences, _capacity, _ledger, _schedules):
        rule(stored, found)
    # Only where each thing seen is well: the sums then tell of what was not seen.
    if not found.violations:
        for sentence in _sums(stored):
            found.violations.append(Violation("sums_disagree", stored.workspace_id, sentence))
    return found.violations


def _turns(stored: Snapshot, found: _Found) -> None:
    for key, turn in stored.turns.items():
        if turn is None:
            named = [name for name in TURN_SETS if key in stored.sets[name]]
            if named:
                found.add("turn_missing", f"{' and '.join(named)} names {key}: no such turn", key)
            continue
        if found.touched & {key}:
            continue
        involved = (turn.get("session_id"), fire_of(turn))
        for code, sentence in _turn(stored, key, turn):
            found.add(code, f"turn {key} is {turn['state']} {sentence}", key, *involved)


def _turn(stored: Snapshot, key: str, turn: Record) -> Iterator[tuple[str, str]]:
    state = turn["state"]
    if state not in TRANSITIONS:
        yield "turn_state_unknown", "and no such state is known"
        return
    is_open = state not in TERMINAL
    filed = [name for name in FILED if key in stored.sets[name]]
    is_letter = state == "dead" and not turn.get("replayed_as") and not turn.get("discarded_at")
    right = "open" if is_open else "dead" if is_letter else "done"
    if filed != [right] or ("ended_at" in turn) == is_open:
        yield "turn_misfiled", f"and filed in {filed or 'nothing'}, ended_at {turn.get('ended_at')}"
    places = stored.waits_in(key, turn)
    if len(places) != (state == "queued"):
        yield "turn_misplaced", f"and waits in {places or 'nothing'}"
    if state in LIVE and not _has_session(stored, key, turn):
        yield "turn_without_session", f"but session {turn.get('session_id')} does not hold it"
    if key not in stored.bodies:
        yield "turn_body_missing", "and what it asks is gone"
    if stored.entries.get(key, is_open) != is_open:
        code = "entry_missing" if is_open else "entry_left"
        yield code, f"and its lane {'lacks' if is_open else 'still holds'} it"


def _has_session(stored: Snapshot, key: str, turn: Record) -> bool:
    session_id = turn.get("session_id")
    if session_id is not None and session_id not in stored.sessions:
        return True  # claimed after the ids were picked: the next look sees it
    session = stored.sessions.get(session_id) if session_id else None
    return (
        session is not None
        and session_id in stored.sets["live"]
        and session["turn_id"] == key
        and session["state"] == turn["state"]
        and session["attempt"] == turn["attempt"]
    )


def _sessions(stored: Snapshot, found: _Found) -> None:
    for key, session in stored.sessions.items():
        named = [name for name in SESSION_SETS if key in stored.sets[name]]
        if session is None:
            # A zombie may be reported for longer than its session is kept.
            if set(named) - {"zombies"}:
                found.add(
                    "session_missing", f"{' and '.join(named)} names {key}: no such session", key
                )
            continue
        if key not in found.touched:
            for code, sentence in _session(stored, key, session, named):
                if code != "session_without_turn" or session["turn_id"] not in found.touched:
                    found.add(code, f"session {key} {sentence}", key, session["turn_id"])


def _session(
    stored: Snapshot, key: str, session: Record, named: list[str]
) -> Iterator[tuple[str, str]]:
    has_ended = "ended_at" in session
    if [name for name in named if name in ("live", "ended")] != ["ended" if has_ended else "live"]:
        yield "session_misfiled", f"has ended: {has_ended}; it is filed in {named or 'nothing'}"
    if not has_ended and not _has_turn(stored, key, session):
        yield "session_without_turn", f"holds a slot, and {session['turn_id']} is not with it"
    if "inbox" in named and (has_ended or "started_at" in session or key not in stored.bound):
        yield "inbox_stale", "is laid out for the poll; it has ended, begun or nothing to be given"
    if "zombies" in named and not has_ended:
        yield "zombie_live", "is a zombie and has not ended"


def _has_turn(stored: Snapshot, key: str, session: Record) -> bool:
    turn_id = session["turn_id"]
    if turn_id not in stored.turns:
        return True
    turn = stored.turns[turn_id]
    return turn is not None and turn["state"] in LIVE and turn.get("session_id") == key


def _fences(stored: Snapshot, found: _Found) -> None:
    epoch = int(stored.workspace.get("epoch", 0))
    holders: dict[int, str] = {}
    for key, session in stored.sessions.items():
        if session is None or key in found.touched:
            continue
        fence = session["fence"]
        if not 0 < fence <= epoch:
            found.add("fence_unknown", f"session {key}: fence {fence}, the epoch is {epoch}", key)
        elif fence in holders:
            text = f"sessions {holders[fence]} and {key} both have fence {fence}"
            found.add("fence_repeated", text, key, holders[fence])
        holders[fence] = key


def _capacity(stored: Snapshot, found: _Found) -> None:
    """Only where nothing that says how many may run has changed since the newest claim."""
    live = stored.sets["live"]
    beat = stored.capacity
    if not live or not beat or len(live) != stored.sizes["live"] or found.touched & live.keys():
        return
    changed_at = max(int(beat["at"]), int(float(stored.workspace.get("updated_at", 0))))
    if max(live.values()) <= changed_at:
        return
    if len(live) + stored.foreign > stored.slots:
        text = f"{len(live)} sessions and {stored.foreign} foreign in {stored.slots} slots"
        found.add("over_capacity", text, stored.workspace_id)


def fire_of(turn: Record) -> str | None:
    """The ledger row of a turn that a schedule made."""
    schedule_id = turn.get("schedule_id")
    return f"{schedule_id}:{turn['nominal_at']}" if schedule_id else None


def _ledger(stored: Snapshot, found: _Found) -> None:
    for key, turn in stored.turns.items():
        row_id = fire_of(turn) if turn else None
        if turn is None or row_id is None or found.touched & {key, row_id}:
            continue
        if row_id not in stored.fires:
            continue
        row = stored.fires[row_id]
        if row is None:  # the ledger is trimmed of ended rows only
            if turn["state"] not in TERMINAL:
                found.add("fire_missing", f"turn {key} has no row {row_id}", row_id, key)
        elif row.get("turn_id") == key and not _agree(row["state"], turn["state"]):
            text = f"fire {row_id} is {row['state']}, its turn {key} is {turn['state']}"
            found.add("fire_disagrees", text, row_id, key)
    for row_id, row in stored.fires.items():
        if row is None or row["state"] in ENDED_FIRES or row_id in found.touched:
            continue
        turn_id = row.get("turn_id")
        if turn_id is None or (turn_id in stored.turns and stored.turns[turn_id] is None):
            text = f"fire {row_id} is {row['state']} and turn {turn_id} is not there"
            found.add("fire_without_turn", text, row_id)


def _agree(row_state: str, turn_state: str) -> bool:
    is_given = turn_state in LIVE or turn_state == "input_required"
    return row_state == turn_state or (is_given and row_state in RUNNING)


def _schedules(stored: Snapshot, found: _Found) -> None:
    for key in stored.schedules:
        schedule, is_due = stored.schedules[key], key in stored.due
        if key in found.touched:
            continue
        if is_due and not _may_be_due(schedule, stored.due[key]):
            found.add("due_left", f"schedule {key} is off or gone and still due", key)
        elif schedule is not None and schedule.get("enabled", True) and not is_due:
            found.add("due_missing", f"schedule {key} is enabled and never due", key)


def _may_be_due(schedule: Record | None, due_ms: float) -> bool:
    """One that its failures paused is due until the fires that were overdue then are made."""
    if schedule is None:
        return False
    return bool(schedule.get("enabled", True) or due_ms <= schedule.get("updated_at", 0))


def _sums(stored: Snapshot) -> Iterator[str]:
    sizes = stored.sizes
    streams = sum(size for name, size in sizes.items() if name.startswith("lane_"))
    placed = stored.fresh_count + sum(sizes[name] for name in WAITING) + sizes["live"]
    equal = [
        ("turns", sizes["turns"], "filed", sum(sizes[name] for name in FILED)),
        ("turns", sizes["turns"], "bodies", sizes["bodies"]),
        ("sessions", sizes["sessions"], "live and ended", sizes["live"] + sizes["ended"]),
        ("open turns", sizes["open"], "stream entries", streams),
        ("ledger rows", sizes["fires"], "indexed", sizes["fire_index"]),
    ]
    if stored.has_all_open:
        asking = sum(
            (turn or {}).get("state") == "input_required" for turn in stored.turns.values()
        )
        equal.append(("open turns", sizes["open"], "waiting, live or asking", placed + asking))
    for one, count, other, number in equal:
        if count != number:
            yield f"{count} {one}, {number} {other}"
    if placed > sizes["open"]:
        yield f"{sizes['open']} open turns, {placed} waiting or live"
