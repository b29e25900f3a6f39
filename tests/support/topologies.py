"""More than one Redis server: a master with replicas, a Sentinel set, a Cluster, TLS."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import servers
from tests.support.servers import RedisServer
from tests.support.wait import wait_until

SERVICE = "turnkeeper"
# How long a master may be silent before another takes its place: soon where a test kills one, and
# else only after longer than a busy machine keeps any of them waiting.
SOON_MS, PATIENT_MS = 1000, 30_000
READY_S = 30.0
SLOTS = 16384


def valkey() -> str | None:
    """A Valkey server, where one is on PATH."""
    return shutil.which("valkey-server")


@contextmanager
def started(binary: str, *options: str, appendonly: bool = True) -> Iterator[RedisServer]:
    """A server with more options than the usual ones."""
    with servers.own_folder() as folder:
        server = RedisServer(binary, folder, appendonly, options=options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def replicated(binary: str, replicas: int = 1) -> Iterator[list[RedisServer]]:
    """A master and its replicas, in step."""
    with ExitStack() as stack:
        master = stack.enter_context(started(binary))
        every = [master]
        for _ in range(replicas):
            words = ("--replicaof", "127.0.0.1", str(master.port))
            every.append(stack.enter_context(started(binary, *words)))
        wait_until(lambda: _in_step(master, replicas), READY_S)
        yield every


def _in_step(master: RedisServer, replicas: int) -> bool:
    with master.client() as client:
        found = client.info("replication")
    return sum(found.get(f"slave{n}", {}).get("state") == "online" for n in range(9)) == replicas


@dataclass
class SentinelSet:
    """A master with a replica, and three Sentinels that watch them."""

    servers: list[RedisServer]
    sentinels: list[RedisServer]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def master(self) -> RedisServer:
        """Who the Sentinels say is the master now."""
        with self.sentinels[0].client() as client:
            port = int(client.sentinel_get_master_addr_by_name(SERVICE)[1])  # type: ignore[no-untyped-call]
        return next(one for one in self.servers if one.port == port)

    def fail_over(self) -> None:
        """An orderly failover: the old master lives on as a replica."""
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)

    @contextmanager
    def losing_its_master(self) -> Iterator[None]:
        """Within, a silent master is given up soon."""
        self._give_up_after(SOON_MS)
        yield
        self._give_up_after(PATIENT_MS)

    def _give_up_after(self, silent_ms: int) -> None:
        for one in self.sentinels:
            with one.client() as client:
                words = ("SENTINEL", "SET", SERVICE, "down-after-milliseconds", silent_ms)
                client.execute_command(*words)


@contextmanager
def sentinel_set(binary: str) -> Iterator[SentinelSet]:
    """Three Sentinels over a master and a replica; they know one another when this yields."""
    with ExitStack() as stack:
        pair = stack.enter_context(replicated(binary))
        sentinels = [stack.enter_context(_sentinel(binary, pair[0].port)) for _ in range(3)]

        def ready(one: RedisServer) -> bool:
            with one.client() as client:
                told: Any = client.execute_command("SENTINEL", "MASTER", SERVICE)
            facts = (
                told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
            )
            return [int(facts["num-other-sentinels"]), int(facts["num-slaves"])] == [2, 1]

        wait_until(lambda: all(ready(one) for one in sentinels), READY_S)
        yield SentinelSet(pair, sentinels)


@contextmanager
def _sentinel(binary: str, port: int) -> Iterator[RedisServer]:
    with servers.own_folder("sentinel") as folder:
        file = folder / "sentinel.conf"
        file.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {PATIENT_MS}\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        one = RedisServer(binary, folder, first=(str(file), "--sentinel"))
        one.start()
        try:
            yield one
        finally:
            one.stop()


@dataclass
class ClusterOfThree:
    """Three masters, each with a third of the slots, and a replica for each where asked for."""

    masters: list[RedisServer]
    replicas: list[RedisServer]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in [*self.masters, *self.replicas])
        return f"redis+cluster://{hosts}"

    def owner(self, key: str) -> RedisServer:
        """The master of a key at the start."""
        with self.masters[0].client() as client:
            slot = int(client.execute_command("CLUSTER", "KEYSLOT", key))
        return self.masters[slot * len(self.masters) // SLOTS]

    @contextmanager
    def losing_a_master(self) -> Iterator[None]:
        """Within, a silent master is given up soon."""
        nodes = [*self.masters, *self.replicas]
        _give_up_after(nodes, SOON_MS)
        yield
        _give_up_after(nodes, PATIENT_MS)


def _give_up_after(nodes: Sequence[RedisServer], silent_ms: int) -> None:
    for node in nodes:
        if node.process.poll() is None:
            with node.client() as client:
                client.config_set("cluster-node-timeout", silent_ms)


@contextmanager
def cluster(binary: str, replicas: bool = False) -> Iterator[ClusterOfThree]:
    """A Cluster whose every node says that all slots are served."""
    options = (
        *("--cluster-enabled", "yes", "--cluster-node-timeout", str(SOON_MS)),
        *("--cluster-config-file", "nodes.conf", "--cluster-replica-validity-factor", "0"),
    )
    with ExitStack() as stack:
        count = 6 if replicas else 3
        nodes = [stack.enter_context(started(binary, *options)) for _ in range(count)]
        masters, others = nodes[:3], nodes[3:]
        for at, node in enumerate(masters):
            first, last = -(-at * SLOTS // 3), -(-(at + 1) * SLOTS // 3) - 1
            _ask(node, "ADDSLOTS", *range(first, last + 1))
        _give_up_after(nodes, PATIENT_MS)  # a handshake takes no longer than this either
        for node in nodes[1:]:
            _ask(node, "MEET", "127.0.0.1", nodes[0].port)
        wait_until(lambda: all(_knows(node, count) for node in nodes), READY_S)
        _give_up_after(nodes, SOON_MS)  # it is also how long a new master waits until it serves
        for master, other in zip(masters, others, strict=False):
            _ask(other, "REPLICATE", _ask(master, "MYID"))
        for master, _ in zip(masters, others, strict=False):
            wait_until(lambda master=master: _in_step(master, 1), READY_S)
        wait_until(lambda: all(_is_whole(node, len(others)) for node in nodes), READY_S)
        _give_up_after(nodes, PATIENT_MS)
        yield ClusterOfThree(masters, others)


def _ask(node: RedisServer, *words: Any) -> Any:
    with node.client() as client:
        return client.execute_command("CLUSTER", *words)


def fail_over_to(replica: RedisServer) -> None:
    """An orderly failover of a Cluster's master: its replica takes the slots."""
    with replica.client() as client:
        client.execute_command("CLUSTER", "FAILOVER")
        wait_until(lambda: client.info("replication")["role"] == "master", READY_S)
        # Online it is at once, but it confirms nothing before it has told its offset once.
        wait_until(lambda: client.info("replication").get("slave0", {}).get("offset"), READY_S)


def _is_whole(node: RedisServer, replicas: int) -> bool:
    """It serves every slot, and knows who is a replica."""
    told = _ask(node, "INFO").split()
    with node.client() as client:
        known = str(client.execute_command("CLUSTER", "NODES"))
    is_served = {"cluster_state:ok", f"cluster_slots_ok:{SLOTS}"} <= set(told)
    return is_served and known.count("slave") == replicas


def _knows(node: RedisServer, count: int) -> bool:
    return f"cluster_known_nodes:{count}" in _ask(node, "INFO").split()


@dataclass
class Certificates:
    """A certificate authority of a test, and a server's certificate for 127.0.0.1."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path) -> Certificates:
    """Made by the openssl on PATH."""
    names = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority_key, request = folder / "ca.key", folder / "server.csr"
    extra = folder / "server.ext"
    extra.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    new_key = ("-newkey", "rsa:2048", "-nodes", "-sha256")
    for words in (
        ("req", "-x509", *new_key, "-days", "2", "-subj", "/CN=Test authority")
        + ("-keyout", authority_key, "-out", names.authority),
        ("req", *new_key, "-subj", "/CN=127.0.0.1", "-keyout", names.key, "-out", request),
        ("x509", "-req", "-in", request, "-CA", names.authority, "-CAkey", authority_key)
        + ("-CAcreateserial", "-days", "2", "-sha256", "-extfile", extra)
        + ("-out", names.certificate),
    ):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)
    return names


@contextmanager
def tls_server(binary: str, names: Certificates) -> Iterator[tuple[RedisServer, str]]:
    """A server that speaks TLS too, and its ``rediss://`` URL."""
    port = servers.free_port()
    words = (
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(names.certificate), "--tls-key-file", str(names.key)),
        *("--tls-ca-cert-file", str(names.authority)),
    )
    with started(binary, *words) as server:
        yield server, f"rediss://127.0.0.1:{port}/0"


def speaks_tls(binary: str) -> bool:
    """Whether the server was built with TLS."""
    told = subprocess.run(
        [binary, "--port", "0", "--tls-port", "1", "--tls-cert-file", "/nowhere", "--save", ""],
        capture_output=True,
        text=True,
        timeout=10,
    )
    return "Failed to configure TLS" in told.stdout
