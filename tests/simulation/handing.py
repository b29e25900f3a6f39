"""Steps of a walk: an agent is handed its turn, and begins at once or later."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from app.core.errors import StartedElsewhere
from app.core.records import Session

if TYPE_CHECKING:
    from tests.simulation.walk import Walk

STEPS: Mapping[str, int] = {"hand_over": 4, "deliver": 3}


def hand_over(walk: "Walk") -> None:
    """By any holder; whoever has begun it before keeps it."""

    def act(session: Session) -> None:
        walk.kernel.hand_over(session, walk.random.choice("iiij"))
        stands = walk.kernel.session(session.id)
        assert stands.started_at is not None
        assert walk.kernel.turn(session.turn_id).state in ("running", "checkpointing")

    with suppress(StartedElsewhere):
        walk.write(act)


def deliver(walk: "Walk") -> None:
    """An agent elsewhere has the turn, and has not begun."""
    walk.write(walk.kernel.deliver)


ACTS: Mapping[str, Callable[["Walk"], object]] = {"hand_over": hand_over, "deliver": deliver}
