"""An agent made of a function: for the simulation, the tests and the benchmarks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core import claims, doorbell, handing, sessions
from app.core.platform import Platform
from app.core.scripts import Call
from app.core.sessions import Claim
from workers.adapters.base import Delivery

Answer = Callable[[Claim, Mapping[str, Any]], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Scripted:
    """Answers at once with what ``answer`` returns; None leaves the session running."""

    answer: Answer

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        (fault,) = self.deliver_each(platform, [Delivery(workspace_id, claim, bound)])
        if fault is not None:
            raise fault

    def deliver_each(
        self, platform: Platform, deliveries: Sequence[Delivery]
    ) -> Sequence[Exception | None]:
        """Hand all over in one round trip, and end in another those that are answered.

        The end rings only where the claim left nothing waiting: else who visits goes on to claim,
        or puts the workspace to the back.
        """
        started = platform.run_each(
            [
                handing.call_of(
                    "hand_over", one.workspace_id, one.claim.session, one.bound, instance="scripted"
                )
                for one in deliveries
            ]
        )
        faults: list[Exception | None] = [None] * len(deliveries)
        ends: list[tuple[int, Call]] = []
        for at, (delivery, reply) in enumerate(zip(deliveries, started, strict=True)):
            try:
                result = self._answered(platform, delivery, reply)
                if result is not None:
                    ends.append((at, _ending(delivery, result)))
            except Exception as fault:  # noqa: BLE001 - judged by who visits
                faults[at] = fault
        for (at, call), reply in zip(ends, _run(platform, ends), strict=True):
            if isinstance(reply, Exception):
                faults[at] = reply
            else:
                sessions.ended(platform, call.workspace_id, reply)
        return faults

    def _answered(
        self, platform: Platform, delivery: Delivery, started: Any
    ) -> Mapping[str, Any] | None:
        if isinstance(started, Exception):
            raise started
        within_s = int(started[1]) / 1000
        if 0 < within_s < claims.first_look_s(platform.settings):
            doorbell.watch(platform, delivery.workspace_id, within_s)
        return self.answer(delivery.claim, delivery.bound)


def _ending(delivery: Delivery, result: Mapping[str, Any]) -> Call:
    session = delivery.claim.session
    rings = delivery.claim.depth == 0
    args = handing.ending(session.id, session.fence, "completed", result, rings=rings)
    return Call("finish", delivery.workspace_id, args)


def _run(platform: Platform, ends: Sequence[tuple[int, Call]]) -> list[Any]:
    return platform.run_each([call for _, call in ends]) if ends else []
