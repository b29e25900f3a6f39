"""How each process of the platform is started by ``turnkeeper up``, in the order of the start.

They run in the data directory and with ``-P``: an ``app/`` or ``workers/`` of whoever calls
``up`` in a project of their own must not be taken for ours.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from app.cli.child import ChildSpec
from app.cli.run import runtime_argv

DEMO = "demo"
# Their sum with Redis' own, and a second for the tail, stays under the supervisor's bound.
WEB_STOP_S, WORKER_STOP_S, SCHEDULER_STOP_S, AGENT_STOP_S, TAIL_STOP_S = 4.0, 4.0, 2.5, 3.5, 1.0
# A stopping process must finish inside those; a person waits at the terminal.
DRAIN_S, AGENT_DRAIN_S, AGENT_KILL_GRACE_S = "3", "2", "0.5"
# One machine: an agent or a receiver of webhooks beside us is what a person wants to try.
LOOPBACK = "127.0.0.0/8, ::1/128"
# What the agent's side has no business with.
NOT_FOR_AGENTS = ("REDIS_URL", "PORT", "TURNKEEPER_ADMIN_TOKEN", "TURNKEEPER_CONTROL_URL")


def platform_env(
    inherited: Mapping[str, str], redis_url: str, port: int, admin_token: str, url: str
) -> dict[str, str]:
    """The environment of every process but the agent's."""
    env = {
        "TURNKEEPER_DRAIN_S": DRAIN_S,
        "TURNKEEPER_EGRESS_ALLOW": LOOPBACK,
        **inherited,
        "REDIS_URL": redis_url,
        "PORT": str(port),
        "TURNKEEPER_ADMIN_TOKEN": admin_token,
        "TURNKEEPER_URL": url,
        "PYTHONUNBUFFERED": "1",
    }
    env.pop("TURNKEEPER_TOKEN", None)
    return env


def platform_specs(env: Mapping[str, str], host: str, port: int, cwd: Path) -> list[ChildSpec]:
    """Workers first, so that a request finds them; the scheduler last."""
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # Shorter than WEB_STOP_S, so that a request still open is cut by gunicorn and not by us.
    web = ("gunicorn", "--config", "python:app.gunicorn_config", "--graceful-timeout", "3")
    return [
        ChildSpec("workers", module_argv("workers"), env, cwd, WORKER_STOP_S),
        ChildSpec(
            "web", module_argv(*web, "--bind", bind, "app.wsgi:create_app()"), env, cwd, WEB_STOP_S
        ),
        ChildSpec("scheduler", module_argv("scheduler"), env, cwd, SCHEDULER_STOP_S),
    ]


def demo_specs(
    env: Mapping[str, str], admin_token: str, cwd: Path, colour: bool
) -> list[ChildSpec]:
    """The demo agent beside its runtime, and the feed that the terminal shows."""
    client = agent_env(env, admin_token, cwd)
    agent = tuple(runtime_argv(DEMO, [], (*module_argv("app.cli.demo_agent"), "{prompt}")))
    choice = "--colour" if colour else "--no-colour"
    feed = module_argv("app.cli", "tail", DEMO, "--since", "10s", choice)
    return [
        ChildSpec("agent", agent, client, cwd, AGENT_STOP_S),
        ChildSpec("tail", feed, client, cwd, TAIL_STOP_S),
    ]


def agent_env(env: Mapping[str, str], token: str, folder: Path) -> dict[str, str]:
    """The environment of a runtime or another client beside the platform."""
    return {
        **{name: value for name, value in env.items() if name not in NOT_FOR_AGENTS},
        "TURNKEEPER_TOKEN": token,
        "TURNKEEPER_SPOOL_DIR": str(folder / "spool"),
        "TURNKEEPER_DRAIN_S": AGENT_DRAIN_S,
        "TURNKEEPER_KILL_GRACE_S": AGENT_KILL_GRACE_S,
    }


def module_argv(name: str, *arguments: str) -> tuple[str, ...]:
    """A module of ours as a program."""
    return (sys.executable, "-P", "-m", name, *arguments)
