"""How each agent is reached, and whether it is there: cards, versions, probes."""

import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import structlog
from redis.exceptions import RedisError

from app.core import agents, capacity
from app.core.capacity import Beat
from app.core.errors import TurnkeeperError
from app.core.platform import Platform
from app.core.workspaces import Workspace
from workers.adapters.a2a_http import Agent, Clients, Unreachable, fetch_card, headers_of
from workers.adapters.a2a_wire import Endpoint, endpoint

CARD_KEPT_S = 300.0
PROBES_AT_ONCE = 8
log = structlog.get_logger(__name__)


class Contacts:
    """What a worker knows of agents; asked again after a while, for all of it may change."""

    def __init__(self, platform: Platform, clients: Clients) -> None:
        self._platform, self._clients = platform, clients
        self._lock = threading.Lock()
        self._endpoints: dict[str, tuple[str, float, Endpoint]] = {}
        self._protocols: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(PROBES_AT_ONCE, thread_name_prefix="probe")
        self._probing: dict[str, Future[None]] = {}
        self._probe_at: dict[str, float] = {}

    def agent(self, found: Workspace, traceparent: str = "") -> Agent:
        """The agent of a workspace.

        Raises:
            Unreachable: its card cannot be read.
        """
        url, now = found.stored.get("agent_url", ""), self._platform.clock.monotonic()
        headers = headers_of(found.stored)
        given = found.stored.get("agent_card", "")
        with self._lock:
            known = self._endpoints.get(found.id)
            protocol = self._protocols.get(url, "")
        if known and known[0] == url + given and known[1] > now:
            place = known[2]
        else:
            place = endpoint(url, _load(given) or fetch_card(self._clients, url, headers))
            with self._lock:
                self._endpoints[found.id] = (url + given, now + CARD_KEPT_S, place)
        if found.stored.get("agent_checkpoint") == "1":
            place = replace(place, takes_checkpoint=True)
        if protocol not in place.protocols:
            protocol = ""
        headers |= {"traceparent": traceparent} if traceparent else {}
        return Agent(self._clients, place, headers, protocol)

    def learn(self, found: Workspace, agent: Agent) -> None:
        """Remember which version the agent answered in."""
        with self._lock:
            self._protocols[found.stored.get("agent_url", "")] = agent.protocol

    @property
    def interval_s(self) -> float:
        """Between two probes: two that are lost must not be taken for offline."""
        settings = self._platform.settings
        return min(settings.agent_probe_s, settings.heartbeat_ttl_s / 3)

    def probe(self, found: Workspace) -> float:
        """Ask for the card of an agent that sends no heartbeats itself, when it is time; in how
        many seconds to come again."""
        now = self._platform.clock.monotonic()
        due_s = self._probe_at.get(found.id, 0.0) - now
        if found.stored.get("own_beat_at"):
            return self.interval_s
        if due_s > 0 or found.id in self._probing:
            return max(due_s, 0.5)
        self._probe_at[found.id] = now + self.interval_s
        self._probing[found.id] = self._pool.submit(self._probe, found)
        return self.interval_s

    def _probe(self, found: Workspace) -> None:
        """A card in time counts as a heartbeat. It says nothing of what the agent works on; what an
        earlier heartbeat said of that holds no longer."""
        headers = headers_of(found.stored)
        try:
            fetch_card(self._clients, found.stored["agent_url"], headers)
        except Unreachable as error:
            log.info("agent away", workspace_id=found.id, reason=str(error))
            return
        is_first = found.capacity.get("instance") != agents.PROBE
        beat = Beat(instance=agents.PROBE, active_tasks=0 if is_first else None)
        with suppress(TurnkeeperError, RedisError):
            capacity.heartbeat(self._platform, found.id, beat)

    def collect(self) -> None:
        """Forget the probes that are over."""
        for workspace_id, future in list(self._probing.items()):
            if future.done():
                del self._probing[workspace_id]
                if (error := future.exception()) is not None:
                    log.error("probe broke", workspace_id=workspace_id, exc_info=error)

    def close(self) -> None:
        """Wait for the probes on their way, which their own time bounds."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _load(text: str) -> dict[str, object] | None:
    with suppress(ValueError):
        card = json.loads(text) if text else None
        if isinstance(card, dict) and (card.get("supportedInterfaces") or card.get("url")):
            return card
    return None
