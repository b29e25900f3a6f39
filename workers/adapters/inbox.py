"""The adapter of runtimes that pull: the turn is laid out, a waiting long poll is woken."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.core import handing, sessions
from app.core.platform import Platform
from app.core.sessions import Claim
from workers.adapters.base import Delivery


class Inbox:
    """Lays the bound turn out; ``GET …/turns/next`` hands it over."""

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        sessions.bind(platform, workspace_id, claim.session, bound, inbox=True)

    def deliver_each(
        self, platform: Platform, deliveries: Sequence[Delivery]
    ) -> Sequence[Exception | None]:
        return bind_each(platform, deliveries, inbox=True)


def bind_each(
    platform: Platform, deliveries: Sequence[Delivery], inbox: bool
) -> list[Exception | None]:
    """Record what each session is given, in one round trip; in the place of each its refusal."""
    calls = [
        handing.call_of("bind", one.workspace_id, one.claim.session, one.bound, inbox=inbox)
        for one in deliveries
    ]
    replies = platform.run_each(calls)
    return [reply if isinstance(reply, Exception) else None for reply in replies]
