"""``turnkeeper up``: everything on one machine, with an embedded Redis and a demo agent."""

import http.client
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from app.cli import environment, ports
from app.cli.client import Api
from app.cli.console import Screen
from app.cli.data_dir import admin_token, locked
from app.cli.faults import FAILED, REFUSED, TIMED_OUT, USAGE, Fault
from app.cli.platform_processes import DEMO, demo_specs, platform_env, platform_specs
from app.cli.supervisor import Supervisor

REDIS_READY_S, READY_S = 60.0, 45.0
CRASHES_TO_GIVE_UP = 3
CALL_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Plan:
    """What one ``up`` was asked for."""

    host: str
    port: int
    data: Path
    token: str
    is_new_token: bool
    has_demo: bool

    @property
    def url(self) -> str:
        """The address as a browser on this machine reaches it."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    envvar="PORT",
    default=8080,
    show_default=True,
    help="HTTP port; 0: any free one.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data directory.  [default: $XDG_DATA_HOME/turnkeeper, else ~/.local/share/turnkeeper]",
)
@click.option("--demo/--no-demo", default=True, show_default=True, help="A demo agent that ticks.")
@click.option("-v", "--verbose", is_flag=True, help="Show every line of every process.")
def up(port: int, data: Path | None, demo: bool, verbose: bool) -> None:
    """Run everything on this machine; Ctrl-C stops it in order.

    Redis is embedded unless REDIS_URL is set. All data is kept in the data directory, the whole
    logs in its logs/ folder.
    """
    folder = (data or environment.default_data_dir()).expanduser().absolute()
    with locked(folder) as lock:
        plan = make_plan(folder, port, demo)
        screen = Screen(folder / "logs", verbose)
        group = Supervisor(screen)
        try:
            with signals_to(group):
                try:
                    run_platform(plan, screen, group, lock)
                finally:
                    stop(screen, group)
        finally:
            screen.close()


def make_plan(folder: Path, port: int, has_demo: bool) -> Plan:
    """Check everything that can be checked before a process starts.

    Raises:
        Fault: for settings that the processes would refuse, or a port in use.
    """
    from app.core.errors import SettingsFault
    from app.core.settings import Settings

    chosen = port or ports.free_port()
    try:
        settings = Settings.from_env({**environment.inherited(), "PORT": str(chosen)})
    except SettingsFault as fault:
        faults = "\n       ".join(fault.fields["faults"])
        raise Fault("a setting is refused", faults, exit_code=USAGE) from fault
    if not ports.is_free(settings.host, chosen):
        next_step = f"turnkeeper up --port {chosen + 1 if chosen < 65535 else 0}"
        raise Fault(f"port {chosen} on {settings.host} is in use", "", next_step, REFUSED)
    token, is_new = admin_token(folder, settings.admin_token.get_secret_value())
    return Plan(settings.host, chosen, folder, token, is_new, has_demo)


def run_platform(plan: Plan, screen: Screen, group: Supervisor, lock: int) -> None:
    """Start in order, then look after everything until a stop is asked for."""
    inherited = environment.inherited()
    redis_url = inherited.get("REDIS_URL") or start_redis(plan, screen, group, lock)
    if not redis_url:
        return
    env = platform_env(inherited, redis_url, plan.port, plan.token, plan.url)
    for spec in platform_specs(env, plan.host, plan.port, plan.data):
        group.add(spec)
    screen.print(f"starting on {plan.url} (data and logs in {plan.data}) …")
    if not wait_ready(screen, group, lambda: answers_ready(plan), "the platform", READY_S):
        return
    greet(plan, screen)
    if plan.has_demo:
        for spec in demo_specs(env, plan.token, plan.data, wants_colour()):
            group.add(spec)
    group.run_until(lambda: False)


def start_redis(plan: Plan, screen: Screen, group: Supervisor, lock: int) -> str:
    """Start the embedded server and wait until it has loaded its data; empty on a stop request."""
    from app.cli import embedded_redis, redis_binary

    binary = redis_binary.find(environment.search_path())
    folder = plan.data / "redis"
    address = embedded_redis.choose_address(folder)
    group.add(embedded_redis.redis_spec(binary, folder, address, keep_fds=(lock,)))
    is_up = wait_ready(
        screen, group, lambda: embedded_redis.is_ready(address), "Redis", REDIS_READY_S
    )
    return address.url if is_up else ""


def wait_ready(
    screen: Screen, group: Supervisor, is_ready: Callable[[], bool], what: str, within_s: float
) -> bool:
    """Wait, within a bound; False on a stop request.

    Raises:
        Fault: when time is over, or a process keeps dying, with the end of its log.
    """

    def is_settled() -> bool:
        worst = group.most_crashed()
        return is_ready() or (worst is not None and worst.exits >= CRASHES_TO_GIVE_UP)

    is_done = group.run_until(is_settled, within_s)
    if group.stop_requests:
        return False
    if is_done and is_ready():
        return True
    worst = group.most_crashed()
    if worst is not None:
        name = worst.spec.name
        raise Fault(
            f"{what} did not start: {name} exits again and again",
            f"the end of its log:\n{screen.last_lines(name)}".replace("\n", "\n    "),
            f"read {screen.log_path(name)}",
            FAILED,
        )
    folder = screen.log_path("web").parent
    raise Fault(f"{what} is not ready after {within_s:g} s", "", f"read {folder}", TIMED_OUT)


def answers_ready(plan: Plan) -> bool:
    """Whether /readyz answers 200."""
    host = plan.url.removeprefix("http://").rpartition(":")[0].strip("[]")
    line = http.client.HTTPConnection(host, plan.port, timeout=1.0)
    try:
        line.request("GET", "/readyz")
        return line.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


def greet(plan: Plan, screen: Screen) -> None:
    """Prepare the demo and tell the person what there is now. A failure here stops nothing."""
    from app.cli import demo

    api = Api(plan.url, plan.token, CALL_TIMEOUT_S)
    screen.print(f"\nTurnkeeper runs at {plan.url}")
    try:
        screen.print(f"  log in (once):   {demo.login_url(api)}")
        if plan.has_demo:
            demo.prepare(api)
    except Fault as fault:
        screen.say(f"{fault.message}: {fault.why}")
    if plan.is_new_token:
        screen.print(f"  admin token:     {plan.token}   (shown this once)")
    screen.print("\nIn another terminal:")
    screen.print(f"  export TURNKEEPER_URL={plan.url}")
    if environment.inherited().get("TURNKEEPER_ADMIN_TOKEN"):
        screen.print("  export TURNKEEPER_TOKEN=$TURNKEEPER_ADMIN_TOKEN")
    else:
        screen.print(f"  export TURNKEEPER_TOKEN=$(cat '{plan.data / 'admin_token'}')")
    command = "turnkeeper" if shutil.which("turnkeeper") else str(Path(sys.argv[0]).resolve())
    screen.print(f"  {command} send {DEMO if plan.has_demo else 'WORKSPACE'} 'hello' --wait")
    screen.print("\nCtrl-C stops everything; nothing accepted is lost.\n")


def stop(screen: Screen, group: Supervisor) -> None:
    """Stop in order and say how it went."""
    screen.print("\nstopping: the agent first, Redis last (Ctrl-C again hurries) …")
    killed = group.stop()
    screen.print("stopped." + (f" Had to be killed: {', '.join(killed)}." if killed else ""))


def wants_colour() -> bool:
    """Whether the feed may use colour on this process's stdout."""
    return sys.stdout.isatty() and not environment.is_colour_refused()


@contextmanager
def signals_to(group: Supervisor) -> Iterator[None]:
    """Signals ask for the ordered stop; the old handlers come back afterwards."""
    chosen = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = {number: signal.signal(number, lambda *_: group.request_stop()) for number in chosen}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
