"""The port every adapter implements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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


@dataclass(frozen=True)
class Delivery:
    """A claimed turn and everything its session is given."""

    workspace_id: str
    claim: Claim
    bound: Mapping[str, Any]


class Adapter(Protocol):
    """Hands a claimed and bound turn to the agent; returns as soon as it is handed over."""

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        """Raises: DeliveryFailed."""


@runtime_checkable
class Together(Protocol):
    """An adapter that hands many turns over in fewer round trips than one by one."""

    def deliver_each(
        self, platform: Platform, deliveries: Sequence[Delivery]
    ) -> Sequence[Exception | None]:
        """In the place of each what ``deliver`` would have raised."""


def deliver_each(
    platform: Platform, adapter: Adapter, deliveries: Sequence[Delivery]
) -> Sequence[Exception | None]:
    """Hand turns over, together where the adapter can; in the place of each what went wrong."""
    if not deliveries:
        return ()
    if isinstance(adapter, Together):
        return adapter.deliver_each(platform, deliveries)
    return [_fault_of(platform, adapter, delivery) for delivery in deliveries]


def _fault_of(platform: Platform, adapter: Adapter, delivery: Delivery) -> Exception | None:
    try:
        adapter.deliver(platform, delivery.workspace_id, delivery.claim, delivery.bound)
    except Exception as fault:  # noqa: BLE001 - judged by who visits
        return fault
    return None
