"""Names of every Redis key.

Keys of one workspace carry the tag ``{workspace_id}``, so that each script touches one slot.
Keys of the control side are hints: written after a script, repaired by the sweep.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

SCHEMA = "tk:schema"

# Control side: hints and coordination, never the truth.
WORKSPACES = "tk:workspaces"  # zset: workspace id -> created_at_ms
READY = "tk:ready"  # zset: workspace id -> ring number; who may have something to claim
RINGS = "tk:rings"  # counter behind the ring numbers: order comes from a sequence, not a clock
DISPATCHERS = "tk:dispatchers"  # zset: running dispatch slice -> lease end ms
DEADLINES = "tk:deadlines"  # zset: workspace id -> ms when the reaper must look
DEADLINES_TAKEN = "tk:deadlines:taken"  # zset: workspace id -> ms when an unsettled look comes back
DUE = "tk:due"  # zset: "workspace id|schedule id" -> nominal ms
TOKENS = "tk:tokens"  # hash: sha256 of the token -> record
WEBHOOKS = "tk:webhooks"  # hash: webhook id -> record with its secrets
WEBHOOKS_SEEN = "tk:webhooks:seen"  # hash: webhook id -> ms of its last delivered event
PUSHES = "tk:pushes"  # zset: workspace id -> ms when a push configuration was last put there
TICKS = "tk:ticks"  # hash: control job -> ms when it last ran
REPLAY_RUNS = "tk:replays"  # hash: run id -> record: which dead letters, how far, why it stopped
REPLAY_RUNS_OPEN = "tk:replays:open"  # zset: run id -> ms when it was begun; those that go on
HISTORY = "tk:history"  # list: one sample of all workspaces a minute, the newest last; a day
INVARIANTS = "tk:invariants"  # hash: workspace id -> last report of the invariants check
INVARIANTS_ROUND = "tk:invariants:round"  # hash: how far the check has come
VIOLATIONS = "tk:invariants:violations"  # zset: workspace id -> violations, where there are any
AGENTS = "tk:agents"  # zset: workspace id -> ms when its agent behind a URL is to be looked at
AGENTS_WAKE = "tk:agents:wake"  # list: wakes a worker that waits for such a look
TEAMS = "tk:teams:"  # + team -> set of the workspaces that may be in it
PACES = "tk:pace:"  # + sha256 of a token, and for what -> us until when its requests are used up
PACES_TOLD = "tk:pace:told:"  # + as above: that the log was told, for a minute
LIMITED = "tk:limited"  # hash: what for -> how many requests were refused for coming too fast
LOGINS = "tk:login:"  # + sha256 of a one-time code -> token record, short-lived
LOGINS_OF = "tk:logins:"  # + token id -> list: the digests of its browser logins, oldest first


CONTROL = {
    "ready": READY,
    "rings": RINGS,
    "dispatchers": DISPATCHERS,
    "deadlines": DEADLINES,
    "deadlines_taken": DEADLINES_TAKEN,
    "webhooks": WEBHOOKS,
    "agents": AGENTS,
    "agents_wake": AGENTS_WAKE,
    "replay_runs": REPLAY_RUNS,
    "replay_runs_open": REPLAY_RUNS_OPEN,
    "tokens": TOKENS,
    "limited": LIMITED,
}


class WorkspaceKeys:
    """The keys of one workspace; attribute names are those of the scripts' ``@keys`` headers."""

    __slots__ = ("_prefix", "workspace_id")

    def __init__(self, workspace_id: str) -> None:
        self.workspace_id = workspace_id
        self._prefix = f"tk:{{{workspace_id}}}:"

    def __getitem__(self, name: str) -> str:
        if name not in NAMES:
            raise KeyError(name)
        return self._prefix + NAMES[name]


NAMES = {
    "workspace": "workspace",  # hash: configuration, status, epoch (fence counter), turn_seq
    "capacity": "capacity",  # hash with TTL: what the last heartbeat said
    "lane_urgent": "lane:urgent",  # streams: the waiting and the running turns of a lane
    "lane_chat": "lane:chat",
    "lane_task": "lane:task",
    "lane_cron": "lane:cron",
    "lane_info": "lane:info",
    # hash: lane -> never-claimed entries; last:<lane> -> newest claimed entry; parked -> how many
    "lanes": "lanes",
    "returned": "returned",  # zset: turn id -> lane rank * 1e12 + seq; may be claimed again now
    "delayed": "delayed",  # zset: turn id -> ms from which it may be claimed again
    "expiring": "expiring",  # zset: waiting turn id -> ms when its time to live passes
    # zset, all scores 0: "schedule id|own policy|lane|seq|turn id" of the fires never claimed yet
    "fires_waiting": "fires_waiting",
    # zset, as fires_waiting: those of them set aside until an earlier fire of their schedule ends
    "parked": "parked",
    # hash: turn id -> schedule id of each fire that is live, or lost and waiting
    "fires_unfinished": "fires_unfinished",
    "last_runs": "last_runs",  # hash: schedule id -> the fire that ran last, and when it ended
    "turns": "turns",  # hash: turn id -> record
    "bodies": "bodies",  # hash: turn id -> what was asked (opaque to scripts)
    "results": "results",  # hash: turn id -> what came back (opaque to scripts)
    "changed": "changed",  # zset: turn id -> state_at; every turn that is kept, by its last change
    "push": "push",  # hash: "turn id:config id" -> where changes of a turn are pushed
    "open": "open",  # zset: turn id -> seq; every turn in a state that is not terminal
    # zset: turn id -> ended_at_ms, of a dead letter when it was settled; trimmed by count and age
    "done": "done",
    "dead": "dead",  # zset: turn id -> ended_at_ms; dead letters; trimmed apart, and told
    "sessions": "sessions",  # hash: session id -> record
    "live": "live",  # zset: session id -> claimed_at_ms; each holds a slot
    "ended": "ended",  # zset: session id -> ended_at_ms; trimmed with the turns
    "zombies": "zombies",  # zset: session id -> ended_at_ms; ended by us, still reported
    # zset: session id -> fence, or once handed out the ms when it may be handed out again
    "inbox": "inbox",
    "bound": "bound",  # hash: session id -> exactly what it was given
    "notes": "notes",  # hash: schedule or context -> last checkpoint note
    "schedules": "schedules",  # hash: schedule id -> record
    "due": "due",  # zset: schedule id -> nominal ms of the next fire; the truth behind DUE
    "fires": "fires",  # hash: "schedule id:nominal ms" -> ledger row
    "fire_index": "fire_index",  # zset, all scores 0: ledger keys in order per schedule
    "run_counts": "run_counts",  # hash: schedule id -> runs that ended
    # hash: seq and bytes of the workspace's own memories; told:<store> -> change told of here
    "policy": "policy",
    "memories": "memories",  # hash: memory id -> record; of a removed one that it is gone
    "memory_texts": "memory_texts",  # hash: memory id -> content (opaque to scripts)
    "memory_order": "memory_order",  # zset: memory id -> seq of its newest version
    "memory_gone": "memory_gone",  # zset: removed memory id -> seq of its removal; newest kept
    "memory_names": "memory_names",  # hash: "namespace\nkey" -> memory id
    # hash: "schedule id:waiting" -> its fires that wait; ":failures" -> bad ends in a row;
    # ":last" -> nominal ms of the fire whose run ended last
    "tallies": "tallies",
    # hash: backfill id -> record; "id:done" -> nominal ms up to which it was made; ":made",
    # ":already" and each state of the ledger -> how many
    "backfills": "backfills",
    "events": "events",  # stream
    # hash: "wait:<bucket ms>" and "session:<bucket ms>" -> how many; ":sum" -> ms in all
    "timings": "timings",
    # hash: event name -> how often it was appended, or left out as one refusal of too many
    "stats": "stats",
    # hash: kind of refusal -> "minute told untold": how often the stream was told of it
    "refusals": "refusals",
    "lines": "lines",  # hash: line -> record: where a receiver of events is, and when it is tried
    "owed": "owed",  # zset: open line -> ms of the oldest event it may owe; bounds the trimming
    "deliveries": "deliveries",  # stream: attempts to deliver to webhooks and push receivers
    "delivered": "delivered",  # hash: outcome of an attempt -> how often
    # hash: condition -> since when it holds, whether that was told, since when it is gone
    "alerts": "alerts",
    "confirm": "confirm",  # empty, short-lived: written behind a change that replicas must confirm
    "wake": "wake",  # channel: "<event id> <event> <turn id>", "inbox", or an event as JSON
}


@lru_cache(maxsize=4096)
def of(workspace_id: str) -> WorkspaceKeys:
    """The keys of a workspace."""
    return WorkspaceKeys(workspace_id)


# Where the events stand that concern no workspace; what covers all workspaces covers it.
PLATFORM_PLACE = "platform:"
GLOBAL_TAG = "global:"  # no workspace's id has a colon in it


def team_tag(team: str) -> str:
    """The tag of a team's memories: a slot of their own, whatever the team is called."""
    return "team:" + quote(team, safe="")


def team_members(team: str) -> str:
    """Key of the hint which workspaces are in a team."""
    return TEAMS + quote(team, safe="")


def idempotency(workspace_id: str, *parts: str) -> str:
    """Key under which one submit is remembered by its caller's name for it."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    return f"tk:{{{workspace_id}}}:submit:{digest}"


def context_owner(workspace_id: str, context_id: str) -> str:
    """Key under which it is remembered who used a context first; a context's name may be long."""
    digest = hashlib.sha256(context_id.encode()).hexdigest()[:32]
    return f"tk:{{{workspace_id}}}:context:{digest}"


@dataclass(frozen=True)
class DueMember:
    """A member of DUE."""

    workspace_id: str
    schedule_id: str

    def __str__(self) -> str:
        return f"{self.workspace_id}|{self.schedule_id}"

    @classmethod
    def parse(cls, text: str) -> "DueMember":
        return cls(*text.split("|", 1))
