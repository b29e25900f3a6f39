"""A peer's processes: started, told to begin, listened to, and ended whatever happens."""

import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.bench.peers import installing, results
from tests.bench.peers.known import Peer
from tests.support.processes import end
from tests.support.servers import free_port
from tests.support.wait import wait_until

RUN_S = 120.0
PROCESSES = 2
QUIET = {"RESTATE_LOGGING": "ERROR", "DO_NOT_TRACK": "1"}


class NotFinished(Exception):
    """A peer's run did not come to its end; the message says how far it came and why."""


class Work(NamedTuple):
    """What is to be done: each key gets so many items."""

    keys: int
    items: int
    hold_ms: int = 0
    gap_ms: int = 0

    @property
    def total(self) -> int:
        """How many items in all."""
        return self.keys * self.items


class Run(NamedTuple):
    """What the sender and the workers told."""

    sent: list[results.Item]
    ran: list[results.Item]


@dataclass
class Told:
    """One process, and the lines of all; None once its output has ended."""

    process: subprocess.Popen[str]
    faults: Path

    def fault(self) -> str:
        """The end of what it wrote to its standard error."""
        return self.faults.read_text(errors="replace").strip()[-300:]


def run(peer: Peer, url: str, work: Work) -> Run:
    """Send all, then begin; with a gap the workers have begun before the first is sent."""
    until = time.monotonic() + RUN_S
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-peer-")))
        admin = None
        if peer.is_restate:
            url, admin = stack.enter_context(restate(folder))
        lines: queue.Queue[str | None] = queue.Queue()
        workers = []
        for at in range(PROCESSES):
            argv = ["work", url, str(work.hold_ms), str(at)]
            one = stack.enter_context(_started(peer, argv, folder / f"worker-{at}"))
            workers.append(one)
            ready = _ready(one, until)
            if admin:
                _register(admin, int(ready.split()[1]))
            threading.Thread(target=_listen, args=(one.process, lines), daemon=True).start()
        if work.gap_ms:
            _begin(workers)
        sent = _send(peer, url, work, folder, until)
        if not work.gap_ms:
            _begin(workers)
        ran = _collect(lines, work.total, until, workers)
    return Run(sent, ran)


@contextmanager
def _started(peer: Peer, argv: list[str], faults: Path) -> Iterator[Told]:
    """One process of the peer; asked to end on leaving, and killed where it does not."""
    module = peer.script.removesuffix(".py")
    words = [str(installing.PYTHON), "-m", f"tests.bench.peers.{module}", *argv]
    if peer.is_node:
        words = ["node", str(installing.HERE / peer.script), *argv]
    env = {**os.environ, **QUIET, **dict(peer.env), "NODE_PATH": str(installing.MODULES)}
    with faults.open("w") as errors:
        process = subprocess.Popen(
            words,
            cwd=installing.ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield Told(process, faults)
    finally:
        end(process, 3)


def _ready(one: Told, until: float) -> str:
    """Its line ``ready``; a timer ends a process that never says so."""
    timer = threading.Timer(max(0, until - time.monotonic()), one.process.kill)
    timer.start()
    try:
        assert one.process.stdout is not None
        line = one.process.stdout.readline()
    finally:
        timer.cancel()
    if not line.startswith("ready"):
        raise NotFinished(f"a worker did not become ready: {one.fault()}")
    return line


def _begin(workers: list[Told]) -> None:
    for one in workers:
        assert one.process.stdin is not None
        one.process.stdin.write("\n")
        one.process.stdin.flush()


def _listen(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _send(peer: Peer, url: str, work: Work, folder: Path, until: float) -> list[results.Item]:
    argv = ["send", url, str(work.keys), str(work.items), str(work.gap_ms)]
    with _started(peer, argv, folder / "sender") as sender:
        try:
            text, _ = sender.process.communicate(timeout=max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise NotFinished(f"not all sent within {RUN_S:.0f} s") from None
        if sender.process.returncode:
            raise NotFinished(f"the sender failed: {sender.fault()}")
    return [results.read(line) for line in text.splitlines()]


def _collect(
    lines: queue.Queue[str | None], count: int, until: float, workers: list[Told]
) -> list[results.Item]:
    found: list[results.Item] = []
    while len(found) < count:
        try:
            line = lines.get(timeout=max(0, until - time.monotonic()))
        except queue.Empty:
            told = f"{len(found)} of {count} items within {RUN_S:.0f} s"
            raise NotFinished(f"not finished: {told}") from None
        if line is None:
            faults = " ".join(one.fault() for one in workers)
            raise NotFinished(f"a worker ended after {len(found)} items: {faults}")
        try:
            found.append(results.read(line))
        except ValueError:
            raise NotFinished(f"a worker said something else: {line.strip()[:200]!r}") from None
    return found


@contextmanager
def restate(folder: Path) -> Iterator[tuple[str, str]]:
    """A Restate server of its own; yields the addresses for sending and for administration.

    It syncs no single write to disk, as Redis here does not; it reports to nobody.
    """
    binary = installing.restate_binary()
    if binary is None:
        raise NotFinished("npm brought no Restate server for this machine")
    ports = [free_port() for _ in range(3)]
    options = {
        "RESTATE_BASE_DIR": str(folder / "restate"),
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_BIND_PORT": str(ports[0]),
        "RESTATE_INGRESS__BIND_PORT": str(ports[1]),
        "RESTATE_ADMIN__BIND_PORT": str(ports[2]),
        "RESTATE_ADMIN__DISABLE_WEB_UI": "true",
        "RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC": "true",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
    }
    log = folder / "restate.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(binary)], env={**os.environ, **QUIET, **options}, stdout=out, stderr=out, text=True
        )
    admin = f"http://127.0.0.1:{ports[2]}"
    ingress = f"http://127.0.0.1:{ports[1]}"
    try:
        try:
            wait_until(lambda: process.poll() is None and _answers(admin, ingress), 30)
        except AssertionError:
            raise NotFinished(f"Restate did not start: {log.read_text()[-300:]}") from None
        yield ingress, admin
    finally:
        end(process, 3)
        shutil.rmtree(folder / "restate", ignore_errors=True)


def _answers(admin: str, ingress: str) -> bool:
    try:
        healths = (f"{admin}/health", f"{ingress}/restate/health")
        return all(httpx.get(health, trust_env=False).is_success for health in healths)
    except httpx.TransportError:
        return False


def _register(admin: str, port: int) -> None:
    body = {"uri": f"http://127.0.0.1:{port}"}
    try:
        answer = httpx.post(f"{admin}/deployments", json=body, timeout=30, trust_env=False)
    except httpx.TransportError as fault:
        raise NotFinished(f"Restate did not answer: {fault!r}") from None
    if not answer.is_success:
        raise NotFinished(f"Restate refused a process: {answer.status_code} {answer.text[:200]}")
