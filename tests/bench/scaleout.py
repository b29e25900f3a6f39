"""More workers, more web processes, more masters: what each adds, and what is busy then."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psutil
import redis

from app.core import keys, turns, workspaces
from app.core.platform import Platform
from tests.bench import ours, together
from tests.bench.busy import Busy
from tests.support import servers, topologies

PLACES, EACH = 300, 10
ACCEPT_S, CLIENTS, WARM_S = 3, 32, 1


@dataclass(frozen=True)
class Told:
    """One run: so many a second, and who was busy meanwhile (percent of one core)."""

    rate: float
    shares: dict[str, float]


def workers(here: Platform, count: int) -> Told:
    """Claim to finish, by so many worker processes."""
    busy = Busy(here.settings.redis_url)
    return Told(together.claim_finish_rate(here, count, busy), busy.shares)


def web(here: Platform, count: int) -> Told:
    """message/send accepted over HTTP, by so many web processes behind one port."""
    url = here.settings.redis_url
    busy, place = Busy(url), "bench-http"
    workspaces.create(here, place, {})
    ours.pretend_to_dispatch(here)
    with ours.web(url, count) as (port, pid):
        path = f"/workspaces/{place}/a2a"
        ours.http_load(port, path, ours.message_send, WARM_S, CLIENTS)  # a process is new
        pids = [one.pid for one in psutil.Process(pid).children()]
        with busy.over({"web": pids, "the load itself": [os.getpid()]}):
            waits = ours.http_load(port, path, ours.message_send, ACCEPT_S, CLIENTS)
    return Told(len(waits) / ACCEPT_S, busy.shares)


def cluster_shares(binary: str) -> dict[str, list[float]]:
    """Of each of three masters, in percent of all three: workspaces, commands, processor time.

    Turns are submitted to 300 workspaces and served to the end; control is on its own server.
    """
    with ExitStack() as stack:
        nodes = stack.enter_context(topologies.cluster(binary))
        control = stack.enter_context(servers.redis_server(binary))
        for node in (*nodes.masters, control):
            ours.sync_each_second(node)
        settings = {"redis_url": nodes.url, "control_url": control.url, "admin_token": ours.TOKEN}
        here = Platform.start(ours.Settings.model_validate(settings))
        before = [_spent(master) for master in nodes.masters]
        ids = ours.make_workspaces(here, PLACES)
        for at in range(PLACES * EACH):
            turns.submit(here, ids[at % PLACES], turns.Request(body={"text": "x"}))
        ours.serve_all(here, PLACES * EACH)
        spent = [
            [now - then for now, then in zip(_spent(master), past, strict=True)]
            for master, past in zip(nodes.masters, before, strict=True)
        ]
        owners = [nodes.owner(keys.of(one)["workspace"]) for one in ids]
        held = [float(sum(owner is master for owner in owners)) for master in nodes.masters]
        here.clients.close()
    rows = {
        "workspaces": held,
        "commands": [one[0] for one in spent],
        "processor time": [one[1] for one in spent],
    }
    return {name: [100 * one / sum(values) for one in values] for name, values in rows.items()}


def _spent(master: servers.RedisServer) -> list[float]:
    client: Any = redis.Redis.from_url(master.url, protocol=2)
    with client:
        info = client.info("everything")
    spent = info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]
    return [float(info["total_commands_processed"]), float(spent)]
