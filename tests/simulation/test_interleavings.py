"""Random interleavings of everything that can happen to a workspace, in virtual time.

A failure prints its seed and step, and a test of the few steps that it takes; the same seed walks
the same way again.
"""

from collections import Counter

import pytest

from app.core import scripts
from app.core.states import LANES
from tests.simulation import fires
from tests.simulation.shrinking import steps_of
from tests.simulation.walk import STEPS as EVERYTHING
from tests.simulation.walking import FOUND, walked
from tests.support import invariants, near_reading

SEEDS = range(20)
STEPS = 2500

# Each takes one mechanism away; a walk must notice.
CONTROLS = {
    "no capacity": ("claim", "if free <= 0 then return {'capacity_full', 0} end", ""),
    "no heartbeat needed": (
        "claim",
        "if not free then return",
        "free = free or 1 if nil then return",
    ),
    "no pause": ("claim", "if ws[2] then return {'paused', 0} end", ""),
    "no replay": ("claim", "if known then", "if nil then"),
    "no aging": ("claim", "return overdue or first", "return first"),
    "no fence": ("finish", "session.fence == number(A.fence) and not session.ended_at", "true"),
    "left in the inbox": ("start", "redis.call('ZREM', K.inbox, session.id)", ""),
    "left in the lane": ("cancel", "  unqueue(turn)\nelse", "else"),
    "left in the stream": ("finish", "redis.call('XDEL', stream_of(turn.lane), turn.entry)", ""),
    "slot kept": ("reap", "redis.call('ZREM', K.live, session.id)", ""),
    "place lost": (
        "release",
        "RANK[turn.lane] * 1e12 + turn.seq",
        "RANK[turn.lane] * 1e12 - turn.seq",
    ),
    "no compare-and-set": (
        "fire",
        "if row and (row.turn_id or is_due) or "
        "redis.call('HEXISTS', K.turns, fire.turn_id) == 1 then",
        "if nil then",
    ),
    "an old answer is left": ("follow", "redis.call('HDEL', K.results, turn.id)", ""),
    "an answer to a turn that runs": (
        "follow",
        "if turn.state ~= 'input_required' then",
        "if TERMINAL[turn.state] then",
    ),
    "no bound on answers": (
        "follow",
        "if depth >= tonumber(A.queue_depth_max) then",
        "if nil then",
    ),
    "a named answer is forgotten": ("follow", "if known then", "if nil then"),
    "an answer goes to another lane": (
        "follow",
        "RANK[turn.lane] * 1e12 + turn.seq",
        "RANK[turn.lane] * 1e12 + turn.seq + 1e12",
    ),
    "pushes outlive their turn": (
        "finish",
        "redis.call('HDEL', K.push, id .. ':' .. config_id)",
        "",
    ),
    "no order by last change": (
        "claim",
        "redis.call('ZADD', K.changed, turn.state_at, turn.id)",
        "",
    ),
    "replayed each time": ("replay", "if old.replayed_as and", "if nil and"),
    "a replayed letter stays": ("replay", "redis.call('ZREM', K.dead, turn.id)", "0"),
    "a replay takes its fire's place": (
        "replay",
        "while redis.call('HEXISTS', K.fires, fire_of(turn)) == 1 do",
        "turn.nominal_at = old.nominal_at while nil do",
    ),
    "no bound on replays": (
        "replay",
        "if depth >= tonumber(A.queue_depth_max) then",
        "if nil then",
    ),
    "a discarded letter stays": ("discard", "redis.call('ZREM', K.dead, turn.id)", "0"),
    "the newest letters go": ("bury", "'ZRANGE', K.dead", "'ZREVRANGE', K.dead"),
    "no bound": ("submit", "if depth >= tonumber(A.queue_depth_max) then", "if nil then"),
    "nothing expires": ("expire", "turn.state == 'queued' and expires(turn)", "nil"),
    "the begun expires": (
        "release",
        "return turn.expires_at and not turn.begun_at",
        "return turn.expires_at",
    ),
    "retried for ever": ("finish", "if used > allowed then", "if used > allowed + 9 then"),
    "no retry": ("finish", "if used > allowed then", "if used then"),
    "failures forgiven": (
        "finish",
        "if not FAILED[turn.state] then return end",
        "if 1 then return end",
    ),
    "waiting not counted": ("claim", "tally(turn, turn.row_state, -1)", ""),
    "a note is not kept": (
        "note",
        "if place then redis.call('HSET', K.notes, place, A.note) end",
        "",
    ),
    "the note of work that is done": (
        "finish",
        "if outcome == 'completed' then redis.call('HDEL', K.notes, place) end",
        "",
    ),
    "saved and not told": ("finish", "if outcome == 'completed' and has_obeyed(session)", "if nil"),
    "a token outlives its session": (
        "finish",
        "session.tokens = turn.state, nil",
        "session.x = turn.state",
    ),
    "the reaper is not told": ("watch", "redis.call('ZADD', K.deadlines, at, A.workspace_id)", ""),
    "nobody is rung for": (
        "ring",
        "redis.call('ZADD', K.ready,",
        "redis.call('ZSCORE', K.ready, A.workspace_id) -- ",
    ),
    "the reaper takes nothing": ("overdue", "return {'ok', unpack(found)}", "return {'ok'}"),
    "zombies are foreign": (
        "heartbeat",
        "elseif session.ended_at then",
        "else foreign = foreign + 1",
    ),
}

# The same of walks in which mostly fires of a schedule meet.
OF_FIRES = {
    "fires overlap": ("claim", "if other then return park(turn) end", ""),
    "nothing is skipped": ("claim", "return skip(turn, other)", "return turn, schedule"),
    "only a live fire skips": (
        "claim",
        "not other then other = outlasted_by(turn) end",
        "nil then end",
    ),
    "all are buffered": ("claim", "if not NEWEST_ONLY[policy] then", "if true then"),
    "the oldest runs": ("claim", "local run = last and last ~= place_of(turn)", "local run = nil"),
    "the policy of a fire is not its own": ("claim", "turn.overlap_policy or schedule", "schedule"),
    "a lost fire does not give way": ("claim", "unqueue(one)\n      give_way(one, turn)", ""),
    "entries are not changed": ("claim", "if in_lane then run.entry", "if nil then run.entry"),
    "never paused": ("finish", "or count < limit or", "or count or"),
    "parked and not woken": ("finish", "    unpark(turn.schedule_id)\n  end", "  end"),
}


# Scripts that no walk runs, by where they are tried instead.
ELSEWHERE = {
    "of the control side: tests/contract, tests/integration": "admit agent_watch agents_due "
    "dispatcher login replay_run_put token_swap watch_all webhook_put",
    "lines of webhooks and pushes: test_deliveries.py": "line_close line_open line_settle "
    "line_take trim",
    "memories: test_memories.py": "memory_delete memory_put memory_read memory_seen memory_seq "
    "memory_tell",
    "agents behind addresses: tests/integration/agents": "agent_hold agent_push",
    "schedules come and go: test_month.py, tests/contract": "schedule_remove forecast",
    "what only tells: tests/contract": "alert append",
    "walked, by a platform of its own: letters.py": "bury",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_interleaving_keeps_every_turn_in_one_state_and_one_place(seed: int) -> None:
    walk = walked(seed, STEPS)
    ends = Counter(walk.terminal.values())
    print(ends, walk.answers, walk.done)
    assert len(ends) >= 4, "too tame"
    assert walk.answers["claimed"] >= 15, "too tame"
    assert sum(count == 0 for count in walk.done.values()) <= 1, "too tame"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_interleaving_of_fires_keeps_to_their_overlap_policies(seed: int) -> None:
    walk = walked(seed, STEPS, kinds=fires.STEPS)
    print(walk.overlapped, walk.answers, walk.done)
    assert len(walk.overlapped) >= 2, "too tame"
    assert walk.answers["claimed"] >= 15, "too tame"


def test_a_run_takes_a_hundred_thousand_steps() -> None:
    assert len(SEEDS) * STEPS * 2 >= 100_000


def test_what_is_read_nearby_is_what_the_protocol_gives() -> None:
    walk = walked(5, 600)
    wanted = [("hash", walk.kernel.keys[name]) for name in invariants.HASHES]
    wanted += [("zset", walk.kernel.keys[name]) for name in invariants.SETS]
    wanted += [("stream", walk.kernel.keys[f"lane_{lane}"]) for lane in LANES]
    near = near_reading.read(near_reading.of_fake(walk.kernel.data), wanted)
    said = invariants.by_protocol(walk.kernel, wanted)
    assert sum(map(bool, said)) > 20
    for name, nearby, row in zip(wanted, near, said, strict=True):
        assert sorted(nearby) == sorted(row), name
        assert not isinstance(row, dict) or nearby == row, name


def test_every_script_is_walked_or_has_its_test_elsewhere() -> None:
    by_sha = {script.sha: name for name, script in scripts.load().items()}
    ran = set[str]()
    for seed in range(3):
        ran |= {by_sha[sha] for sha in walked(seed, STEPS).line.ran}
    elsewhere = {name for names in ELSEWHERE.values() for name in names.split()}
    assert ran | elsewhere == set(by_sha.values()), "a new script needs either"
    assert not ran & elsewhere, "and not both"


@pytest.mark.nightly
@pytest.mark.parametrize("kinds", [EVERYTHING, fires.STEPS], ids=["everything", "fires"])
@pytest.mark.parametrize("seed", range(1_000, 1_400))
def test_two_million_steps_more(seed: int, kinds: dict[str, int]) -> None:
    walked(seed, STEPS, kinds=kinds)


def test_a_seed_walks_the_same_way_again() -> None:
    first, second = (walked(99, 150) for _ in range(2))
    assert first.stored == second.stored


@pytest.mark.parametrize("name", CONTROLS)
def test_control_a_walk_finds_the_missing_mechanism(name: str) -> None:
    with pytest.raises(FOUND) as fault:
        for seed in range(20):
            walked(seed, STEPS, CONTROLS[name])
    print(repr(fault.value)[:200], getattr(fault.value, "__notes__", ""))


@pytest.mark.parametrize("name", OF_FIRES)
def test_control_a_walk_of_fires_finds_the_missing_mechanism(name: str) -> None:
    with pytest.raises(FOUND) as fault:
        for seed in range(9):
            walked(seed, STEPS, OF_FIRES[name], fires.STEPS)
    print(repr(fault.value)[:200], getattr(fault.value, "__notes__", ""))


def test_a_failure_is_made_short_and_printed_as_a_test_that_fails_alike() -> None:
    control = CONTROLS["slot kept"]
    with pytest.raises(FOUND) as fault:
        for seed in range(20):
            walked(seed, STEPS, control, shrink_s=20)
    (note,) = [one for one in fault.value.__notes__ if "def test_seed" in one]
    print(note)
    pasted = note.split('"')[1]
    assert len(steps_of(pasted)) <= 12
    with pytest.raises(FOUND):
        walked(seed, pasted, control)
    walked(seed, pasted)  # the mechanism is there: nothing fails
