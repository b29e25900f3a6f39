"""An agent made of a function: for the simulation, the tests and the benchmarks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.core import sessions
from app.core.platform import Platform
from app.core.sessions import Claim

Answer = Callable[[Claim, Mapping[str, Any]], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Scripted:
    """Answers at once with what ``answer`` returns; None leaves the session running."""

    answer: Answer

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        session = claim.session
        sessions.bind(platform, workspace_id, session, bound, inbox=False)
        sessions.deliver(platform, workspace_id, session.id, session.fence)
        sessions.start(platform, workspace_id, session.id, session.fence, "scripted")
        result = self.answer(claim, bound)
        if result is not None:
            sessions.finish(platform, workspace_id, session.id, session.fence, "completed", result)
