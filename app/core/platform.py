"""What an entry point builds and hands down: settings, Redis clients, clock.

RQ jobs are called by name and take no arguments, so a worker's entry point says once which
platform its jobs are to ``use``; nothing else reads ``current``.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from app.core import confirming, scripts
from app.core.clock import Clock
from app.core.errors import TurnkeeperError
from app.core.redis_clients import Clients, connect
from app.core.settings import Settings


def _limits(settings: Settings) -> dict[str, int]:
    def ms(seconds: float) -> int:
        return round(seconds * 1000)

    return {
        "events_kept": settings.events_kept,
        "events_kept_ms": ms(settings.events_kept_s),
        "deliveries_kept": settings.deliveries_kept,
        "turns_kept": settings.turns_kept,
        "fires_kept": settings.fires_kept,
        "queue_depth_max": settings.queue_depth_max,
        "push_configs_max": settings.push_configs_max,
        "max_attempts": settings.max_attempts,
        "handovers_max": settings.handovers_max,
        "dead_kept": settings.dead_kept,
        "dead_retention_ms": ms(settings.dead_retention_s),
        "refusals_told_per_min": settings.refusals_told_per_min,
        "turn_retention_ms": ms(settings.turn_retention_s),
        "backoff_ms": ms(settings.retry_backoff_s),
        "backoff_max_ms": ms(settings.retry_backoff_max_s),
        "ceiling_ms": ms(settings.ceiling_s),
        "checkpoint_grace_ms": ms(settings.checkpoint_grace_s),
        "cancel_grace_ms": ms(settings.cancel_grace_s),
        "idle_default_ms": ms(settings.idle_timeout_s),
        "stall_default_ms": ms(settings.stall_after_s),
        "heartbeat_interval_ms": ms(settings.heartbeat_interval_s),
        "heartbeat_late_ms": ms(settings.heartbeat_late_s),
        "heartbeat_ttl_ms": ms(settings.heartbeat_ttl_s),
        "idempotency_ttl_ms": ms(settings.idempotency_ttl_s),
        "redeliver_after_ms": ms(settings.redeliver_after_s),
    }


@dataclass(frozen=True)
class Platform:
    """One process's handle on the whole; ``stopping`` is set when the process must end."""

    settings: Settings
    clients: Clients
    clock: Clock = field(default_factory=Clock)
    stopping: threading.Event = field(default_factory=threading.Event)
    limits: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", _limits(self.settings))

    @classmethod
    def start(cls, settings: Settings) -> "Platform":
        """A platform with its own clients; connects on first use."""
        return cls(settings, connect(settings))

    def run(
        self,
        name: str,
        workspace_id: str,
        extra_keys: Mapping[str, str] | None = None,
        client: Any = None,
        **args: Any,
    ) -> list[Any]:
        """Run a script on a workspace; the limits it asks for come from the settings."""
        full, client = self.with_limits(name, args), client or self.clients.data
        if self.settings.ack_replicas and name in confirming.CONFIRMED:
            wait = confirming.Wait(self.settings.ack_replicas, self.settings.ack_timeout_s)
            return confirming.call(client, wait, name, workspace_id, extra_keys, full)
        return scripts.call(client, name, workspace_id, extra_keys, **full)

    def run_each(self, calls: Sequence[scripts.Call]) -> list[Any]:
        """Run scripts of the data side in their order, in one round trip; see ``call_each``.

        One by one where replicas must confirm: WAIT speaks for its own connection.
        """
        full = [
            scripts.Call(call.name, call.workspace_id, self.with_limits(call.name, call.args))
            for call in calls
        ]
        if not self.settings.ack_replicas:
            return scripts.call_each(self.clients.data, full)
        return [self._run_in_place(call) for call in full]

    def _run_in_place(self, call: scripts.Call) -> Any:
        try:
            return self.run(call.name, call.workspace_id, **call.args)
        except (TurnkeeperError, RedisError) as error:
            return error

    def with_limits(self, name: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """A script's arguments, completed by the limits it asks for."""
        wanted = scripts.load()[name].args
        return {**{key: self.limits[key] for key in wanted if key in self.limits}, **args}

    def run_control(self, name: str, **args: Any) -> list[Any]:
        """Run a script on the control side."""
        return scripts.call(self.clients.control, name, "", **args)

    def now_ms(self) -> int:
        """Server time of the data side, in ms."""
        seconds, micros = self.clients.data.time()
        return int(seconds) * 1000 + int(micros) // 1000


_current: Platform | None = None


def use(platform: Platform) -> None:
    """Make this the platform of the process's RQ jobs."""
    global _current
    _current = platform


def current() -> Platform:
    """The platform of the process's RQ jobs.

    Raises:
        RuntimeError: the entry point did not say.
    """
    if _current is None:
        raise RuntimeError("no platform in use: jobs run under `python -m workers`")
    return _current
