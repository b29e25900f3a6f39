"""A kernel on a given client, and the short words in which the tests speak to it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import fakeredis
import redis

from app.core import (
    capacity,
    dead_letters,
    follow_up,
    keys,
    lua_source,
    push,
    redis_clients,
    schedules,
    scripts,
    sessions,
    turns,
    words,
    workspaces,
)
from app.core.capacity import Beat, BeatAnswer
from app.core.platform import Platform
from app.core.records import Session, Turn
from app.core.schedules import Schedule
from app.core.sessions import Claim, Handover, NoClaim, Polled
from app.core.settings import Settings
from app.core.states import LANES

WS = "ws"
YEAR_MS = 365 * 86_400_000


def bytes_client(client: Any) -> Any:
    """A second client of the same server that decodes nothing, as RQ needs one."""
    known = client.connection_pool.connection_kwargs
    if isinstance(client, fakeredis.FakeRedis):
        return fakeredis.FakeRedis(server=known["server"], protocol=2)
    return redis.Redis(host=known["host"], port=known["port"], protocol=2, socket_timeout=5)


def platform_on(client: Any, rq: Any = None, **settings: Any) -> Platform:
    """A platform whose data and control side are this client; a dispatcher is said to be alive.

    So rings stay in the ready set and no RQ job is made; ``rq`` is for the tests that want one.
    """
    platform = Platform(Settings(**settings), redis_clients.shared(client, rq))
    platform.run_control("dispatcher", slice_id="test", ttl_ms=YEAR_MS)
    return platform


class Altered:
    """A client on which one script is another than the kernel's: for negative controls."""

    def __init__(self, client: Any, name: str, old: str, new: str) -> None:
        script = scripts.load()[name]
        old, new = (lua_source.bind(text, script.keys, script.args) for text in (old, new))
        assert old in script.source, f"{name} has changed: the control must change with it"
        self._client, self._sha = client, script.sha
        self._source = script.source.replace(old, new)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def pipeline(self, **options: Any) -> Any:
        """What goes out together is altered too."""
        line = Altered.__new__(Altered)
        line._client = self._client.pipeline(**options)
        line._sha, line._source = self._sha, self._source
        return line

    def execute_command(self, *words: Any) -> Any:
        if words[:2] == ("EVALSHA", self._sha):
            words = ("EVAL", self._source, *words[2:])
        return self._client.execute_command(*words)


class Kernel:
    """One workspace of a platform. Records are read back as they stand in Redis."""

    def __init__(self, platform: Platform, workspace_id: str = WS) -> None:
        self.platform, self.id = platform, workspace_id
        self.data, self.keys = platform.clients.data, keys.of(workspace_id)

    def altered(self, name: str, old: str, new: str) -> "Kernel":
        """The same workspace seen by a platform with one script changed."""
        client = Altered(self.data, name, old, new)
        clients = redis_clients.shared(client)
        return Kernel(Platform(self.platform.settings, clients), self.id)

    def tuned(self, **settings: Any) -> "Kernel":
        """The same workspace seen by a platform with some settings changed."""
        known = self.platform.settings.model_dump()
        return Kernel(Platform(Settings(**{**known, **settings}), self.platform.clients), self.id)

    def run(self, name: str, **args: Any) -> list[Any]:
        """A script of this workspace, by its own arguments."""
        return self.platform.run(name, self.id, **args)

    def create(self, **fields: Any) -> "Kernel":
        workspaces.create(self.platform, self.id, fields)
        return self

    def beat(self, **fields: Any) -> BeatAnswer:
        return capacity.heartbeat(self.platform, self.id, Beat(**fields))

    def submit(self, text: str = "do it", **fields: Any) -> turns.Accepted:
        return turns.submit(self.platform, self.id, turns.Request(body={"text": text}, **fields))

    def claim(self, token: str | None = None) -> Claim | NoClaim:
        return sessions.claim(self.platform, self.id, token)

    def claimed(self, token: str | None = None) -> Claim:
        """A claim that must succeed."""
        found = self.claim(token)
        assert isinstance(found, Claim), found
        return found

    def claimed_turn(self) -> Session:
        """The session of a turn that was submitted for it."""
        self.submit()
        return self.claimed().session

    def refused(self) -> str:
        """Why nothing is claimed; it must not be."""
        found = self.claim()
        assert isinstance(found, NoClaim), found
        return found.reason

    def bind(self, session: Session, inbox: bool = True) -> None:
        bound = {"prompt": "do it", "digest": "d"}
        sessions.bind(self.platform, self.id, session, bound, inbox)

    def deliver(self, session: Session) -> None:
        sessions.deliver(self.platform, self.id, session.id, session.fence)

    def hand_over(self, session: Session, instance: str = "i") -> list[dict[str, Any]]:
        bound = {"prompt": "do it", "digest": "d"}
        return sessions.hand_over(self.platform, self.id, session, bound, instance)

    def start(self, session: Session, instance: str = "i") -> list[dict[str, Any]]:
        return sessions.start(self.platform, self.id, session.id, session.fence, instance)

    def progress(self, session: Session, kind: str = "output", **payload: Any) -> Any:
        here = (self.platform, self.id, session.id, session.fence)
        return sessions.progress(*here, kind, payload)

    def note(self, session: Session, summary: str = "half", next_step: str = "the rest") -> bool:
        here = (self.platform, self.id, session.id, session.fence)
        return words.note(*here, {"summary": summary, "next_step": next_step})

    def say(self, session: Session, text: str = "so far so good") -> None:
        words.say(self.platform, self.id, session.id, session.fence, text)

    def finish(
        self,
        session: Session,
        outcome: str = "completed",
        text: str = "done",
        note: Mapping[str, Any] | None = None,
    ) -> str:
        here = (self.platform, self.id, session.id, session.fence)
        return sessions.finish(*here, outcome, {"text": text}, note)

    def release(self, session: Session, counts: bool = False, holds: bool = False) -> str:
        mechanism = "delivery_failed" if counts else "released"
        here = (self.platform, self.id, session.id, session.fence)
        return sessions.release(*here, mechanism, "as told", counts, holds)

    def reap(self, session: Session, mechanism: str, limit_ms: int = 0) -> bool:
        return sessions.reap(
            self.platform, self.id, session, mechanism, limit_ms, "a_setting", "as told"
        )

    def ask(self, session: Session, kind: str, mechanism: str, within_s: float = 5) -> int:
        here = (self.platform, self.id, session)
        return sessions.ask(*here, sessions.Ask(kind, mechanism, "as told", within_s))

    def expire(self) -> int | None:
        return turns.expire(self.platform, self.id)

    def cancel(self, turn_id: str) -> str:
        return turns.cancel(self.platform, self.id, turn_id, "as told")

    def take(self, instance: str = "i", room: int = 1, secret: str = "") -> Polled:
        return sessions.take(self.platform, self.id, instance, room, secret)

    def taken(self, instance: str = "i") -> Handover:
        """A poll that must find something."""
        found = self.take(instance)
        assert found.handover, f"nothing before {found.wake_at_ms}"
        return found.handover

    def scheduled(self, **fields: Any) -> Schedule:
        """A new schedule, every five minutes unless told otherwise."""
        usual = {"name": "tick", "cron_expr": "*/5 * * * *", "timezone": "UTC", "prompt": "go"}
        return schedules.create(self.platform, self.id, {**usual, **fields})

    def due(self, schedule: Schedule) -> int | None:
        """The nominal time of the next fire."""
        score = self.data.zscore(self.keys["due"], schedule.id)
        return None if score is None else int(score)

    def make_due(self, schedule: Schedule, nominal_ms: int) -> int:
        """Put the next fire at this time; returns it."""
        self.data.zadd(self.keys["due"], {schedule.id: nominal_ms})
        return nominal_ms

    def fire(
        self, schedule: Schedule, nominal_ms: int, mode: str = "make", cadence_ms: int = 300_000
    ) -> list[Any]:
        """Make one fire as the scheduler does: its outcome, the depth, runnable; or how the due
        time stands. A refusal is raised."""
        reply = self.fire_all(schedule, [nominal_ms, nominal_ms + cadence_ms], mode)
        return reply if reply[0] != "fired" else [reply[4], *reply[1:3]]

    def fire_all(self, schedule: Schedule, times: Sequence[int], mode: str = "make") -> list[Any]:
        """All of these times but the last, which follows them, in one step."""
        now = self.platform.now_ms()
        return self.run("fire", **schedules.fire_args(self.platform, schedule, times, mode, now))

    def ledger(self, schedule: Schedule) -> list[tuple[int, str]]:
        """Nominal time and state of every fire, oldest first."""
        rows = schedules.fires(self.platform, self.id, schedule.id, 10_000)
        return [(row.nominal_at, row.state) for row in reversed(rows)]

    def follow(self, turn_id: str, text: str = "this", **fields: Any) -> turns.Accepted:
        """A caller's answer to a turn that asked."""
        message = {"role": "user", "parts": [{"kind": "text", "text": text}]}
        given = follow_up.FollowUp(text=text, message=message, asked=message, **fields)
        return follow_up.submit(self.platform, self.id, turn_id, given)

    def follow_alone(self, turn_id: str, **fields: Any) -> list[Any]:
        """The script of an answer, without the look at the turn before it."""
        given = {"digest": "d", "call": "c", "named": False, "limits": "[]"}
        given |= {"push_id": "", "push": "", "attempt": 1, "body": "{}", **fields}
        unused = {"submit_key": keys.idempotency(self.id, "unused")}
        return self.platform.run("follow", self.id, unused, turn_id=turn_id, **given)

    def replay(self, turn_id: str, **fields: Any) -> turns.Accepted:
        """An ended turn once more."""
        return turns.replay(self.platform, self.id, turns.Replay(turn_id, **fields))

    def discard(self, turn_id: str) -> bool:
        return dead_letters.discard(self.platform, self.id, turn_id, "as told")

    def dead_letter(self, **fields: Any) -> str:
        """A turn that may lose no session, and has lost one."""
        turn_id = self.submit(redeliver="never", **fields).turn_id
        self.bury_alive(turn_id)
        return turn_id

    def bury_alive(self, turn_id: str) -> None:
        """The waiting turn, next to be claimed, is lost for good."""
        found = self.claimed()
        assert found.turn.id == turn_id, found.turn
        assert self.release(found.session, counts=True) == "dead"

    def put_push(self, turn_id: str, config_id: str = "c") -> push.Config:
        """A push configuration of a turn."""
        config = push.made(turn_id, "https://example.com/hook", "1.0", config_id=config_id)
        return push.put(self.platform, self.id, config)

    def turn_count(self, turn_id: str) -> int:
        """In how many places of its lanes a turn waits or runs; more than one is a double."""
        rows = [row for lane in LANES for row in self.data.xrange(self.keys[f"lane_{lane}"])]
        return sum(fields["turn"] == turn_id for _, fields in rows)

    def now_ms(self) -> int:
        return self.platform.now_ms()

    def turn(self, turn_id: str) -> Turn:
        return turns.get(self.platform, self.id, turn_id)

    def session(self, session_id: str) -> Session:
        return sessions.get(self.platform, self.id, session_id)

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """The appended events of one name, or all: their fields, the payload read."""
        rows = self.data.xrange(self.keys["events"])
        found = [{**row, "payload": json.loads(row["payload"])} for _, row in rows]
        return [row for row in found if name in ("", row["event"])]

    def field(self, name: str) -> str | None:
        """A field of the workspace's hash."""
        value = self.data.hget(self.keys["workspace"], name)
        return None if value is None else str(value)

    def zombies(self) -> list[str]:
        return list(self.data.zrange(self.keys["zombies"], 0, -1))

    def dump(self) -> dict[str, Any]:
        """Everything of the workspace as it stands: to show that nothing was written."""
        own = sorted(self.data.scan_iter(match=f"tk:{{{self.id}}}:*"))
        readers = {
            "hash": self.data.hgetall,
            "string": self.data.get,
            "stream": self.data.xrange,
            "zset": lambda key: self.data.zrange(key, 0, -1, withscores=True),
        }
        return {key: readers[self.data.type(key)](key) for key in own}
