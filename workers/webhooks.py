"""Serves the lines of all workspaces for one time slice: hears of events, visits, delivers.

Hearing is a subscription to the wake channels of the workspaces that receivers cover (of all of
them by a pattern where a webhook covers all; of none where there is no receiver). A wake-up only
hints: what is owed stands in the workspace. A slice looks at everything when it begins, and again
when its connection is made anew, so a lost wake-up costs a slice at most.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import Any

import structlog
from redis.exceptions import RedisError

from app.core import keys, lines, turns, webhook_post, webhooks, workspaces
from app.core.errors import TurnNotFound
from app.core.lines import PUSH, Standing
from app.core.platform import Platform
from app.core.states import TERMINAL
from app.core.webhooks import Webhook
from workers import alerts
from workers.courier import Courier, Served
from workers.owed import Close, Open, Run, plan
from workers.receivers import Receiver, WebhookReceiver, push_receiver, turn_of
from workers.slices import Slices
from workers.trimming import carry_out

LOOK_S, BUSY_LOOK_S, AWAY_S = 0.5, 0.05, 0.25
HEARD_MOST, RINGS_MOST = 2_000, 200
ALL = "tk:{*}:wake"
log = structlog.get_logger(__name__)

Unit = tuple[str, str]  # workspace id, line


def _kind(receiver_id: str) -> str:
    """All pushes are one kind; each webhook is its own."""
    return PUSH if receiver_id.startswith(PUSH) else receiver_id


class Service:
    """Serves slice after slice. Only the thread that runs it touches its fields; the pool's
    threads deliver."""

    def __init__(self, platform: Platform) -> None:
        slots = platform.settings.webhook_slots
        self.platform = platform
        self._http = webhook_post.client(platform, slots * 4)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="deliver")
        self._courier = Courier(platform, self._http)
        self._ears = Ears(platform)
        self._registry: list[Webhook] = []
        self._pushed: set[str] = set()
        self._put_ms: dict[str, int] = {}
        self._look_at = 0.0
        self._alerts_at = 0.0
        self._alerts: Future[int] | None = None
        self._is_all_due = True
        self._dirty: dict[str, None] = {}
        self._timers: list[tuple[float, str]] = []
        self._timed: dict[str, float] = {}
        self._running: dict[Unit, tuple[str, Future[Served]]] = {}
        self._again: set[Unit] = set()
        self._waiting: dict[Unit, str] = {}
        self._failing: set[str] = set()

    def run(self, slice_s: float) -> None:
        """Until the slice is over or the process stops."""
        clock, platform = self.platform.clock, self.platform
        self._is_all_due, self._look_at = True, 0.0
        end = clock.monotonic() + slice_s
        while clock.monotonic() < end and not platform.stopping.is_set():
            try:
                self.step(min(LOOK_S, end - clock.monotonic()))
            except RedisError as error:
                log.warning("deliveries wait for redis", error=str(error))
                self._ears.close()
                self._look_at = 0.0
                clock.wait(platform.stopping, AWAY_S)

    def step(self, wait_s: float) -> None:
        """Hear for a moment, then visit whom it concerns."""
        now = self.platform.clock.monotonic()
        if now >= self._look_at:
            self._look(now)
        if self._running or self._waiting:
            wait_s = min(wait_s, BUSY_LOOK_S)
        if self._dirty:
            wait_s = 0.0
        if self._timers:
            wait_s = min(wait_s, max(0.0, self._timers[0][0] - now))
        self._dirty.update(dict.fromkeys(self._ears.hear(wait_s)))
        now = self.platform.clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            at, workspace_id = heapq.heappop(self._timers)
            if self._timed.get(workspace_id) == at:
                del self._timed[workspace_id]
                self._dirty[workspace_id] = None
        self._look_for_alerts(now)
        self._collect()
        self._visit()
        self._start()

    def close(self) -> None:
        """Stop hearing; wait for what is on its way, which its own time bounds."""
        self._ears.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._http.close()

    def _look(self, now: float) -> None:
        """Twice a second: who is to be served? Everything is visited where that has changed."""
        self._look_at = now + LOOK_S
        registry = webhooks.listing(self.platform)
        control = self.platform.clients.control
        # Only the newer ones, but all at a slice's beginning: hints are written by clocks that may
        # go back, and later than the times they carry.
        newest = "-inf" if self._is_all_due else max(self._put_ms.values(), default=0)
        for workspace_id, at_ms in control.zrangebyscore(
            keys.PUSHES, newest, "+inf", withscores=True
        ):
            if self._put_ms.get(workspace_id) != int(at_ms):
                self._put_ms[workspace_id] = int(at_ms)
                self._pushed.add(workspace_id)
                self._dirty[workspace_id] = None
        is_changed = registry != self._registry
        self._registry = registry
        named = {one for hook in registry if hook.enabled for one in hook.workspaces}
        is_renewed = self._ears.listen(named | self._pushed)
        if is_changed or is_renewed or self._is_all_due:
            self._is_all_due = False
            self._dirty.update(dict.fromkeys(self._reach()))

    def _look_for_alerts(self, now: float) -> None:
        """Beside the deliveries, for with many workspaces it takes a while. Here, and not in a job
        that the scheduler ticks: that it has fallen silent is one of the alerts."""
        interval_s = self.platform.settings.alert_interval_s
        if not interval_s or now < self._alerts_at:
            return
        if self._alerts is not None:
            if not self._alerts.done():
                return
            if error := self._alerts.exception():
                log.warning("alerts not looked for", exc_info=error)
        self._alerts_at = now + interval_s
        self._alerts = self._pool.submit(alerts.look, self.platform)

    def _reach(self) -> Iterable[str]:
        """Whom webhooks cover, also those of disabled ones: their lines are to be closed; and where
        pushes ever were: of one put there since, the hint may have been lost."""
        if any(webhooks.EVERYTHING in hook.workspaces for hook in self._registry):
            return chain(workspaces.all_ids(self.platform), [keys.PLATFORM_PLACE])
        named = {one for hook in self._registry for one in hook.workspaces}
        known = self.platform.clients.control.zrange(keys.WORKSPACES, 0, -1)
        return [one for one in known if one in named or one in self._put_ms]

    def _visit(self) -> None:
        """See what each owes, and have it delivered, opened, closed, or looked at later."""
        chosen = list(self._dirty)[:RINGS_MOST]
        if not chosen:
            return
        for found in lines.standing(self.platform, chosen):
            self._dirty.pop(found.workspace_id, None)
            try:
                self._act(found)
            except RedisError:
                self._dirty[found.workspace_id] = None
                raise
            except Exception:  # noqa: BLE001 - one workspace's trouble is not the others'
                log.exception("not visited", workspace_id=found.workspace_id)

    def _act(self, found: Standing) -> None:
        registry = self._registry
        actions = list(plan(found, registry))
        if not all(isinstance(action, Run) for action in actions):
            registry = webhooks.listing(self.platform)  # ours may be half a second old
            actions = list(plan(found, registry))
        for action in actions:
            unit = (found.workspace_id, action.line)
            if isinstance(action, Close):
                carry_out(self.platform, found.workspace_id, action)
                continue
            receiver = self._receiver(registry, *unit)
            if receiver is None:
                continue
            if isinstance(action, Open):
                cursor = action.cursor or self._push_cursor(receiver, *unit)
                if cursor is None:
                    continue
                lines.open_one(self.platform, *unit, cursor)
            elif not action.is_owed:
                self._end_push(*unit)
                continue
            self._want(unit, receiver.id)
        if any(found.lines.get(PUSH + one) is None for one in found.pushes) or any(
            line.startswith(PUSH) and one.is_open for line, one in found.lines.items()
        ):
            self._pushed.add(found.workspace_id)
        elif found.workspace_id in self._pushed:
            self._pushed.discard(found.workspace_id)

    def _receiver(
        self, registry: Sequence[Webhook], workspace_id: str, line: str
    ) -> Receiver | None:
        if line.startswith(PUSH):
            return push_receiver(self.platform, workspace_id, line)
        webhook_id = line.partition("|")[0]
        hooks = (hook for hook in registry if hook.id == webhook_id)
        return next(map(WebhookReceiver, hooks), None)

    def _push_cursor(self, receiver: Receiver, workspace_id: str, line: str) -> str | None:
        """From when the configuration was put, else from when its turn was accepted."""
        created_ms = getattr(receiver, "config", {}).get("created_at")
        if isinstance(created_ms, int):
            return f"{created_ms}-0"
        with suppress(TurnNotFound):
            return f"{turns.get(self.platform, workspace_id, turn_of(line)).accepted_at}-0"
        return None

    def _end_push(self, workspace_id: str, line: str) -> None:
        """A push line that owes nothing ends with its turn; its end may have come since we looked,
        so only where the line owes nothing now."""
        with suppress(TurnNotFound):
            if turns.get(self.platform, workspace_id, turn_of(line)).state not in TERMINAL:
                return
        lines.end_idle(self.platform, workspace_id, line)

    def _want(self, unit: Unit, receiver_id: str) -> None:
        if unit in self._running:
            self._again.add(unit)
        else:
            self._waiting[unit] = receiver_id

    def _start(self) -> None:
        """Begin what has room: so many at a time, a quarter of them for one receiver, one for a
        receiver that fails, and half for all pushes: those that hang must leave room for the
        others, and who may only send names as many receivers of pushes as he likes."""
        slots = self.platform.settings.webhook_slots
        share = max(1, slots // 4)
        taken = Counter(kind for one, _ in self._running.values() for kind in {one, _kind(one)})
        for unit, receiver_id in list(self._waiting.items()):
            if len(self._running) >= slots:
                return
            kind, most = _kind(receiver_id), 1 if receiver_id in self._failing else share
            has_room = kind != PUSH or taken[PUSH] < max(1, slots // 2)
            if has_room and taken[receiver_id] < most:
                taken.update({receiver_id, kind})
                del self._waiting[unit]
                future = self._pool.submit(self._courier.deliver, *unit)
                self._running[unit] = (receiver_id, future)

    def _collect(self) -> None:
        """Take back what has ended; a fault in one line is not the others'."""
        now = self.platform.clock.monotonic()
        for unit, (receiver_id, future) in list(self._running.items()):
            if not future.done():
                continue
            del self._running[unit]
            error = future.exception()
            if error is not None:
                log.error("delivery broke", workspace_id=unit[0], line=unit[1], exc_info=error)
            served = Served(LOOK_S) if error is not None else future.result()
            again_s = served.again_s
            if served.has_failed is not None:
                (self._failing.add if served.has_failed else self._failing.discard)(receiver_id)
            if unit in self._again:
                self._again.discard(unit)
                again_s = 0.0 if again_s is None else again_s
            if again_s is not None:
                self._later(unit[0], now + again_s)

    def _later(self, workspace_id: str, at: float) -> None:
        """Visit it then, unless it is to be visited before."""
        if at < self._timed.get(workspace_id, math.inf):
            self._timed[workspace_id] = at
            heapq.heappush(self._timers, (at, workspace_id))


class Ears:
    """The subscription of one slice."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._pubsub: Any = None
        self._heard: set[str] = set()

    def listen(self, workspace_ids: set[str]) -> bool:
        """Listen to just these (``*``: all). Returns whether some were not heard until now."""
        wanted = (
            {ALL} if webhooks.EVERYTHING in workspace_ids else set(map(_channel, workspace_ids))
        )
        if wanted == self._heard and (self._pubsub is not None or not wanted):
            return False
        if self._pubsub is None and wanted:
            self._pubsub = self._platform.clients.reader.pubsub(ignore_subscribe_messages=True)
            self._heard = set()
        fresh, stale = wanted - self._heard, self._heard - wanted
        _each(self._pubsub, "subscribe", fresh)
        _each(self._pubsub, "unsubscribe", stale)
        self._heard = wanted
        return bool(fresh)

    def hear(self, wait_s: float) -> list[str]:
        """The workspaces in which something happened; waits for the first of them."""
        if self._pubsub is None or not self._heard:
            self._platform.clock.wait(self._platform.stopping, wait_s)
            return []
        found: dict[str, None] = {}
        timeout_s = max(0.001, wait_s)
        for _ in range(HEARD_MOST):
            message = self._pubsub.get_message(timeout=timeout_s)
            if message is None:
                break
            timeout_s = 0.0
            channel, data = str(message["channel"]), str(message["data"])
            if not data.startswith("{"):  # a transient event is not stored, so not owed
                found[channel[len("tk:{") : -len("}:wake")]] = None
        return list(found)

    def close(self) -> None:
        """Give the connection back."""
        pubsub, self._pubsub, self._heard = self._pubsub, None, set()
        if pubsub is not None:
            with suppress(RedisError, OSError):
                pubsub.close()


def _channel(workspace_id: str) -> str:
    return keys.of(workspace_id)["wake"]


def _each(pubsub: Any, verb: str, channels: Sequence[str] | set[str]) -> None:
    plain = [channel for channel in channels if channel != ALL]
    if plain:
        getattr(pubsub, verb)(*plain)
    if ALL in channels:
        getattr(pubsub, f"p{verb}")(ALL)


_slices = Slices(Service)


def serve(platform: Platform, slice_s: float) -> None:
    """Deliver for so long. What is on its way then goes on while the next slice begins: a receiver
    that hangs must not hold up the others at the end of each slice."""
    _slices.serve(platform, slice_s)
