"""The port every adapter implements."""

from collections.abc import Mapping
from typing import Any, Protocol

from app.core.platform import Platform
from app.core.sessions import Claim


class DeliveryFailed(Exception):
    """The agent could not be handed its turn; the turn goes back to its lane.

    ``holds``: the agent cannot be reached at all, so the whole workspace pauses.
    """

    def __init__(self, reason: str, holds: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.holds = holds


class Adapter(Protocol):
    """Hands a claimed and bound turn to the agent; returns as soon as it is handed over."""

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        """Raises: DeliveryFailed."""
