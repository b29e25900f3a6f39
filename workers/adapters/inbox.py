"""The adapter of runtimes that pull: the turn is laid out, a waiting long poll is woken."""

from collections.abc import Mapping
from typing import Any

from app.core import sessions
from app.core.platform import Platform
from app.core.sessions import Claim


class Inbox:
    """Lays the bound turn out; ``GET …/turns/next`` hands it over."""

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        sessions.bind(platform, workspace_id, claim.session, bound, inbox=True)
