"""The peers: what each needs, how it is started, what it keeps, and why one is not there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Peer:
    """One system in one arrangement."""

    name: str
    script: str
    needs: tuple[str, ...]
    gate: str = ""  # how it keeps one at a time and in order per key; empty: it does not
    env: tuple[tuple[str, str], ...] = ()

    @property
    def is_node(self) -> bool:
        """Whether it runs on Node."""
        return self.script.endswith(".cjs")

    @property
    def is_restate(self) -> bool:
        """Whether it has a server of its own in the place of Redis."""
        return self.script == "of_restate.cjs"


BULLMQ, RESTATE = ("bullmq", "ioredis"), ("@restatedev/restate-sdk", "@restatedev/restate-server")
PEERS = (
    Peer(
        "BullMQ, queue per key, one process each",
        "of_bullmq.cjs",
        BULLMQ,
        "a key's only worker lives in one of the two processes",
        (("BENCH_GATE", "place"),),
    ),
    Peer(
        "BullMQ, queue per key, global concurrency 1",
        "of_bullmq.cjs",
        BULLMQ,
        "a bound of one on each queue, kept in Redis",
        (("BENCH_GATE", "global"),),
    ),
    Peer("Restate, object per key", "of_restate.cjs", RESTATE, "virtual objects"),
    Peer("taskiq, ungated", "of_taskiq.py", ("taskiq", "taskiq-redis")),
    Peer("saq, ungated", "of_saq.py", ("saq",)),
    Peer("dramatiq, ungated", "of_dramatiq.py", ("dramatiq",)),
    Peer("Celery, solo, ungated", "of_celery.py", ("celery",)),
    Peer("plain RQ, no fork, ungated", "of_rq.py", ("rq",)),
)


class Found(NamedTuple):
    """What this machine has: the programs, the packages with their versions, what was refused."""

    node: str | None
    npm: str | None
    versions: Mapping[str, str]
    refusals: Mapping[str, str]


def told_reason(text: str) -> str:
    """The line of a failed installation that says why: npm's first after its code, pip's last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    npm = [line.removeprefix("npm error ") for line in lines if line.startswith("npm error ")]
    reasons = [line for line in npm if not line.startswith("code ")] or lines[-1:]
    return reasons[0] if reasons else "it said nothing"


def why_not(peer: Peer, found: Found) -> str | None:
    """A plain sentence where the peer cannot run here; None when it can."""
    if peer.is_node:
        for program, path in (("node", found.node), ("npm", found.npm)):
            if path is None:
                return f"{program} is not installed, and {peer.name.split(',')[0]} needs it"
    for package in peer.needs:
        if package not in found.versions:
            reason = found.refusals.get(package, "it was not found after the installation")
            return f"{package} could not be installed: {reason}"
    return None
