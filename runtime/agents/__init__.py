"""Agent kinds by name."""

from collections.abc import Callable

from runtime.agents.base import Agent, Command
from runtime.agents.claude import ClaudeAgent
from runtime.agents.codex import CodexAgent
from runtime.agents.plain import PlainAgent


def kinds() -> dict[str, Callable[[Command], Agent]]:
    """Every kind that ``--agent`` takes; each makes a fresh agent for one turn."""
    return {"plain": PlainAgent, "claude": ClaudeAgent, "codex": CodexAgent}
